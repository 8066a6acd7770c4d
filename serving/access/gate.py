"""Checks each request at a door: who the caller is, whether it may do this, and whether it is within its limit. One `Gate` for all doors
of a replica.

    pass_ = gate.recall(credentials, verb, model, door)             nearly every request: two look-ups
    if pass_ is None: pass_ = await gate.verify(credentials, ...)   credentials that are new
    gate.check_request(pass_, request)                              after the body is decoded: tenant, rows, reasons asked for

Authentication comes first, then the limit, then the right, so that a caller without rights cannot ask without end. Refusals are counted and
told in the log of security events. Without a policy there is no gate."""

import hmac
import inspect
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple, NoReturn

import msgspec

from serving.access.authentication.api_keys import ApiKeys
from serving.access.authentication.authenticator import Authenticator, Known, Refused
from serving.access.authentication.key_sets import Fetch
from serving.access.credentials import ANONYMOUS, Caller, Credentials
from serving.access.events import AccessEvents
from serving.access.forwarded import TrustedProxies
from serving.access.policy import AccessPolicy, Rights
from serving.access.rate_limits import ClientLimits, RateLimits, network_of
from serving.access.refusals import RateLimited, RefusalReason, forbidden, missing, not_accepted, other_tenant
from serving.access.verbs import OF_MODELS, Verb
from serving.errors import Unauthenticated, Unavailable
from serving.messages import EXPLAIN, EXPLANATION, InferRequest
from serving.telemetry.access_names import KEYS_AGE, KEYS_FAILURES, REMEMBERED
from serving.telemetry.metric_doc import MetricDoc

TENANT: Final = "tenant"
"""Request parameter, and input, that names the tenant."""


_REPLICA: Final = Caller("replica", "", "replica")


class Pass(NamedTuple):
    """A request that was let in. limits: None where the caller has none."""

    caller: Caller
    rights: Rights
    limits: ClientLimits | None
    address: str


