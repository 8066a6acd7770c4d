"""The access policy as values, and the decision what a caller may do. Pure: the same facts give the same decision.

Deny by default: what no role grants is refused. serving.access.policy_file reads the file, serving.access.gate asks."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from serving.access.credentials import Caller, PeerCertificate
from serving.access.verbs import NOT_FOR_TENANTS, OF_MODELS, SHAREABLE, Verb

REMEMBERED: Final = 1024
"""Decisions remembered of one set of rights. Beyond it they are forgotten, because clients choose the names of models."""
LONGEST_REMEMBERED: Final = 256
"""Characters of a model's name that is remembered: a client may send 64 KiB of name with each request."""
LONGEST_TENANT: Final = 63
"""Characters of a tenant's name, as the policy's file allows them; a claim may hold anything."""


def _expression(pattern: str) -> str:
    """Each part between two `*` is taken at its first place, and no other place is tried (an atomic group): the last part decides."""
    first, *others = map(re.escape, pattern.split("*"))
    if not others:
        return f"(?:{first})"
    *between, last = others
    return f"(?:{first}{''.join(f'(?>.*?{part})' for part in between if part)}.*{last})"


class Globs:
    """Names with `*` for any characters. Nothing else is special. The time is linear in the name for each `*`: clients choose names, and an
    expression that tries every place for every `*` would take hours for a long one."""

    __slots__ = ("_matches", "patterns")

    def __init__(self, patterns: Iterable[str]) -> None:
        self.patterns = tuple(patterns)
        self._matches = re.compile("|".join(map(_expression, self.patterns)) or r"(?!)", re.DOTALL).fullmatch

    def match(self, name: str) -> bool:
        """Whether any of them is the whole name."""
        return self._matches(name) is not None

    def of(self, name: str) -> str:
        """The first that matches; empty if none does."""
        return next((p for p in self.patterns if Globs([p]).match(name)), "")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Globs) and other.patterns == self.patterns

    def __hash__(self) -> int:
        return hash(self.patterns)


ANY: Final = Globs(["*"])


@dataclass(frozen=True, slots=True)
class AccessGrant:
    """Verbs, and the models that they are granted for."""

    verbs: frozenset[Verb]
    models: Globs = ANY


@dataclass(frozen=True, slots=True)
class Tenant:
    """models: its own. entities: of the ledger of risks, its own."""

    name: str
    models: Globs
    entities: Globs = field(default_factory=lambda: Globs(()))


@dataclass(frozen=True, slots=True)
class Binding:
    """The roles and the tenant of callers. models: narrows what the roles grant."""

    roles: frozenset[str]
    tenant: str = ""
    models: Globs = ANY


@dataclass(frozen=True, slots=True)
class TokenBinding:
    """The first whose claims all match counts. claims: by name; of a claim that is a list, one element must match."""

    claims: Mapping[str, Globs]
    binding: Binding

    def fits(self, claims: Mapping[str, object]) -> bool:
        """Whether a token's claims are as this expects."""
        return all(any(globs.match(text) for text in _texts(claims.get(name))) for name, globs in self.claims.items())


@dataclass(frozen=True, slots=True)
class TokenIssuer:
    """Who makes tokens. keys: an https URL, a loopback http URL, or a file; empty: found by OpenID Connect discovery.

    tenant_claim: names the claim that holds the tenant, where a binding has none. stale_s: how long keys count while the issuer is away.
    every_s: between two looks at the keys. ca: PEM file that its server is verified by. bearer: file of the token to ask for keys with."""

    name: str
    issuer: str
    audiences: tuple[str, ...]
    algorithms: frozenset[str]
    bindings: tuple[TokenBinding, ...]
    keys: str = ""
    name_claim: str = "sub"
    tenant_claim: str = ""
    leeway_s: float = 30.0
    stale_s: float = 86_400.0
    every_s: float = 300.0
    ca: str = ""
    bearer: str = ""


@dataclass(frozen=True, slots=True)
class CertificateRule:
    """Client certificates. part: the part of the certificate that must match: uri, dns, subject or sha256."""

    part: str
    globs: Globs
    binding: Binding

    def name_in(self, certificate: PeerCertificate) -> str:
        """The name in the certificate that matches; empty: none does."""
        names = {
            "uri": certificate.uris,
            "dns": certificate.dns_names,
            "subject": (certificate.subject,),
            "sha256": (certificate.sha256,),
        }[self.part]
        return next((name for name in names if name and self.globs.match(name)), "")


@dataclass(frozen=True, slots=True)
class RateLimit:
    """Of one caller, or of one address without credentials, in one replica. 0: no limit. burst_s: seconds whose share may come at once."""

    requests_per_s: float = 0.0
    rows_per_s: float = 0.0
    burst_s: float = 2.0


