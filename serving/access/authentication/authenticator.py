"""From credentials to a caller: tokens, API keys, client certificates. Results are remembered, good and bad ones.

Credentials are remembered by a keyed digest, so that no secret stays in memory. What is verified counts until it expires, or until the
policy, the file of keys or the keys of its issuer change. Where several credentials come, the first of token, key and certificate counts;
one that is wrong is refused, and never made good by another."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from hashlib import blake2b
from typing import Final, NamedTuple

from serving.access.authentication.api_keys import NO_KEYS, PREFIX, ApiKeys
from serving.access.authentication.key_sets import Fetch, KeysAway, KeySet
from serving.access.authentication.tokens import TokenHead, TokenRefused, key_for, name_in, read_head, verified_claims
from serving.access.credentials import ANONYMOUS, AuthMethod, Caller, Credentials
from serving.access.events import AccessEvents
from serving.access.policy import AccessPolicy, Binding, RateLimit, Rights, binding_of_claims
from serving.access.rate_limits import Bucket, network_of
from serving.access.refusals import RefusalReason

REMEMBERED: Final = 8192
"""Credentials remembered, good and wrong ones each; the oldest goes first."""
WRONG_S: Final = 10.0
"""How long credentials that were wrong are refused without another look."""
LONGEST_S: Final = 3600.0
"""How long credentials count without another look; those without an end, or with a far one, are verified again."""
FAILURES_PER_S: Final = 20.0
"""Wrong credentials of one address that are looked at, with a burst of FAILURES_BURST_S seconds; then each is refused unread. It bounds
what a stranger can make this replica compute: about 0.1 ms each."""
ALL_FAILURES_PER_S: Final = 500.0
"""The same of all addresses together."""
FAILURES_BURST_S: Final = 5.0
MOST_ADDRESSES: Final = 10_000
MOST_BINDINGS: Final = 1024
"""Sets of rights kept. A claim that names a tenant may hold anything."""
WAIT_S: Final = 2.0
"""How long a request may wait for its issuer's keys."""
_LONGEST: Final = 8192 + 16
_CREDENTIAL: Final = re.compile(rb"[A-Za-z0-9._-]+")
"""Letters of a token (base64url, RFC 7515) and of a key. Decoders skip others, so one token could be sent in endless forms, each of which
would be verified anew and would displace what is remembered of other callers."""


class Known(NamedTuple):
    """A caller, what it may do, its limit, and until when all that holds (wall clock, seconds)."""

    caller: Caller
    rights: Rights
    limit: RateLimit
    until_s: float