class Gate:
    """Decides. wall_s, now_s: the clock, and one that never goes back. random: makes secrets. fetch: gives an issuer's keys. proxies: who
    may say which client they ask for; None: nobody."""

    def __init__(
        self,
        policy: AccessPolicy,
        keys: ApiKeys,
        *,
        random: Callable[[int], bytes],
        wall_s: Callable[[], float] = time.time,
        now_s: Callable[[], float] = time.monotonic,
        fetch: Fetch | None = None,
        proxies: TrustedProxies | None = None,
    ) -> None:
        self._now_s, self.proxies = now_s, proxies
        self.events = AccessEvents(now_s)
        self.authenticator = Authenticator(policy, keys, self.events, random=random, wall_s=wall_s, now_s=now_s, fetch=fetch)
        self.replica_key = random(32).hex()
        """Other replicas of the store show this where they read this one's page of metrics. It is in the registration of the replica."""
        self._limits = RateLimits()
        self._limits_said: object = None
        self._has_limits = False
        self.open, self.needs_credentials = frozenset[Verb](), True
        self.use(policy, keys)

    def use(self, policy: AccessPolicy, keys: ApiKeys) -> None:
        """From now on these count, for requests that begin from now on."""
        if policy is not self.authenticator.policy or keys is not self.authenticator.keys:
            self.authenticator.use(policy, keys)
        self.open = policy.open
        self.needs_credentials = not policy.anonymous and not policy.certificates
        """Whether a request whose headers show nothing has no right but to what is open: then nobody waits for its body."""
        limits = [policy.limit, policy.address_limit, *policy.limits.values()]
        self._has_limits = any(limit.requests_per_s or limit.rows_per_s for limit in limits)
        said = (policy.limit, policy.address_limit, dict(policy.limits))
        if said != self._limits_said:  # else nobody who is over a limit starts anew because a key was made
            self._limits_said = said
            self._limits.clear()

    def without_credentials(self, door: str) -> Unauthenticated:
        """The refusal of a request without credentials, before its body, where `needs_credentials`."""
        self.events.refused(RefusalReason.MISSING, None, ANONYMOUS, "", door)
        return missing()

    def recall(self, credentials: Credentials, verb: Verb, model: str | None, door: str) -> Pass | None:
        """Let a request in, or raise why not. None: its credentials must be verified first. model: None where the verb has none."""
        if verb is Verb.METRICS and credentials.api_key is not None and self._is_replica(credentials.api_key):
            return Pass(_REPLICA, self.authenticator.anonymous.rights, None, credentials.address)
        try:
            known = self.authenticator.recall(credentials)
        except Refused as refused:
            self._refuse(refused.reason, verb, ANONYMOUS, credentials.address, door)
        return None if known is None else self._let_in(known, verb, model, credentials.address, door)

    async def verify(self, credentials: Credentials, verb: Verb, model: str | None, door: str) -> Pass:
        """The same for credentials that `recall` does not know."""
        try:
            known = self.authenticator.verify(credentials)
            if inspect.isawaitable(known):
                known = await known
        except Refused as refused:
            self._refuse(refused.reason, verb, ANONYMOUS, credentials.address, door)
        return self._let_in(known, verb, model, credentials.address, door)

    async def check_again(self, credentials: Credentials, verb: Verb, model: str | None, door: str) -> None:
        """Whether a call that was let in, and goes on, may go on: its token may have ended, its key may be revoked, the policy may have
        changed. It counts as no request. Raises ServingError."""
        if verb in self.open:
            return
        try:
            known = self.authenticator.recall(credentials)
            if known is None:
                verified = self.authenticator.verify(credentials)
                known = await verified if inspect.isawaitable(verified) else verified
        except Refused as refused:
            self._refuse(refused.reason, verb, ANONYMOUS, credentials.address, door)
        caller, rights, _, _ = known
        if not rights.may(verb, model if verb in OF_MODELS else None):
            self._refuse(
                RefusalReason.FORBIDDEN if caller.name else RefusalReason.MISSING, verb, caller, credentials.address, door
            )

    def check_request(self, let_in: Pass, request: InferRequest, door: str, reads_features: Callable[[], bool]) -> InferRequest:
        """Check what only the body says, and make the request the caller's: its name for the record, its tenant.

        reads_features: whether the model reads stored features. Raises Forbidden, RateLimited."""
        caller, rights, limits, address = let_in
        if (request.parameters or request.outputs) and _asks_why(request) and not rights.may(Verb.EXPLAIN, request.model):
            self._refuse(RefusalReason.FORBIDDEN, Verb.EXPLAIN, caller, address, door)
        tenant = self._tenant_of(let_in, request, door, reads_features)
        rows = _rows_of(request)
        if limits is not None:
            try:
                limits.rows(rows, self._now_s())
            except RateLimited:
                self.events.refused(RefusalReason.RATE, Verb.INFER, caller, address, door)
                raise
        self.events.rows(caller.tenant, rows)
        return msgspec.structs.replace(request, tenant=tenant, caller=caller.name, caller_tenant=caller.tenant)

    def check_model(self, let_in: Pass, verb: Verb, model: str, door: str) -> None:
        """Raises Forbidden, whether the model exists or not."""
        if not let_in.rights.may(verb, model):
            self._refuse(RefusalReason.FORBIDDEN, verb, let_in.caller, let_in.address, door)

    def visible(self, let_in: Pass, verb: Verb) -> Callable[[str], bool]:
        """Whether a list may name a model."""
        rights = let_in.rights
        return lambda model: rights.may(verb, model)

    def refuse_entity(self, let_in: Pass, entity: str, door: str) -> None:
        """Raises Forbidden for the risk of an entity that is not the tenant's."""
        tenant = let_in.rights.tenant
        if tenant is not None and not tenant.entities.match(entity):
            self._refuse(RefusalReason.TENANT, Verb.RISK, let_in.caller, let_in.address, door)

    def refuse_other(self, verb: Verb | None, credentials: Credentials, door: str) -> NoReturn:
        """Refuse something that has no verb: nobody may."""
        self._refuse(RefusalReason.FORBIDDEN, verb, ANONYMOUS, credentials.address, door)

    def metrics(self) -> Iterator[tuple[MetricDoc, Mapping[tuple[str, ...], float]]]:
        """A telemetry.metrics.MetricSource."""
        yield from self.events.metrics()
        good, wrong = self.authenticator.remembered
        yield REMEMBERED, {("credentials",): float(good), ("wrong",): float(wrong), ("clients",): float(len(self._limits))}
        key_sets = list(self.authenticator.key_sets.values())
        yield KEYS_AGE, {(one.issuer.name,): one.age_s for one in key_sets}
        yield KEYS_FAILURES, {(one.issuer.name,): float(one.failures) for one in key_sets}
        if self.proxies is not None:
            yield from self.proxies.metrics()

    def _is_replica(self, key: bytes) -> bool:
        return hmac.compare_digest(key, self.replica_key.encode())

    def _let_in(self, known: Known, verb: Verb, model: str | None, address: str, door: str) -> Pass:
        caller, rights, limit, _ = known
        limits = None
        if self._has_limits and (limit.requests_per_s or limit.rows_per_s):
            now_s = self._now_s()
            limits = self._limits.of(caller.name or f"address:{network_of(address)}", limit, now_s)
            try:
                limits.request(now_s)
            except RateLimited:
                self.events.refused(RefusalReason.RATE, verb, caller, address, door)
                raise
        if not rights.may(verb, model if verb in OF_MODELS else None):
            self._refuse(RefusalReason.FORBIDDEN if caller.name else RefusalReason.MISSING, verb, caller, address, door)
        self.events.admitted(caller.tenant, verb)
        return Pass(caller, rights, limits, address)

    def _tenant_of(self, let_in: Pass, request: InferRequest, door: str, reads_features: Callable[[], bool]) -> str | None:
        """The tenant of the request, checked against the caller's. A caller without a tenant may not name one of the policy."""
        caller, rights, _, address = let_in
        tenants = self.authenticator.policy.tenants
        if not caller.tenant and not tenants:
            return request.tenant
        named: list[Any] = [request.tenant, request.parameters.get(TENANT) if request.parameters else None]
        of_rows = next((tensor for tensor in request.inputs if tensor.name == TENANT), None)
        if of_rows is not None:
            named += {
                one.decode("utf-8", "replace") if isinstance(one, bytes) else one for one in of_rows.data.ravel().tolist()
            }
        if not caller.tenant:
            if any(one in tenants for one in named if isinstance(one, str)):
                self._refuse(RefusalReason.TENANT, Verb.INFER, caller, address, door)
            return request.tenant
        if of_rows is None and rights.is_shared(request.model) and reads_features():
            self._refuse(RefusalReason.TENANT, Verb.INFER, caller, address, door)
        if any(one is not None and one != caller.tenant for one in named):
            self._refuse(RefusalReason.TENANT, Verb.INFER, caller, address, door)
        return caller.tenant

    def _refuse(self, reason: RefusalReason, verb: Verb | None, caller: Caller, address: str, door: str) -> NoReturn:
        self.events.refused(reason, verb, caller, address, door)
        if reason is RefusalReason.MISSING:
            raise missing()
        if reason is RefusalReason.TENANT:
            raise other_tenant()
        if reason is RefusalReason.FORBIDDEN:
            raise forbidden()
        if reason is RefusalReason.KEYS_AWAY:
            raise Unavailable("the keys of the token's issuer cannot be had now; try again soon", retry_after_s=5.0)
        if reason is RefusalReason.FLOOD:
            raise RateLimited(
                "too many wrong credentials came from this address; wait before you send others", retry_after_s=1.0
            )
        raise not_accepted()


def _asks_why(request: InferRequest) -> bool:
    return EXPLAIN in request.parameters or any(output.name == EXPLANATION for output in request.outputs)


def _rows_of(request: InferRequest) -> int:
    """Rows of the largest input; at least 1."""
    rows = 1
    for tensor in request.inputs:
        shape = tensor.data.shape
        if shape and shape[0] > rows:
            rows = shape[0]
    return rows
