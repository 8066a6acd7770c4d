"""The access policy's file: YAML in, `AccessPolicy` out, or an error that says what, where and the way out. Parses only."""

import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat, ValidationError, model_validator

from serving.access.policy import (
    AccessGrant,
    AccessPolicy,
    Binding,
    CertificateRule,
    Globs,
    RateLimit,
    Tenant,
    TokenBinding,
    TokenIssuer,
)
from serving.access.verbs import OPENABLE, Verb
from serving.files.safe_yaml import read_yaml

MOST_BYTES: Final = 1 << 20
MOST_TENANTS: Final = 200
"""Tenants are a label of metrics."""
ALGORITHMS: Final = ("RS256", "ES256", "EdDSA")
_NAME: Final = r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?"
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})

PolicyName = Annotated[str, Field(pattern=f"^{_NAME}$")]
NamePattern = Annotated[str, Field(min_length=1, max_length=300)]


class AccessPolicyError(ValueError):
    """A policy, or the file of keys, cannot be used; the message says which file, what and where."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class GrantForm(_Part):
    """What a role grants."""

    verbs: Annotated[tuple[Verb, ...], Field(min_length=1)]
    """Verbs, see the table."""
    models: Annotated[tuple[NamePattern, ...], Field(min_length=1)] = ("*",)
    """Names of models; `*` is any characters."""

    def value(self) -> AccessGrant:
        """The grant."""
        return AccessGrant(frozenset(self.verbs), Globs(self.models))


class BindingForm(_Part):
    """Who is meant gets these roles."""

    roles: tuple[PolicyName, ...]
    """Roles of this policy."""
    tenant: PolicyName | None = None
    """The tenant of the caller. Unset: none."""
    models: Annotated[tuple[NamePattern, ...], Field(min_length=1)] = ("*",)
    """Narrows what the roles grant to these models."""

    def binding(self) -> Binding:
        """Roles, tenant and models."""
        return Binding(frozenset(self.roles), self.tenant or "", Globs(self.models))


class TokenCallerForm(BindingForm):
    """Callers with tokens; the first whose claims all match counts."""

    claims: Annotated[dict[str, NamePattern], Field(min_length=1)]
    """Claims by name, and what they must be; `*` is any characters. Of a claim that is a list one element must match."""


class CertificateForm(BindingForm):
    """Callers with client certificates; the first that matches counts. Give one of uri, dns, subject, sha256."""

    uri: NamePattern | None = None
    """URI of the subject alternative name, e.g. a SPIFFE ID."""
    dns: NamePattern | None = None
    """DNS name of the subject alternative name."""
    subject: NamePattern | None = None
    """Subject as RFC 4514 text, e.g. `CN=soar,O=SOC`."""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    """SHA-256 of the certificate in DER form, 64 hexadecimal digits."""

    @model_validator(mode="after")
    def _one_part(self) -> Self:
        if sum(part is not None for part in (self.uri, self.dns, self.subject, self.sha256)) != 1:
            raise ValueError("give one of uri, dns, subject and sha256")
        return self

    def value(self) -> CertificateRule:
        """The rule."""
        part = next(part for part in ("uri", "dns", "subject", "sha256") if getattr(self, part) is not None)
        return CertificateRule(part, Globs([getattr(self, part)]), self.binding())


class IssuerForm(_Part):
    """An OpenID Connect provider, or anything else that makes signed JWTs."""

    name: PolicyName
    """Short name; part of the names of its callers: `token:NAME:SUBJECT`."""
    issuer: Annotated[str, Field(min_length=1, max_length=500)]
    """The claim `iss`, to the letter."""
    audiences: Annotated[tuple[NamePattern, ...], Field(min_length=1)]
    """The claim `aud` must hold one of these, to the letter."""
    keys: str = ""
    """Its keys (JWKS): an https URL, an http URL on loopback, or a file. Unset: found by OpenID Connect discovery at `issuer`."""
    algorithms: Annotated[tuple[Literal["RS256", "ES256", "EdDSA"], ...], Field(min_length=1)] = ALGORITHMS  # type: ignore[assignment]
    """Algorithms of signatures that count."""
    callers: tuple[TokenCallerForm, ...]
    """Which tokens get which roles."""
    name_claim: str = "sub"
    """The claim that names the caller."""
    tenant_claim: str = ""
    """The claim that names the tenant, for callers whose entry names none. Unset: they have none."""
    leeway_s: Annotated[float, Field(ge=0, le=300)] = 30.0
    """How far the clocks may differ, for `exp`, `nbf` and `iat`."""
    refresh_s: Annotated[float, Field(ge=10)] = 300.0
    """How often the keys are read again. An unknown key id asks for them at once, at most every 10 s."""
    stale_s: PositiveFloat = 86_400.0
    """How long the last keys count while they cannot be read again. After that tokens of the issuer get 503."""
    ca: str = ""
    """PEM file of the authorities that its server is verified by. Unset: the system's."""
    bearer: str = ""
    """File of a token to ask for the keys with, as the API server of Kubernetes may want. It is sent to the host of `keys`, or of `issuer`
    where the keys are found by discovery; never to another host that the discovery names. Unset: none."""

    def value(self, folder: Path) -> TokenIssuer:
        """The issuer. Paths are relative to the policy's folder. Raises ValueError for keys that come over an open line."""
        return TokenIssuer(
            self.name,
            self.issuer,
            self.audiences,
            frozenset(self.algorithms),
            tuple(TokenBinding({n: Globs([p]) for n, p in c.claims.items()}, c.binding()) for c in self.callers),
            keys=_source(self.keys, folder) if self.keys else f"discover:{_source(self.issuer, folder)}",
            name_claim=self.name_claim,
            tenant_claim=self.tenant_claim,
            leeway_s=self.leeway_s,
            stale_s=self.stale_s,
            every_s=self.refresh_s,
            ca=str(folder / self.ca) if self.ca else "",
            bearer=str(folder / self.bearer) if self.bearer else "",
        )


