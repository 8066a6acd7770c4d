"""`vedette suppressions check`: the owners and ends of a file's suppressions, and their effect."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from operators.cli.console import CommandError, Json, errors, page, print_json, print_table
from operators.cli.store.store_option import StoreDir

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lifecycle.labels.label import Label
    from lifecycle.labels.suppressed import SuppressionTrial
    from operators.suppression import Suppression
    from serving.audit.record import AuditRecord

app = typer.Typer(no_args_is_help=True, help="Known causes of false alarms: check them before they are rolled out.")
SuppressionFile = Annotated[Path, typer.Argument(metavar="FILE", help="YAML file with `suppressions`.")]


@app.command()
def check(
    file: SuppressionFile,
    model: Annotated[
        str | None, typer.Option("--model", help="Try them on this model's columns and on its prediction log.")
    ] = None,
    version: Annotated[str | None, typer.Option("--version", help="Version of the model (default: the newest).")] = None,
    newest: Annotated[int, typer.Option("--records", min=0, help="Number of the log's newest records to try.")] = 20_000,
    store_dir: StoreDir = None,
    as_json: Json = False,
) -> None:
    """List owners and ends; with --model also what each would suppress. Exit code 1 if one has expired or hides an attack."""
    from operators.cli.documents import read_suppressions

    entries, now = read_suppressions(file), datetime.now(UTC)
    trial = None if model is None else _trial(entries, model, version, newest, store_dir)
    records = [_record(entry, now, trial) for entry in entries]
    if as_json:
        print_json({"suppressions": records, "log": None if trial is None else _log_record(trial)})
    else:
        _print(records, trial)
    if any(record["is_expired"] or record.get("attacks") for record in records):
        raise typer.Exit(1)


def _record(entry: "Suppression", now: datetime, trial: "SuppressionTrial | None") -> dict[str, Any]:
    record = {**entry.model_dump(mode="json", by_alias=True), "is_expired": entry.expires <= now}
    record["days_left"] = round((entry.expires - now).total_seconds() / 86_400, 1)
    if trial is not None:
        effect = trial.effects[entry.id]
        record |= {"alerts": effect.alerts, "investigated": effect.investigated, "attacks": effect.attacks}
        record["benign"] = effect.benign
    return record


def _log_record(trial: "SuppressionTrial") -> dict[str, Any]:
    return {
        "records": trial.records, "rows": trial.rows, "alerts": trial.alerts, "investigated": trial.investigated,
        "unread": trial.unread, "why_unread": trial.why_unread,
    }  # fmt: skip


def _print(records: list[dict[str, Any]], trial: "SuppressionTrial | None") -> None:
    tried = ("alerts", "investigated", "attacks", "benign") if trial is not None else ()
    titles = {"alerts": "alerts", "investigated": "investigated", "attacks": "labelled attack", "benign": "labelled benign"}
    rows = [
        (
            record["id"],
            record["owner"],
            "expired" if record["is_expired"] else f"{record['days_left']:g} days",
            record["becomes"],
            record["when"],
            *(f"{record[name]:,}" for name in tried),
        )
        for record in records
    ]
    columns = ("id", "owner", "ends in", "becomes", "when", *(titles[name] for name in tried))
    print_table("suppressions", columns, rows, right=tuple(titles[name] for name in tried))
    if trial is None:
        return
    page().print(
        f"of {trial.rows:,} rows in {trial.records:,} records: {trial.alerts:,} alerts and {trial.investigated:,} to investigate "
        f"before suppressions; {sum(e.rows for e in trial.effects.values()):,} would be suppressed"
    )
    if trial.unread:
        errors.print(f"{trial.unread:,} records could not be tried: {trial.why_unread}", markup=False)


def _trial(
    entries: "tuple[Suppression, ...]", model: str, version: str | None, newest: int, store_dir: Path | None
) -> "SuppressionTrial":
    from lifecycle.governance.replay.revisions import RevisionBook
    from lifecycle.labels.suppressed import try_suppressions
    from operators.cli.rollout.start import bundle_of
    from operators.suppression import served_suppressions
    from serving.loading.loaded_bundle import suppressions_of
    from serving.settings import ServingSettings
    from serving.spec import RevisionSpec

    store = store_dir or ServingSettings().store_dir
    bundle = bundle_of(store, model, version)
    compiled = suppressions_of(bundle.manifest, RevisionSpec(bundle=bundle.digest, suppressions=served_suppressions(entries)))
    if compiled is None:
        raise CommandError("the file has no suppressions; there is nothing to try")
    labels = {event: str(one.verdict) for event, one in _labels(store, model).items()}
    with errors.status("trying the suppressions on the prediction log"):
        return try_suppressions(
            [entry.id for entry in entries],
            compiled,
            _records(store, model, newest),
            RevisionBook(store),
            labels,
            time.time_ns() // 1000,
        )


def _labels(store: Path, model: str) -> "Mapping[str, Label]":
    """The last word on each event."""
    from lifecycle.governance.acts import LABELS
    from lifecycle.labels.label_log import LabelLog

    return LabelLog(store / LABELS).current(model) if (store / LABELS).is_dir() else {}


def _records(store: Path, model: str, newest: int) -> "Iterator[tuple[AuditRecord, frozenset[str]]]":
    from lifecycle.governance.archive.record_log import RecordChoice, RecordLog
    from lifecycle.labels.suppressed import opened
    from serving.audit.personal.subject_keys import SubjectKeys

    lines = RecordLog(store / "audit").newest(newest, RecordChoice(model=model, is_answer=True))
    return opened(lines, SubjectKeys(store / "keys" / "subjects"))


@app.command()
def draft(
    model: Annotated[str, typer.Option("--model", help="Model whose false alarms were labelled.")],
    version: Annotated[str | None, typer.Option("--version", help="Version of the model (default: the newest).")] = None,
    newest: Annotated[
        int, typer.Option("--records", min=0, help="Number of the log's newest records in which to look for the events.")
    ] = 20_000,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write to this file (default: stdout).")
    ] = None,
    store_dir: StoreDir = None,
    as_json: Json = False,
) -> None:
    """Draft suppressions from alerts that analysts labelled benign: entity and matched rules, for 14 days. Review them before use."""
    import yaml

    from lifecycle.labels.suppression_drafts import draft_suppressions, end_of_drafts
    from operators.cli.rollout.start import bundle_of
    from serving.rules.declared.rules_yaml import FOLDER, THRESHOLDS, parse_rules_file
    from serving.settings import ServingSettings

    store = store_dir or ServingSettings().store_dir
    bundle = bundle_of(store, model, version)
    path = bundle.folder / FOLDER / THRESHOLDS
    rules = parse_rules_file(path.read_bytes()).thresholds if bundle.manifest.rules is not None and path.is_file() else ()
    found = draft_suppressions(
        _records(store, model, newest),
        _labels(store, model),
        bundle.manifest.entity_keys,
        {rule.id: rule.when for rule in rules},
        {rule.id: rule.techniques for rule in rules},
    )
    expires = end_of_drafts(datetime.now(UTC))
    document = {"suppressions": [{**entry, "expires": expires} for entry in found.entries]}
    text = yaml.safe_dump(document, sort_keys=False, width=160, allow_unicode=True)
    if out is not None:
        out.write_text(text, encoding="utf-8")
    if as_json:
        print_json({**document, "attacked": found.attacked, "omitted": found.omitted, "unread": found.unread})
    elif out is None:
        typer.echo(text, nl=False)
    errors.print(
        f"{len(found.entries)} drafts; left out: {found.attacked} entities with a labelled attack, {found.omitted} over the bound, "
        f"{found.unread} labelled events whose entity cannot be read",
        markup=False,
    )
