"""`vedette gate`: the checks of a bundle, for a person, a CI server and the log of acts. Exit code 0: passed, 1: failed."""

import time
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from operators.cli.console import CommandError, Json, print_json, progress
from operators.cli.document_view import HtmlFile, MarkdownFile, show, write_files, write_report
from operators.cli.models.bundle import find_bundle
from operators.cli.models.compare import detector_of
from operators.cli.models.evaluate import TestFile, scratch_store
from operators.cli.models.train import DataDir, DataFile, load
from operators.cli.store.store_option import StoreDir

if TYPE_CHECKING:
    from collections.abc import Callable

    from lifecycle.datasets.data import Dataset
    from lifecycle.datasets.detector import Detector
    from lifecycle.evaluation.held_out import HeldOutRows
    from lifecycle.gate.checks import Check, GateReport
    from lifecycle.training.train import Progress
    from serving.models.bundle import Bundle
    from serving.models.signing.trust import Proof
    from serving.settings import ServingSettings


def gate(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="NAME or NAME/VERSION of the store, or a bundle's folder.")],
    policy: Annotated[Path | None, typer.Option(help="Policy file (default: docs/reference/gate.md).")] = None,
    data: DataFile = None,
    data_dir: DataDir = None,
    test: TestFile = None,
    detector: Annotated[
        str | None, typer.Option(help="Detector that describes the rows (default: the one that trained the bundle).")
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="Bundle to compare with, e.g. the served one. This one must not be worse.")
    ] = None,
    segments: Annotated[Path | None, typer.Option(help="Mapping of entities to segments (CSV or YAML).")] = None,
    newer: Annotated[Path | None, typer.Option(help="File of newer rows, which must be like those of training.")] = None,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML to this file.")] = None,
    record: Annotated[bool, typer.Option("--record", help="Record the judgement in the store's log of governed acts.")] = False,
    markdown: MarkdownFile = None,
    html: HtmlFile = None,
    as_json: Json = False,
    store_dir: StoreDir = None,
) -> None:
    """Check a bundle before its release: schema, golden outputs, budget, unseen rows, fairness, origin, signature. Exit code 1 if not."""
    from lifecycle.gate.pages import gate_page
    from lifecycle.gate.pages import junit as as_junit
    from lifecycle.gate.policy import GatePolicy, read_policy
    from lifecycle.gate.run import GateInputs, judge, unreadable
    from serving.models.errors import BundleError
    from serving.segments.mapping import read_segment_map
    from serving.settings import ServingSettings

    for left in (junit, markdown, html):
        if left is not None and left.is_file():
            left.unlink()  # of an earlier bundle: where this run ends without a report, nobody may take that one for it
    settings = ServingSettings() if store_dir is None else ServingSettings(store_dir=store_dir)
    bounds = GatePolicy() if policy is None else read_policy(policy)
    found: Bundle | BundleError
    try:
        found = find_bundle(bundle, store_dir)
    except BundleError as problem:
        found = problem
    champion = None if against is None else find_bundle(against, store_dir)
    mapping = None if segments is None else read_segment_map(segments)
    with progress() as display, TemporaryDirectory(prefix="vedette-") as scratch:
        task = display.add_task("reading", total=100)

        def tell(what: str, share: float) -> None:
            display.update(task, description=what, completed=round(share * 100))

        if isinstance(found, BundleError):
            report = unreadable(bundle, found, bounds)
        else:
            declared, rows, trained, unread = _rows_or_why(found, detector, data, data_dir, test, Path(scratch), tell)
            drift = None if newer is None else _drift(detector_of(found, detector), newer, Path(scratch))
            inputs = GateInputs(declared, rows, trained, champion, mapping, _prove(settings), drift, unread)
            report = judge(found, bounds, inputs, tell)
    document = gate_page(report)
    write_files(document, markdown, html)
    if junit is not None:
        write_report(junit, as_junit(report).decode("utf-8"))
    if record:
        _record(report, settings)
    if as_json:
        print_json(document.record)
    else:
        show(document)
        print("passed" if report.is_passed else f"failed: {', '.join(check.name for check in report.failures)}")
    if not report.is_passed:
        raise typer.Exit(1)