NO_LIMIT: Final = RateLimit()


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """The whole policy. open: verbs that need no credentials. anonymous: roles of requests without. shared: models of all tenants.

    keys_file: of API keys; empty: none count. limits: by role, the first role of `limits` that a caller has counts."""

    open: frozenset[Verb]
    roles: Mapping[str, tuple[AccessGrant, ...]]
    anonymous: frozenset[str] = frozenset()
    tenants: Mapping[str, Tenant] = field(default_factory=dict)
    shared: Globs = field(default_factory=lambda: Globs(()))
    issuers: tuple[TokenIssuer, ...] = ()
    certificates: tuple[CertificateRule, ...] = ()
    keys_file: str = ""
    limit: RateLimit = NO_LIMIT
    address_limit: RateLimit = NO_LIMIT
    limits: Mapping[str, RateLimit] = field(default_factory=dict)

    def limit_of(self, caller: Caller) -> RateLimit:
        """The limit of a caller; of one without a name the limit of its address."""
        if not caller.name:
            return self.address_limit
        return next((limit for role, limit in self.limits.items() if role in caller.roles), self.limit)


class Rights:
    """What one set of roles, narrowed to a tenant and to models, may do."""

    __slots__ = ("_decided", "_grants", "_models", "_policy", "tenant")

    def __init__(self, policy: AccessPolicy, binding: Binding) -> None:
        self._policy, self._models = policy, binding.models
        self._grants = [(role, grant) for role in sorted(binding.roles) for grant in policy.roles.get(role, ())]
        self.tenant = policy.tenants.get(binding.tenant)
        if binding.tenant and self.tenant is None:
            self._grants = []  # the tenant has left the policy
        self._decided: dict[tuple[Verb, str | None], bool] = {}

    @property
    def models(self) -> Globs:
        """The models that the caller is narrowed to; ANY if it is not."""
        return self._models

    def may(self, verb: Verb, model: str | None = None) -> bool:
        """Whether the verb is allowed, on this model if one is given. Without one: on any model at all."""
        key = (verb, model)
        decided = self._decided.get(key)
        if decided is None:
            decided = self.why(verb, model)[0]
            if model is not None and len(model) > LONGEST_REMEMBERED:
                return decided
            if len(self._decided) >= REMEMBERED:
                self._decided.clear()
            self._decided[key] = decided
        return decided

    def is_shared(self, model: str) -> bool:
        """Whether a caller of a tenant uses a model that is not its tenant's own."""
        return self.tenant is not None and not self.tenant.models.match(model)

    def why(self, verb: Verb, model: str | None = None) -> tuple[bool, str]:
        """The decision and the rule that made it."""
        if verb in self._policy.open:
            return True, "the verb is open to everybody"
        granting = [(role, grant) for role, grant in self._grants if verb in grant.verbs]
        if not granting:
            return False, "no role of the caller grants the verb"
        if self.tenant is not None:
            refused = self._why_not_for_tenant(verb, model)
            if refused:
                return False, refused
        if model is None or verb not in OF_MODELS:
            return True, f"role {granting[0][0]} grants the verb"
        if not self._models.match(model):
            return False, f"the caller is narrowed to the models {', '.join(self._models.patterns) or '(none)'}"
        for role, grant in granting:
            if grant.models.match(model):
                return True, f"role {role} grants the verb for {grant.models.of(model)}"
        return False, f"the roles of the caller grant the verb for other models than {model}"

    def _why_not_for_tenant(self, verb: Verb, model: str | None) -> str:
        tenant = self.tenant
        assert tenant is not None  # noqa: S101  # nosec B101  # asked by `why`
        if verb in NOT_FOR_TENANTS:
            return "the answer concerns all tenants, and the caller has one"
        if verb is Verb.RISK and not tenant.entities.patterns:
            return f"tenant {tenant.name} has no entities"
        if model is None or verb not in OF_MODELS or tenant.models.match(model):
            return ""
        if verb in SHAREABLE and self._policy.shared.match(model):
            return ""
        return f"the model is not one of tenant {tenant.name}"


def binding_of_claims(issuer: TokenIssuer, claims: Mapping[str, object]) -> Binding | None:
    """Roles and tenant of a token's caller. None: the claim of the tenant is missing or is no text."""
    binding = next((one.binding for one in issuer.bindings if one.fits(claims)), Binding(frozenset()))
    if issuer.tenant_claim and not binding.tenant:
        tenant = claims.get(issuer.tenant_claim)
        if not isinstance(tenant, str) or not 0 < len(tenant) <= LONGEST_TENANT:
            return None
        return Binding(binding.roles, tenant, binding.models)
    return binding


def _texts(value: object) -> Sequence[str]:
    if isinstance(value, str):
        return [value]
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