class Refused(Exception):
    """Credentials do not count, or cannot be judged now (KEYS_AWAY), or are not looked at (FLOOD)."""

    def __init__(self, reason: RefusalReason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class Authenticator:
    """The callers of one policy. random: makes the key of digests. wall_s, now_s: the clock, and one that never goes back."""

    def __init__(
        self,
        policy: AccessPolicy,
        keys: ApiKeys,
        events: AccessEvents,
        *,
        random: Callable[[int], bytes],
        wall_s: Callable[[], float] = time.time,
        now_s: Callable[[], float] = time.monotonic,
        fetch: Fetch | None = None,
    ) -> None:
        self._events, self._wall_s, self._now_s, self._fetch = events, wall_s, now_s, fetch
        self._secret = random(32)
        self._known: dict[bytes, Known] = {}
        self._rights: dict[Binding, Rights] = {}
        self._wrong: dict[bytes, tuple[float, RefusalReason]] = {}
        self._failures: dict[str, Bucket] = {}
        self._all_failures = Bucket(ALL_FAILURES_PER_S, FAILURES_BURST_S, now_s())
        self.policy, self.keys = policy, keys or NO_KEYS
        self.key_sets: dict[str, KeySet] = {}
        self.use(policy, keys)

    def use(self, policy: AccessPolicy, keys: ApiKeys) -> None:
        """From now on these count. Keys of issuers that stayed the same are kept."""
        before = self.key_sets
        self.policy, self.keys = policy, keys
        self._rights.clear()
        self.key_sets = {}
        for issuer in policy.issuers:
            kept = next((one for one in before.values() if one.issuer == issuer), None)
            self.key_sets[issuer.issuer] = kept or KeySet(issuer, self._now_s, self._fetch, self.forget)
        for one in before.values():
            if one not in self.key_sets.values():
                one.close()
        self.anonymous = self._known_of(ANONYMOUS.name, "anonymous", Binding(policy.anonymous), float("inf"))
        self.forget()

    def forget(self) -> None:
        """Verify everything again: what it was verified by has changed."""
        self._known.clear()
        self._wrong.clear()
        self._valid = object()

    @property
    def remembered(self) -> tuple[int, int]:
        """How many credentials are remembered: good, wrong."""
        return len(self._known), len(self._wrong)

    def recall(self, credentials: Credentials) -> Known | None:
        """A caller that was verified before. None: it must be verified. Raises Refused for what was wrong before."""
        authorization, api_key, certificate, _, memo = credentials
        if authorization is None and api_key is None and certificate is None:
            return self.anonymous
        if memo is not None and memo.valid is self._valid and memo.authorization == authorization and memo.api_key == api_key:
            remembered: Known = memo.known
            if self._wall_s() < remembered.until_s:
                return remembered
        key = self._digest(credentials)
        known = self._known.get(key)
        if known is not None:
            if self._wall_s() < known.until_s:
                if memo is not None:
                    memo.valid, memo.authorization, memo.api_key, memo.known = self._valid, authorization, api_key, known
                return known
            del self._known[key]
        wrong = self._wrong.get(key)
        if wrong is not None:
            until_s, reason = wrong
            if self._now_s() < until_s:
                raise Refused(reason)
            del self._wrong[key]
        return None

    def verify(self, credentials: Credentials) -> Known | Awaitable[Known]:
        """Verify credentials that are not remembered. An Awaitable: the issuer is asked for its keys first. Raises Refused."""
        if self._is_flooding(credentials.address):
            raise Refused(RefusalReason.FLOOD)
        try:
            return self._verified(credentials)
        except Refused as refused:
            key_set = self._worth_a_look(credentials, refused)
            if key_set is None:
                self._note_wrong(credentials, refused.reason)
                raise
            return self._after_a_look(credentials, key_set)

    async def _after_a_look(self, credentials: Credentials, key_set: KeySet) -> Known:
        try:
            async with asyncio.timeout(WAIT_S):
                await key_set.look()
        except TimeoutError:
            raise Refused(RefusalReason.KEYS_AWAY) from None
        try:
            return self._verified(credentials)
        except Refused as refused:
            self._note_wrong(credentials, refused.reason)
            raise

    def _worth_a_look(self, credentials: Credentials, refused: Refused) -> KeySet | None:
        """The keys to read again, if that may help."""
        if refused.reason not in {RefusalReason.UNKNOWN_KEY, RefusalReason.KEYS_AWAY} or credentials.authorization is None:
            return None
        key_set = self.key_sets.get(read_head(_bearer(credentials.authorization)).issuer)
        return key_set if key_set is not None and key_set.may_look() else None

    def _verified(self, credentials: Credentials) -> Known:
        method, known = self._by_any(credentials)
        self._events.verified(method, is_good=True)
        if len(self._known) >= REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[self._digest(credentials)] = known
        return known

    def _by_any(self, credentials: Credentials) -> tuple[AuthMethod, Known]:
        authorization, api_key, certificate = credentials[:3]
        if authorization is not None:
            token = _bearer(authorization)
            if token.startswith(PREFIX.encode()):
                return "key", self._by_key(token)
            return "token", self._by_token(token)
        if api_key is not None:
            return "key", self._by_key(api_key)
        assert certificate is not None  # noqa: S101  # nosec B101  # `recall` has let nothing else pass
        if certificate.expires_s <= self._wall_s():
            raise Refused(RefusalReason.EXPIRED)
        for rule in self.policy.certificates:
            if name := rule.name_in(certificate):
                return "certificate", self._known_of(f"certificate:{name}", "certificate", rule.binding, certificate.expires_s)
        raise Refused(RefusalReason.CERTIFICATE)

    def _by_token(self, token: bytes) -> Known:
        try:
            head = read_head(token)
            key_set = self._key_set_of(head)
            issuer = key_set.issuer
            key = key_for(head, issuer, key_set.keys())
            claims, until_s = verified_claims(token, key, issuer, self._wall_s())
            binding = binding_of_claims(issuer, claims)
            if binding is None:
                raise TokenRefused(RefusalReason.CLAIMS)
            return self._known_of(name_in(claims, issuer), "token", binding, until_s)
        except TokenRefused as refused:
            raise Refused(refused.reason) from None
        except KeysAway:
            raise Refused(RefusalReason.KEYS_AWAY) from None

    def _key_set_of(self, head: TokenHead) -> KeySet:
        found = self.key_sets.get(head.issuer)
        if found is None:
            raise TokenRefused(RefusalReason.UNKNOWN_ISSUER)
        return found

    def _by_key(self, key: bytes) -> Known:
        entry = self.keys.find(key)
        if entry is None or entry.revoked is not None:
            raise Refused(RefusalReason.API_KEY)
        if entry.until_s() <= self._wall_s():
            raise Refused(RefusalReason.EXPIRED)
        return self._known_of(f"key:{entry.id}", "key", entry.binding, entry.until_s())

    def _known_of(self, name: str, method: AuthMethod, binding: Binding, until_s: float) -> Known:
        caller = Caller(name, binding.tenant, method, binding.roles)
        if method != "anonymous":
            until_s = min(until_s, self._wall_s() + LONGEST_S)
        return Known(caller, self._rights_of(binding), self.policy.limit_of(caller), until_s)

    def _rights_of(self, binding: Binding) -> Rights:
        """One for all callers with the same binding: each remembers what it decided."""
        found = self._rights.get(binding)
        if found is None:
            if len(self._rights) >= MOST_BINDINGS:
                del self._rights[next(iter(self._rights))]
            found = self._rights[binding] = Rights(self.policy, binding)
        return found

    def _note_wrong(self, credentials: Credentials, reason: RefusalReason) -> None:
        """Remember what was wrong, and charge its address."""
        method = "token" if credentials.authorization is not None else "key" if credentials.api_key else "certificate"
        self._events.verified(method, is_good=False)
        if reason is RefusalReason.KEYS_AWAY:
            return  # the issuer's fault, not the client's
        now_s = self._now_s()
        if reason is not RefusalReason.NOT_YET:
            if len(self._wrong) >= REMEMBERED:
                del self._wrong[next(iter(self._wrong))]
            self._wrong[self._digest(credentials)] = now_s + WRONG_S, reason
        self._bucket_of(credentials.address).take(1.0, now_s)
        self._all_failures.take(1.0, now_s)

    def _is_flooding(self, address: str) -> bool:
        now_s = self._now_s()
        return self._bucket_of(address).is_empty(now_s) or self._all_failures.is_empty(now_s)

    def _bucket_of(self, address: str) -> Bucket:
        address = network_of(address)
        found = self._failures.get(address)
        if found is None:
            if len(self._failures) >= MOST_ADDRESSES:
                del self._failures[next(iter(self._failures))]
            found = self._failures[address] = Bucket(FAILURES_PER_S, FAILURES_BURST_S, self._now_s())
        return found

    def _digest(self, credentials: Credentials) -> bytes:
        """Under what the credential that counts is remembered."""
        authorization, api_key, certificate = credentials[:3]
        if authorization is not None:
            return blake2b(authorization, digest_size=16, key=self._secret, person=b"authorization").digest()
        if api_key is not None:
            return blake2b(api_key, digest_size=16, key=self._secret, person=b"key").digest()
        known_by = repr(certificate) if certificate is None or not certificate.sha256 else certificate.sha256
        return blake2b(known_by.encode(), digest_size=16, key=self._secret, person=b"certificate").digest()


def _bearer(authorization: bytes) -> bytes:
    """The token of an Authorization header. Raises Refused."""
    if len(authorization) > _LONGEST:
        raise Refused(RefusalReason.TOO_LARGE)
    kind, _, token = authorization.partition(b" ")
    if kind.lower() != b"bearer" or not _CREDENTIAL.fullmatch(token):
        raise Refused(RefusalReason.MALFORMED)
    return token
