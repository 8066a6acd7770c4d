"""Why a request is refused, as bounded words for metrics, and the errors that clients get. Values only.

Messages say nothing that a stranger could use: not which check failed, nor whether a model exists. The reason is in the metric and in the
log of security events (serving.access.events)."""

from enum import Enum
from typing import Final

from serving.errors import Forbidden, Overloaded, Unauthenticated


class RefusalReason(Enum):
    """Why a request was refused. The label `reason` of vedette_access_refused_total."""

    MISSING = "missing"
    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    ALGORITHM = "algorithm"
    UNKNOWN_ISSUER = "unknown_issuer"
    UNKNOWN_KEY = "unknown_key"
    SIGNATURE = "signature"
    EXPIRED = "expired"
    NOT_YET = "not_yet"
    AUDIENCE = "audience"
    CLAIMS = "claims"
    API_KEY = "api_key"
    CERTIFICATE = "certificate"
    KEYS_AWAY = "keys_away"
    FLOOD = "flood"
    FORBIDDEN = "forbidden"
    TENANT = "tenant"
    RATE = "rate"


ABOUT: Final = {
    RefusalReason.MISSING: "no credentials, and the verb is not open",
    RefusalReason.MALFORMED: "the header holds neither a token nor a key",
    RefusalReason.TOO_LARGE: "the token is larger than 8 KiB",
    RefusalReason.ALGORITHM: "an algorithm that the policy does not allow, `none` among them, or a header that must not be there",
    RefusalReason.UNKNOWN_ISSUER: "no issuer of the policy has made the token",
    RefusalReason.UNKNOWN_KEY: "the issuer has no such key",
    RefusalReason.SIGNATURE: "the signature is wrong",
    RefusalReason.EXPIRED: "the token, the key or the client certificate has expired",
    RefusalReason.NOT_YET: "the token is not valid yet, or was issued in the future",
    RefusalReason.AUDIENCE: "the token is for another audience",
    RefusalReason.CLAIMS: "a claim is missing, or is not what the policy expects",
    RefusalReason.API_KEY: "no such API key, or one that was revoked",
    RefusalReason.CERTIFICATE: "no rule of the policy is about the client certificate",
    RefusalReason.KEYS_AWAY: "the issuer's keys cannot be had, or are too old",
    RefusalReason.FLOOD: "too many wrong credentials came from the address",
    RefusalReason.FORBIDDEN: "the caller has no right to the verb, or not for the model",
    RefusalReason.TENANT: "the request names another tenant, or touches what is not its tenant's",
    RefusalReason.RATE: "the caller is over its limit",
}


class RateLimited(Overloaded):
    """A caller is over its limit of requests or rows. policy: the value of the header field RateLimit-Policy."""

    def __init__(self, message: str, *, retry_after_s: float, policy: str = "") -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.policy = policy


def missing() -> Unauthenticated:
    """No credentials came."""
    return Unauthenticated("this needs credentials; send `authorization: Bearer TOKEN`, or an API key in `x-api-key`")


def not_accepted() -> Unauthenticated:
    """What came does not count, whatever is wrong with it."""
    return Unauthenticated(
        "the credentials are not accepted: they are expired, unknown or for another server; get new ones and try again",
        is_token_wrong=True,
    )


def forbidden() -> Forbidden:
    """The same whether the model exists or not."""
    return Forbidden("the caller may not do this; `vedette access explain` says what the policy allows it")


def other_tenant() -> Forbidden:
    """The request names a tenant that is not the caller's, or a value that only another tenant has."""
    return Forbidden("the request is for another tenant than the caller's; leave the tenant out, or send the caller's own")
