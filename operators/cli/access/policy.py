"""`vedette access`: checks a policy, and shows what it allows a caller and why. Reads files only."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from operators.cli.console import CommandError, Json, errors, page, plain, print_json, print_records

if TYPE_CHECKING:
    from serving.access.policy import AccessPolicy, Binding

app = typer.Typer(no_args_is_help=True, help="The access policy: check it, ask what it allows and why.")
AccessFile = Annotated[Path | None, typer.Argument(metavar="FILE", help="The policy (default: VEDETTE_ACCESS).")]


@app.command()
def lint(file: AccessFile = None, as_json: Json = False) -> None:
    """Check a policy and its file of keys. Exit code 1 if one cannot be used; warnings do not change it."""
    from serving.access.authentication.api_keys import read_keys
    from serving.access.policy_file import policy_warnings

    path, policy = _policy(file)
    warnings = policy_warnings(policy)
    if policy.keys_file:
        entries = read_keys(Path(policy.keys_file)).entries.values()
        for one in entries:
            missing = sorted({role for role in one.roles if role not in policy.roles})
            if missing and one.revoked is None:
                warnings.append(f"keys: key {one.id} of {one.owner} has roles that are not there: {', '.join(missing)}")
            if one.tenant is not None and one.tenant not in policy.tenants and one.revoked is None:
                warnings.append(f"keys: key {one.id} of {one.owner} has a tenant that is not there: {one.tenant}")
    if as_json:
        print_json({"file": str(path), "warnings": warnings})
        return
    for line in warnings:
        errors.print(f"[yellow]warning:[/] {escape(plain(line))}", soft_wrap=True)
    counts = f"{len(policy.roles)} roles, {len(policy.issuers)} issuers, {len(policy.certificates)} rules for certificates"
    page().print(f"{path}: can be used; {counts}, {len(policy.tenants)} tenants")


@app.command()
def explain(
    file: AccessFile = None,
    roles: Annotated[list[str] | None, typer.Option("--role", help="Role of the caller; may be given several times.")] = None,
    tenant: Annotated[str, typer.Option("--tenant", help="Tenant of the caller.")] = "",
    key: Annotated[str | None, typer.Option("--key", help="The caller holds the API key with this id.")] = None,
    claims: Annotated[
        list[str] | None,
        typer.Option("--claim", help="The caller holds a token with the claim NAME=VALUE; may be given several times."),
    ] = None,
    issuer: Annotated[str | None, typer.Option("--issuer", help="The token's issuer, by its name in the policy.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="For this model (default: for any).")] = None,
    as_json: Json = False,
) -> None:
    """Show for each verb whether a caller may do it, and by which rule. Without a caller: what everybody may do."""
    from serving.access.policy import Rights
    from serving.access.verbs import Verb

    _, policy = _policy(file)
    binding = _binding(policy, roles or [], tenant, key, issuer, claims or [])
    rights = Rights(policy, binding)
    records = []
    for verb in Verb:
        is_allowed, why = rights.why(verb, model)
        records.append({"verb": verb.value, "allowed": "yes" if is_allowed else "no", "why": why})
    who = f"roles {', '.join(sorted(binding.roles)) or '(none)'}, tenant {binding.tenant or '(none)'}"
    print_records(f"{who}, model {model or '(any)'}", records, as_json=as_json)


def _binding(
    policy: "AccessPolicy", roles: list[str], tenant: str, key: str | None, issuer: str | None, claims: list[str]
) -> "Binding":
    """The caller that is asked about. Raises CommandError."""
    from serving.access.authentication.api_keys import read_keys
    from serving.access.policy import Binding, binding_of_claims

    if key is not None:
        entry = read_keys(Path(policy.keys_file)).entries.get(key) if policy.keys_file else None
        if entry is None:
            raise CommandError(f"there is no key {key}; `vedette keys list` shows them")
        if entry.revoked is not None:
            raise CommandError(f"key {key} is revoked: its holder gets 401")
        return entry.binding
    if claims:
        found = next((one for one in policy.issuers if issuer in (None, one.name)), None)
        if found is None:
            raise CommandError(
                f"the policy has no issuer {issuer or ''}; it has {', '.join(s.name for s in policy.issuers) or 'none'}"
            )
        binding = binding_of_claims(found, _claims(claims))
        if binding is None:
            raise CommandError(f"issuer {found.name}: a token without the claim {found.tenant_claim} is refused")
        return binding
    unknown = sorted(set(roles) - set(policy.roles))
    if unknown:
        raise CommandError(
            f"the policy has no role {', '.join(unknown)}; roles are {', '.join(sorted(policy.roles)) or '(none)'}"
        )
    return Binding(frozenset(roles) if roles or tenant else policy.anonymous, tenant)


def _claims(claims: list[str]) -> Mapping[str, Any]:
    """NAME=VALUE; a name that comes several times is a list."""
    found: dict[str, Any] = {}
    for text in claims:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise CommandError(f"--claim is {text!r}, expected NAME=VALUE")
        before = found.get(name)
        found[name] = value if before is None else [*(before if isinstance(before, list) else [before]), value]
    return found


def _policy(file: Path | None) -> "tuple[Path, AccessPolicy]":
    """Raises CommandError, AccessPolicyError."""
    from serving.access.followed_files import read_policy
    from serving.settings import ServingSettings

    path = file or ServingSettings().access
    if path is None:
        raise CommandError("there is no access policy; name the file, or set VEDETTE_ACCESS")
    return path, read_policy(path)