class TenantForm(_Part):
    """A tenant."""

    models: tuple[NamePattern, ...] = ()
    """Models that belong to this tenant alone."""
    entities: tuple[NamePattern, ...] = ()
    """Entities of the ledger of risks that belong to this tenant alone."""


class RateLimitForm(_Part):
    """A limit for each caller in each replica."""

    requests_per_s: NonNegativeFloat = 0.0
    """Requests a second. 0: no limit."""
    rows_per_s: NonNegativeFloat = 0.0
    """Rows a second. 0: no limit."""
    burst_s: PositiveFloat = 2.0
    """Seconds whose share may come at once."""

    def value(self) -> RateLimit:
        """The limit."""
        return RateLimit(self.requests_per_s, self.rows_per_s, self.burst_s)


class LimitsForm(_Part):
    """Limits of rates."""

    caller: RateLimitForm = RateLimitForm()
    """Of each caller."""
    address: RateLimitForm = RateLimitForm()
    """Of each address, for requests without credentials. An IPv6 address counts with its /64."""
    roles: dict[PolicyName, RateLimitForm] = {}
    """Of each caller with the role, in place of `caller`. The first role that fits counts."""


class PolicyForm(_Part):
    """The access policy."""

    version: Literal[1]
    """Version of this format."""
    open: tuple[Verb, ...] = (Verb.HEALTH, Verb.METRICS)
    """Verbs that need no credentials: of health, metrics and metadata. Others are given to everybody by `anonymous`."""
    roles: dict[PolicyName, tuple[GrantForm, ...]] = {}
    """Roles by name. What no role grants is refused."""
    anonymous: tuple[PolicyName, ...] = ()
    """Roles of requests without credentials."""
    issuers: tuple[IssuerForm, ...] = ()
    """Issuers of tokens."""
    certificates: tuple[CertificateForm, ...] = ()
    """Client certificates."""
    keys: str = ""
    """File of API keys (`vedette keys`), relative to the policy. Unset: no key counts."""
    tenants: Annotated[dict[PolicyName, TenantForm], Field(max_length=MOST_TENANTS)] = {}
    """Tenants by name."""
    shared_models: tuple[NamePattern, ...] = ()
    """Models that every tenant may ask, as far as its roles grant it."""
    limits: LimitsForm = LimitsForm()
    """Limits of rates."""

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        if set(self.open) - OPENABLE:
            raise ValueError(f"open: {', '.join(sorted(set(self.open) - OPENABLE))} cannot be open; give a role to `anonymous`")
        bindings: list[tuple[str, BindingForm]] = [(f"certificates[{i}]", c) for i, c in enumerate(self.certificates)]
        bindings += [(f"issuers.{s.name}.callers[{i}]", c) for s in self.issuers for i, c in enumerate(s.callers)]
        named = [(where, b.roles) for where, b in bindings] + [
            ("anonymous", self.anonymous),
            ("limits.roles", tuple(self.limits.roles)),
        ]
        for where, roles in named:
            unknown = sorted(set(roles) - set(self.roles))
            if unknown:
                raise ValueError(
                    f"{where}: no role {', '.join(unknown)}; roles are {', '.join(sorted(self.roles)) or '(none)'}"
                )
        for where, one in bindings:
            if one.tenant is not None and one.tenant not in self.tenants:
                raise ValueError(f"{where}: no tenant {one.tenant}; name it under tenants")
        for what, values in (("name", [s.name for s in self.issuers]), ("issuer", [s.issuer for s in self.issuers])):
            if len(set(values)) < len(values):
                raise ValueError(f"issuers: two have the same {what}")
        return self


