"""`vedette registry list | show`: the bundles of the registry, and the history of one bundle."""

from typing import Annotated, Any

import typer

from operators.cli.console import Json, page, print_json, print_table
from operators.cli.registry.options import Place, ReferenceArgument, RegistryUrl, StoreDir, described, place, when


def list_bundles(
    name: Annotated[str | None, typer.Argument(help="Only this model.")] = None,
    registry: RegistryUrl = None,
    store_dir: StoreDir = None,
    as_json: Json = False,
) -> None:
    """List the bundles of the registry: stage, aliases, who put them there and why."""
    at = place(store_dir, registry)
    opened = at.registry()
    found = list(opened.history(name).bundles.values()) if name else opened.bundles()
    if as_json:
        print_json([described(bundle) for bundle in found])
        return
    rows = [
        (b.name, b.version, b.stage, " ".join(b.aliases), b.by, when(b.time_us), b.reason, b.digest[: len("sha256:") + 12])
        for b in found
    ]
    columns = ["model", "version", "stage", "aliases", "by", "when", "why", "digest"]
    if not rows:
        columns = [f"{at.settings.registry_url} is empty; `vedette registry push NAME` puts a model of the store into it"]
    print_table("registry", columns, rows)


def show(reference: ReferenceArgument, registry: RegistryUrl = None, store_dir: StoreDir = None, as_json: Json = False) -> None:
    """Show one bundle: its stage, its signatures, what was done to it, by whom and why."""
    at = place(store_dir, registry)
    opened = at.registry()
    bundle = opened.find(reference)
    entries = [e for e in opened.history(bundle.name).entries if e.digest == bundle.digest]
    history = [
        {"time_us": e.time_us, "by": e.actor, "what": e.action, "to": e.stage or e.alias or e.version, "reason": e.reason}
        for e in entries
    ]
    signatures = _signatures(at, opened.signatures(bundle.digest), bundle.digest)
    if as_json:
        print_json({**described(bundle), "signatures": signatures, "history": history})
        return
    aliases = " ".join(bundle.aliases) or "-"
    told = f"{bundle.name} {bundle.version}\ndigest   {bundle.digest}\nstage    {bundle.stage}\naliases  {aliases}"
    page().print(told, soft_wrap=True, markup=False)
    print_table(
        "signatures", ["key", "is"], [(s["key"], s["problem"] or "trusted") for s in signatures] or [("-", "not signed")]
    )
    rows = [(when(int(h["time_us"])), h["by"], f"{h['what']} {h['to']}".strip(), h["reason"]) for h in history]
    print_table("history", ["when", "by", "what", "why"], rows)


def _signatures(at: Place, signatures: list[tuple[str, bytes]], digest: str) -> list[dict[str, Any]]:
    """Each signature: whose, and what is wrong with it, empty if nothing is."""
    from serving.models.errors import UntrustedBundle

    found = []
    for name, body in signatures:
        try:
            found.append({"key": at.trusted.prove(digest, [(name, body)]).signer, "problem": ""})
        except UntrustedBundle as problem:
            found.append({"key": name.removesuffix(".sig"), "problem": str(problem).partition(": ")[2]})
    return found
