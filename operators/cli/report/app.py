"""`vedette report`: model cards and compliance reports, as Markdown, HTML (prints well, so also PDF) or JSON."""

import json
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from operators.cli.console import CommandError, errors
from operators.cli.report.fairness import fairness
from operators.cli.store.store_option import StoreDir
from operators.cli.times import TIME_FORMATS, to_us

if TYPE_CHECKING:
    from lifecycle.documents.document import Document, Format

app = typer.Typer(no_args_is_help=True, help="Model cards and compliance reports.")
app.command()(fairness)
Form = Annotated[
    str, typer.Option("--format", help="md, html or json. HTML has a print stylesheet: a browser makes a PDF of it.")
]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Write to this file (default: stdout).")]


@app.command()
def card(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A bundle of the store: MODEL, or MODEL:VERSION.")],
    evaluation: Annotated[Path | None, typer.Option(help="Output of `vedette evaluate DETECTOR --json`.")] = None,
    form: Form = "md",
    out: Out = None,
    store_dir: StoreDir = None,
) -> None:
    """Write the model card of a bundle: purpose, data, figures with intervals, limits, approvals, rollouts."""
    from lifecycle.governance.archive.record_log import RecordLog
    from lifecycle.governance.lineage.facts import BundleFact
    from lifecycle.governance.lineage.store import read_facts
    from lifecycle.governance.reports.model_card import model_card
    from operators.cli.audit.archive_options import archive_if_there
    from operators.control.rollout_facts import rollout_facts
    from serving.models.store import BundleStore
    from serving.settings import ServingSettings

    _check(form)
    root = store_dir or ServingSettings().store_dir
    name, _, version = model.partition(":")
    bundle = BundleStore(root).resolve(name, version or None)
    log = RecordLog(root / "audit", archive_if_there(root, None))
    facts = read_facts(root, log, rollout_facts(root))
    about = BundleFact(bundle.digest, bundle.manifest)
    if evaluation is None:
        _write(model_card(about, facts.rollouts, facts.acts), form, out)
        return
    try:
        judged = json.loads(evaluation.read_text(encoding="utf-8"))
        document = model_card(about, facts.rollouts, facts.acts, {} if judged is None else judged)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
        raise CommandError(f"{evaluation}: {problem}; expected what `vedette evaluate {name} --json` prints") from problem
    _write(document, form, out)


@app.command()
def compliance(
    since: Annotated[
        datetime | None, typer.Option("--from", formats=TIME_FORMATS, help="Start, UTC (default: the beginning).")
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option("--to", formats=TIME_FORMATS, help="End, UTC; a date means its first moment (default: now)."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Only this model.")] = None,
    form: Form = "md",
    out: Out = None,
    store_dir: StoreDir = None,
) -> None:
    """Write who decided what, which revisions answered, and whether the logs are sound. Exit code 1 if they are not."""
    from lifecycle.governance.archive.record_log import RecordLog
    from lifecycle.governance.archive.verifying import verify_with_archive
    from lifecycle.governance.lineage.store import count_answers, read_facts
    from lifecycle.governance.reports.compliance import ComplianceFacts, compliance_report
    from lifecycle.governance.verify.missing import beside, with_missing
    from lifecycle.governance.verify.run import Verification
    from operators.cli.audit.archive_options import archive_if_there
    from operators.cli.audit.options import folders_of_logs, is_off, trusted_keys
    from operators.control.rollout_facts import rollout_facts
    from serving.settings import ServingSettings

    _check(form)
    root = store_dir or ServingSettings().store_dir
    first, last = to_us(since, 0), to_us(until, time.time_ns() // 1000)
    if last < first:
        raise CommandError(f"--to {until} is before --from {since}; the report is of the time between them")
    trust_of = trusted_keys(root / "keys" / "trusted")
    verification = Verification(time.time_ns() // 1000, trust_of, must_sign=True, beside=beside)
    folders, _ = folders_of_logs(None, root)
    reports = tuple(
        with_missing(verify_with_archive(verification, folders, archive_if_there(root, None)), root, is_off=is_off())
    )
    log = RecordLog(root / "audit", archive_if_there(root, None))
    facts = read_facts(root, log, rollout_facts(root))
    answers = count_answers(log, first, last)
    document = compliance_report(
        ComplianceFacts(first, last, model, answers, facts.acts, facts.rollouts, facts.bundles, reports)
    )
    _write(document, form, out)
    if not all(report.is_sound for report in reports):
        raise typer.Exit(1)


def _check(form: str) -> "Format":
    """The form by its name, before anything is read. Raises CommandError."""
    from lifecycle.documents.document import Format

    chosen: Format | None = next((known for known in get_args(Format) if known == form), None)
    if chosen is None:
        raise CommandError(f"--format is {form!r}; it is one of {', '.join(get_args(Format))}")
    return chosen


def _write(document: "Document", form: str, out: Path | None) -> None:
    from lifecycle.documents.document import write

    text = write(document, _check(form))
    if out is None:
        typer.echo(text, nl=False)
        return
    out.write_text(text, encoding="utf-8")
    errors.print(f"written: {out}", markup=False)