def parse_policy(text: str, source: Path) -> AccessPolicy:
    """The policy that a text states. source: the file, for messages and as the place that paths are relative to.

    Raises AccessPolicyError."""
    if len(text) > MOST_BYTES:
        raise AccessPolicyError(f"{source}: has {len(text)} characters, a policy has at most {MOST_BYTES}")
    try:
        form = PolicyForm.model_validate(read_yaml(text, _Strict))
        return _policy(form, source.parent)
    except yaml.YAMLError as problem:
        raise AccessPolicyError(f"{source}: is not YAML: {problem}") from problem
    except ValidationError as problem:
        raise AccessPolicyError(f"{source}: {_words(problem)}; docs/reference/access.md has the format") from problem
    except ValueError as problem:
        raise AccessPolicyError(f"{source}: {problem}") from problem


def policy_warnings(policy: AccessPolicy) -> list[str]:
    """What is allowed and is probably not meant, a line each."""
    found = []
    if policy.tenants and Verb.METRICS in policy.open:
        found.append("open: metrics are open, and speak of all tenants; leave metrics out and give a role to what scrapes")
    if (
        policy.tenants
        and not any(grant for grant in policy.tenants.values() if grant.models.patterns)
        and not policy.shared.patterns
    ):
        found.append("tenants: no tenant has a model, so no caller with a tenant may ask anything")
    for role in sorted(policy.anonymous):
        wide = {v.value for grant in policy.roles[role] for v in grant.verbs} & {"repository", "risk"}
        if wide:
            found.append(f"anonymous: role {role} gives {', '.join(sorted(wide))} to everybody")
    used = set(policy.anonymous) | {role for rule in policy.certificates for role in rule.binding.roles}
    used |= {role for issuer in policy.issuers for one in issuer.bindings for role in one.binding.roles}
    if not policy.keys_file:
        found += [f"roles: nobody has {role}" for role in sorted(set(policy.roles) - used)]
    for issuer in policy.issuers:
        if any(set(one.claims) <= {"iss", "aud"} for one in issuer.bindings):
            found.append(f"issuers.{issuer.name}: every token of the issuer gets these roles; match a claim that says who")
    first, *others = sorted(policy.tenants) or [""]
    for one, other in [(a, b) for i, a in enumerate([first, *others]) for b in [first, *others][i + 1 :]]:
        both = {p for p in policy.tenants[one].models.patterns if policy.tenants[other].models.match(p)}
        both |= {p for p in policy.tenants[other].models.patterns if policy.tenants[one].models.match(p)}
        if both:
            found.append(f"tenants: {', '.join(sorted(both))} is {one}'s and {other}'s; put it under shared_models")
    return found


def _policy(form: PolicyForm, folder: Path) -> AccessPolicy:
    return AccessPolicy(
        open=frozenset(form.open),
        roles={name: tuple(grant.value() for grant in grants) for name, grants in form.roles.items()},
        anonymous=frozenset(form.anonymous),
        tenants={n: Tenant(n, Globs(t.models), Globs(t.entities)) for n, t in form.tenants.items()},
        shared=Globs(form.shared_models),
        issuers=tuple(one.value(folder) for one in form.issuers),
        certificates=tuple(one.value() for one in form.certificates),
        keys_file=str(folder / form.keys) if form.keys else "",
        limit=form.limits.caller.value(),
        address_limit=form.limits.address.value(),
        limits={role: limit.value() for role, limit in form.limits.roles.items()},
    )


def _source(keys: str, folder: Path) -> str:
    """Where keys come from: a URL as it is, or a file. Raises ValueError for a plain connection: somebody on it could forge tokens."""
    parts = urlsplit(keys)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        if parts.username or parts.password or not parts.hostname:
            raise ValueError(f"issuers: {parts.scheme}://{parts.hostname}: a URL must have a host and hold no password")
        return keys
    if parts.scheme == "http":
        raise ValueError(
            f"issuers: {keys}: keys come over https only, or from loopback; somebody on a plain connection could forge tokens"
        )
    if parts.scheme not in {"", "file"}:
        raise ValueError(f"issuers: {keys}: expected an https URL or the path of a file")
    return str(folder / keys.removeprefix("file://"))


def _words(problem: ValidationError) -> str:
    found = problem.errors(include_url=False, include_input=False)
    told = [f"{'.'.join(str(part) for part in one['loc']) or 'policy'}: {one['msg']}" for one in found[:5]]
    return "; ".join(told) + (f"; and {len(found) - 5} more" if len(found) > 5 else "")


class _Strict(yaml.CSafeLoader):
    """A name that is written twice is an error: the second would silently replace what the first allows or limits."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Raises yaml.YAMLError for a name that is written twice."""
        seen = set[str]()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and not re.fullmatch("<<", key.value):
                if key.value in seen:
                    raise yaml.YAMLError(f"{key.value} is written twice{key.start_mark}")
                seen.add(key.value)
        return super().construct_mapping(node, deep)
