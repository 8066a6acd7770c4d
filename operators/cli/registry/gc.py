"""`vedette registry gc`: lists unused bundles, and removes them with --yes."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from operators.cli.console import CommandError, Json, errors, print_json, print_table, progress
from operators.cli.registry.options import Because, Place, RegistryUrl, StoreDir, now_us, place

if TYPE_CHECKING:
    from lifecycle.governance.registry.registry import Registry


def gc(
    really: Annotated[bool, typer.Option("--yes", help="Remove the bundles; without it they are only listed.")] = False,
    keep_days: Annotated[int, typer.Option(min=0, help="Keep bundles that were pushed or changed within this many days.")] = 30,
    retention_days: Annotated[
        int, typer.Option(min=0, help="Keep bundles with recorded answers within this many days.")
    ] = 2557,
    log: Annotated[
        list[Path] | None, typer.Option(help="Folder with records of another machine; repeat. This store is always read.")
    ] = None,
    keep_digests: Annotated[
        Path | None,
        typer.Option(
            help="Keep the bundles that this file names (any text with sha256:HEX), e.g. of `kubectl get modelservices -A -o json`.",
            show_default=False,
        ),
    ] = None,
    is_alone: Annotated[
        bool,
        typer.Option("--this-machine-only", help="Confirm that no other machine serves from a registry that is elsewhere."),
    ] = False,
    why: Because = "unused",
    registry: RegistryUrl = None,
    store_dir: StoreDir = None,
    as_json: Json = False,
) -> None:
    """Remove unused bundles: no stage, no alias, not served, no recent change, no recent answer.

    What a cluster serves is not known here: of a registry outside the store nothing is removed without --keep-digests."""
    from lifecycle.governance.registry.bundle_mentions import digests_in, named_bundles
    from lifecycle.governance.registry.collection import DAY_US, needs

    at = place(store_dir, registry)
    if really and keep_digests is None and not is_alone and not _is_within(at):
        raise CommandError(
            f"{at.settings.registry_url}: others may serve from this registry, and what a cluster serves is not known here; nothing is "
            "removed. Give --keep-digests FILE with what they name (kubectl get modelservices -A -o json), or --this-machine-only"
        )
    named = digests_in(keep_digests.read_bytes(), keep_digests.name) if keep_digests is not None else {}
    opened, now = at.registry(), now_us()
    recorded = _recorded(at, log or [], since_us=now - retention_days * DAY_US)
    found = needs(
        opened.bundles(),
        named | named_bundles(at.settings.store_dir),
        recorded,
        now_us=now,
        grace_us=keep_days * DAY_US,
        retention_us=retention_days * DAY_US,
    )
    rows: list[dict[str, Any]] = [
        {"name": n.bundle.name, "version": n.bundle.version, "digest": n.bundle.digest, "kept": n.why or None} for n in found
    ]
    strays = _strays(opened, keep_days * DAY_US)
    rows += [{"name": "", "version": "", "digest": digest, "kept": kept or None} for digest, kept in strays]
    if really:
        for need in found:
            if not need.why:
                opened.remove(need.bundle, why, {"keep_days": keep_days, "retention_days": retention_days})
        for digest, kept in strays:
            if not kept:
                opened.remove_stray(digest, why)
    if as_json:
        print_json({"removed": really, "bundles": rows})
        return
    word = "removed" if really else "would be removed"
    table = [
        (r["name"] or "(no push ended)", r["version"], f"kept: {r['kept']}" if r["kept"] else word, r["digest"]) for r in rows
    ]
    print_table("registry gc", ["model", "version", "what", "digest"], table)
    if not really and any(not r["kept"] for r in rows):
        errors.print("nothing was removed; `--yes` removes them")


def _is_within(at: Place) -> bool:
    """Whether the registry is a folder of this machine's store, which nobody else serves from."""
    url = at.settings.registry_url
    return "://" not in url and Path(url).resolve().is_relative_to(at.settings.store_dir.resolve())


def _recorded(at: Place, logs: list[Path], *, since_us: int) -> dict[tuple[str, str], int]:
    """The newest answer of each version, over this store's records and those of other machines."""
    from lifecycle.governance.archive.place import ArchivePlace
    from lifecycle.governance.archive.record_log import RecordLog
    from lifecycle.governance.registry.bundle_mentions import UnreadableRecord, answered_versions

    store = at.settings.store_dir
    archive = at.settings.audit_archive or str(store / "archive")
    has_archive = at.settings.audit_archive is not None or Path(archive).is_dir()
    own = RecordLog(store / "audit", ArchivePlace(archive) if has_archive else None)
    newest: dict[tuple[str, str], int] = {}
    with progress() as display:
        task = display.add_task("reading records", total=None)
        for log in (own, *map(RecordLog, logs)):
            if log is not own and not log.folder.is_dir():
                raise CommandError(f"--log {log.folder}: no such folder; name one with segment-*.jsonl")
            try:
                found = answered_versions(log, since_us=since_us, progress=lambda size: display.update(task, advance=size))
            except UnreadableRecord as problem:
                raise CommandError(
                    f"{log.folder}: {problem}; nothing is removed until it is repaired, and `vedette audit verify` says what was changed"
                ) from problem
            for key, time_us in found.items():
                newest[key] = max(time_us, newest.get(key, 0))
    return newest


def _strays(opened: "Registry", grace_us: int) -> list[tuple[str, str]]:
    """Files of interrupted pushes: each digest, and why it is kept; empty: it is not."""
    return [(d, "a push may be under way" if opened.age_us(d) <= grace_us else "") for d in opened.strays()]