def _rows_or_why(
    bundle: "Bundle",
    named: str | None,
    data: Path | None,
    data_dir: Path | None,
    test: Path | None,
    scratch: Path,
    tell: "Progress",
) -> "tuple[Detector | None, HeldOutRows | None, frozenset[str] | None, str]":
    """What `_rows` gives, and why rows that were given cannot be judged on. Raises DetectorError, CommandError."""
    from lifecycle.errors import DetectorError, EvaluationError, TrainingError

    try:
        return *_rows(bundle, named, data, data_dir, test, scratch, tell), ""
    except DetectorError:
        raise
    except (TrainingError, EvaluationError) as problem:
        return None, None, None, str(problem)


def _rows(
    bundle: "Bundle",
    named: str | None,
    data: Path | None,
    data_dir: Path | None,
    test: Path | None,
    scratch: Path,
    tell: "Progress",
) -> "tuple[Detector | None, HeldOutRows | None, frozenset[str] | None]":
    """The detector, rows that the bundle was not trained on, and the attack types of the others; None: nothing says what they are."""
    from lifecycle.datasets.data import find_file, read_data
    from lifecycle.evaluation.held_out import held_out

    lineage = bundle.manifest.lineage
    if named is None and (lineage is None or not lineage.detector):
        if data is not None or data_dir is not None or test is not None:
            raise CommandError(f"nothing says what the rows of {bundle.manifest.name!r} are; give --detector FILE")
        return None, None, None
    detector = detector_of(bundle, named)
    if test is None and detector.source.test is not None and data_dir is not None:
        test = find_file(detector, data_dir, "test")
    judged = None if test is None else read_data(detector, test)
    is_given = data is not None or data_dir is not None
    if not is_given and judged is None and detector.source.generator is None:
        return detector, None, None
    rows = load(detector, data, data_dir, tell) if is_given or judged is None else None
    held = held_out(detector, rows if judged is None else None, judged, scratch_store(detector, scratch))
    return detector, held, None if judged is None else _types(rows)


def _types(rows: "Dataset | None") -> frozenset[str] | None:
    return None if rows is None or rows.kind is None else frozenset(map(str, rows.kind.tolist()))


def _drift(detector: "Detector", newer: Path, scratch: Path) -> "Callable[[Bundle], Check]":
    from lifecycle.datasets.data import read_data
    from lifecycle.errors import TrainingError
    from lifecycle.gate.checks import failed
    from lifecycle.gate.drift_check import drift_check
    from lifecycle.training.features import with_features

    try:
        data = read_data(detector, newer)
        frame, _ = with_features(detector, data, scratch_store(detector, scratch / "newer"))
    except TrainingError as problem:
        why = failed("drift", f"the newer rows cannot be read: {problem}", "mend the file, see `vedette data check`")
        return lambda bundle: why
    return lambda bundle: drift_check(bundle, data, frame, newer.name)


def _prove(settings: "ServingSettings") -> "Callable[[Bundle], Proof] | None":
    """Gives the signature that holds; None where no key is trusted."""
    from serving.models.bundle import SIGNATURE
    from serving.models.signing.trust import TrustedKeys
    from serving.models.store import BundleStore

    trusted = TrustedKeys(settings.trusted_keys_dir, lambda: datetime.now(UTC))
    if not any(trusted.read()):
        return None  # keys that cannot be read are not trusted, and the check says so
    store = BundleStore(settings.store_dir, trusted)

    def prove(bundle: "Bundle") -> "Proof":
        own = bundle.folder / SIGNATURE
        beside = [(own.name, own.read_bytes())] if own.is_file() else []
        return trusted.prove(bundle.digest, [*store.signatures_of(bundle.digest), *beside])

    return prove


def _record(report: "GateReport", settings: "ServingSettings") -> None:
    from lifecycle.governance.acts import LOG, Act, ActsLog
    from operators.control.folder import ControlFolder
    from serving.audit.keys.keyring import Keyring

    folder = settings.store_dir / LOG
    keys = Keyring.of(settings.store_dir, settings.audit_key, settings.audit_key_name, folders=[folder])
    log = ActsLog(folder, signer=keys.signer, now_us=lambda: time.time_ns() // 1000)
    outcomes = {check.name: check.outcome.value for check in report.checks}
    words = "passed" if report.is_passed else "; ".join(f"{c.name}: {c.words}" for c in report.failures)
    log.record(
        Act(
            time_us=time.time_ns() // 1000, actor=ControlFolder(settings.store_dir).who(), action="gate.judge",
            subject=f"bundle/{report.digest}", reason=words, evidence={"checks": outcomes},
            outcome="accepted" if report.is_passed else "refused",
        )
    )  # fmt: skip
