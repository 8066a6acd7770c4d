"""`vedette audit retention run` and `vedette audit hold`: removes expired segments, except those under a legal hold."""

import getpass
from typing import Annotated

import typer

from operators.cli.acts import now_us, record_act
from operators.cli.audit.archive_options import Archive, record_log, settings_of, signer_of
from operators.cli.console import CommandError, Json, errors, page, print_json, print_records, print_table
from operators.cli.store.store_option import StoreDir
from operators.cli.times import time_text

app = typer.Typer(no_args_is_help=True, help="Remove expired segments, except those under a legal hold.")
holds = typer.Typer(no_args_is_help=True, help="Legal holds: records that nobody may remove.")
_Reason = Annotated[str, typer.Option(help="Reason, recorded in the log of governed acts.")]


@app.callback()
def retention() -> None:
    """Remove expired segments, except those under a legal hold."""


@app.command()
def run(
    store_dir: StoreDir = None,
    archive: Archive = None,
    policy: Annotated[
        str | None, typer.Option(help="7y, or flows=3y,default=7y (default: VEDETTE_AUDIT_RETENTION); d, w, y or forever.")
    ] = None,
    is_dry: Annotated[bool, typer.Option("--dry-run", help="List what would be removed, and remove nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Remove segments in which every record is past its retention time. Each leaves a signed tombstone and a governed act.

    Each is verified first. One that is not what was signed is kept, which is recorded, and the exit code is 1."""
    from lifecycle.governance.acts import ActsLog
    from lifecycle.governance.archive.holds import holds_in
    from lifecycle.governance.archive.retention import NotAsSigned, Retention, RetentionPolicy, ages_of, choose, held_segments
    from serving.audit.keys.trust import Trust

    settings = settings_of(store_dir)
    policy_text = policy or settings.audit_retention
    if not policy_text:
        raise CommandError("no retention: give --policy or set VEDETTE_AUDIT_RETENTION, e.g. flows=3y,default=7y")
    chosen = RetentionPolicy.parse(policy_text)
    log = record_log(store_dir, archive)
    acts = ActsLog(settings.store_dir / "governance", signer=lambda: None, now_us=now_us)
    held = held_segments(log, {hold.name: hold.where for hold in holds_in(acts.read())})
    found = choose(ages_of(log), chosen, now_us(), held)
    actor = Retention(
        signer_of(settings),
        now_us,
        lambda action, subject, why, evidence: record_act(settings, action, subject, why, evidence),
        getpass.getuser(),
        Trust.of_store(settings.store_dir, log.folder),
    )
    lines, is_bad = [], False
    for choice in found:
        if choice.held_by:
            outcome = f"held by {', '.join(choice.held_by)}"
        elif is_dry:
            outcome = "would be removed"
        else:
            try:
                outcome = "removed" if actor.remove(choice) else "in use"
            except NotAsSigned as problem:
                outcome, is_bad = f"kept, because it differs from what was signed: {problem}", True
        lines.append({"segment": choice.name, "outcome": outcome, "why": choice.reason})
    if as_json:
        print_json(lines)
    elif lines:
        print_table("retention", ["segment", "outcome", "why"], [list(line.values()) for line in lines])
    else:
        page().print("no segment is past its retention time")
    if is_bad:
        errors.print("segments that differ from what was signed are kept; `vedette audit verify` says what was changed in them")
        raise typer.Exit(1)


@holds.command()
def add(
    where: Annotated[str, typer.Argument(metavar="CONDITION", help="SQL over `records`, e.g. \"model = 'flows'\".")],
    reason: _Reason,
    store_dir: StoreDir = None,
    archive: Archive = None,
    as_json: Json = False,
) -> None:
    """Hold the records that match a condition: their segments are not removed until the hold is released."""
    from lifecycle.governance.archive.holds import add_hold

    settings = settings_of(store_dir)
    name, matched = add_hold(
        record_log(store_dir, archive),
        where,
        reason,
        lambda action, subject, why, evidence: record_act(settings, action, subject, why, evidence),
    )
    if as_json:
        print_json({"hold": name, "segments": matched})
    else:
        page().print(f"hold {name} is in force; it matches records of {matched} segments now", markup=False)


@holds.command("list")
def list_holds(store_dir: StoreDir = None, as_json: Json = False) -> None:
    """List the holds that are in force."""
    from lifecycle.governance.acts import ActsLog
    from lifecycle.governance.archive.holds import holds_in

    acts = ActsLog(settings_of(store_dir).store_dir / "governance", signer=lambda: None, now_us=now_us)
    lines = [
        {
            "hold": hold.name,
            "since": time_text(hold.time_us, "%Y-%m-%d %H:%M:%SZ"),
            "by": hold.by,
            "condition": hold.where,
            "reason": hold.reason,
        }
        for hold in holds_in(acts.read())
    ]
    print_records("legal holds", lines, as_json=as_json)


@holds.command()
def release(
    name: Annotated[str, typer.Argument(metavar="HOLD", help="Id of the hold, as `list` prints it.")],
    reason: _Reason,
    store_dir: StoreDir = None,
) -> None:
    """Release a hold."""
    from lifecycle.governance.acts import ActsLog
    from lifecycle.governance.archive.holds import holds_in, release_hold

    settings = settings_of(store_dir)
    acts = ActsLog(settings.store_dir / "governance", signer=lambda: None, now_us=now_us)
    release_hold(
        settings.store_dir / "audit",
        holds_in(acts.read()),
        name,
        reason,
        lambda action, subject, why, evidence: record_act(settings, action, subject, why, evidence),
    )
    page().print(f"hold {name} is released", markup=False)
