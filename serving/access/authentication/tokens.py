"""Signed tokens (JWT, RFC 7519; OpenID Connect): from text and keys to claims. Pure: the time and the keys are arguments.

The one user of PyJWT. Best current practice of RFC 8725: algorithms come from the policy and from the key, never from the token alone; the
header's key id is only looked up; every other way for a token to name its own key (jwk, jku, x5c, x5u) is ignored; `crit` is refused."""

import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import jwt

from serving.access.policy import TokenIssuer
from serving.access.refusals import RefusalReason

MOST_BYTES: Final = 8192
"""Longest token. Those of large providers have 1 to 3 KB."""
MOST_KEYS: Final = 100
LEAST_RSA_BITS: Final = 2048
_MOST_NAME: Final = 256
_OF_KTY: Final = {("RSA", ""): "RS256", ("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA"}
_BROKEN: Final = (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError, binascii.Error)
_SIGNATURE_ONLY: Final[Any] = {
    "verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False, "verify_iss": False, "verify_sub": False,
    "verify_jti": False,
}  # fmt: skip


class TokenRefused(Exception):
    """A token does not count. The text of the token is nowhere in it."""

    def __init__(self, reason: RefusalReason) -> None:
        super().__init__(reason.value)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A public key of an issuer, for one algorithm."""

    kid: str
    algorithm: str
    key: Any


@dataclass(frozen=True, slots=True)
class TokenHead:
    """What a token says before anything is verified: it selects an issuer and a key, and is believed in nothing."""

    issuer: str
    kid: str
    algorithm: str


def read_head(token: bytes) -> TokenHead:
    """Issuer, key id and algorithm. Raises TokenRefused."""
    if len(token) > MOST_BYTES:
        raise TokenRefused(RefusalReason.TOO_LARGE)
    if token.count(b".") != 2:
        raise TokenRefused(RefusalReason.MALFORMED)
    try:
        parts = jwt.decode_complete(token, options={"verify_signature": False})
        header, claims = parts["header"], parts["payload"]
        issuer, kid, algorithm = claims.get("iss"), header.get("kid", ""), header.get("alg")
    except (jwt.PyJWTError, *_BROKEN):
        raise TokenRefused(RefusalReason.MALFORMED) from None
    if not (isinstance(issuer, str) and isinstance(kid, str) and isinstance(algorithm, str)):
        raise TokenRefused(RefusalReason.MALFORMED)
    if "crit" in header or "b64" in header:
        raise TokenRefused(RefusalReason.ALGORITHM)
    return TokenHead(issuer, kid, algorithm)


def key_for(head: TokenHead, issuer: TokenIssuer, keys: Mapping[str, VerifyingKey]) -> VerifyingKey:
    """The key that must have signed. Raises TokenRefused: of UNKNOWN_KEY other keys may help."""
    if head.algorithm not in issuer.algorithms:
        raise TokenRefused(RefusalReason.ALGORITHM)
    if head.kid:
        found = keys.get(head.kid)
    else:
        fitting = [key for key in keys.values() if key.algorithm == head.algorithm]
        found = fitting[0] if len(fitting) == 1 else None
    if found is None:
        raise TokenRefused(RefusalReason.UNKNOWN_KEY)
    if found.algorithm != head.algorithm:
        raise TokenRefused(RefusalReason.ALGORITHM)
    return found


def verified_claims(token: bytes, key: VerifyingKey, issuer: TokenIssuer, now_s: float) -> tuple[Mapping[str, Any], float]:
    """The claims, and until when they count (seconds since the epoch, with the leeway). Raises TokenRefused."""
    try:
        claims = jwt.decode(token, key.key, algorithms=[key.algorithm], options=_SIGNATURE_ONLY)
    except jwt.InvalidSignatureError:
        raise TokenRefused(RefusalReason.SIGNATURE) from None
    except (jwt.PyJWTError, *_BROKEN):
        raise TokenRefused(RefusalReason.MALFORMED) from None
    if claims.get("iss") != issuer.issuer:
        raise TokenRefused(RefusalReason.UNKNOWN_ISSUER)
    audience = claims.get("aud")
    audiences = [audience] if isinstance(audience, str) else audience if isinstance(audience, list) else []
    if not any(isinstance(one, str) and one in issuer.audiences for one in audiences):
        raise TokenRefused(RefusalReason.AUDIENCE)
    until_s = _moment(claims, "exp", is_needed=True) + issuer.leeway_s
    if now_s >= until_s:
        raise TokenRefused(RefusalReason.EXPIRED)
    if max(_moment(claims, "nbf"), _moment(claims, "iat")) > now_s + issuer.leeway_s:
        raise TokenRefused(RefusalReason.NOT_YET)
    return claims, until_s


def name_in(claims: Mapping[str, Any], issuer: TokenIssuer) -> str:
    """The caller's name. Raises TokenRefused for one that is missing, long or not printable."""
    name = claims.get(issuer.name_claim)
    if not isinstance(name, str) or not 0 < len(name) <= _MOST_NAME or not name.isprintable():
        raise TokenRefused(RefusalReason.CLAIMS)
    return f"token:{issuer.name}:{name}"


def read_key_set(document: bytes) -> Mapping[str, VerifyingKey]:
    """The public keys of a JWKS (RFC 7517) that sign with an algorithm of ours, by key id. Others are left out: a set may hold keys for
    other uses. Raises ValueError if there is none."""
    try:
        found = json.loads(document)["keys"]
        entries = [one for one in found if isinstance(one, dict)]
    except _BROKEN:
        raise ValueError('is no JWKS; expected {"keys": [...]}') from None
    if len(entries) > MOST_KEYS:
        raise ValueError(f"has {len(entries)} keys, at most {MOST_KEYS} are read")
    keys = [key for at, entry in enumerate(entries) if (key := _key(entry, at)) is not None]
    if not keys:
        raise ValueError(f"has no public key for RS256 (of {LEAST_RSA_BITS} bits or more), ES256 or EdDSA")
    if len({key.kid for key in keys}) < len(keys):
        raise ValueError("has two keys with one key id")
    return {key.kid: key for key in keys}


def _key(entry: Mapping[str, Any], at: int) -> VerifyingKey | None:
    kty, crv, kid = entry.get("kty"), entry.get("crv"), entry.get("kid", f"#{at}")
    algorithm = _OF_KTY.get((str(kty), "" if kty == "RSA" else str(crv)))
    if algorithm is None or entry.get("alg", algorithm) != algorithm or entry.get("use", "sig") != "sig" or "d" in entry:
        return None
    if not isinstance(kid, str):
        return None
    try:
        key = jwt.PyJWK(dict(entry), algorithm=algorithm).key
    except (jwt.PyJWTError, *_BROKEN):
        return None
    if algorithm == "RS256" and key.key_size < LEAST_RSA_BITS:
        return None
    return VerifyingKey(kid, algorithm, key)


def _moment(claims: Mapping[str, Any], name: str, *, is_needed: bool = False) -> float:
    value = claims.get(name)
    if value is None and not is_needed:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e12:
        raise TokenRefused(RefusalReason.CLAIMS)
    return float(value)
