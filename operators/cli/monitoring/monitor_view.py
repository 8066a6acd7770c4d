"""`vedette monitor show`: what the monitor knows now, from its files; a monitor need not run."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from operators.cli.console import CommandError, Json, page, plain, print_json, print_table
from operators.cli.store.store_option import StoreDir
from operators.cli.times import iso_time

if TYPE_CHECKING:
    from lifecycle.monitoring.watch.model_state import ModelState
    from lifecycle.monitoring.watch.reference import ModelReference

_LEVELS = ("", "minor", "major")
_LATEST = 10


def show(
    model: Annotated[str | None, typer.Argument(help="Only this model (default: every model that was watched).")] = None,
    store_dir: StoreDir = None,
    as_json: Json = False,
) -> None:
    """Print the evidence about each column, score and verdict, how large the changes are, and the latest alarms."""
    from lifecycle.monitoring.alarm import AlarmLog
    from lifecycle.monitoring.watch.state_files import StateFiles
    from serving.settings import ServingSettings

    store = (store_dir or ServingSettings().store_dir).resolve()
    files = StateFiles(store / "monitoring")
    names = files.models() if model is None else [model]
    if not names or (model is not None and model not in files.models()):
        raise CommandError(
            f"{store / 'monitoring'}: has no state of {model or 'any model'} yet; `vedette monitor --once` reads the log and makes it"
        )
    alarms = list(AlarmLog(store / "monitoring").read())
    found = [_record(files.read(name), _reference(store, files.read(name)), alarms) for name in names]
    if as_json:
        print_json(found)
        return
    for record in found:
        _print(record)


def _reference(store: Path, state: "ModelState") -> "ModelReference | None":
    from lifecycle.monitoring.watch.reference import NoReference, reference_of
    from serving.models.errors import BundleError
    from serving.models.store import BundleStore

    try:
        return (
            reference_of(BundleStore(store).resolve(state.model, state.current.version)) if state.current is not None else None
        )
    except (BundleError, NoReference):
        return None


def _record(state: "ModelState", reference: "ModelReference | None", alarms: list[Any]) -> dict[str, Any]:
    import msgspec

    whole, subjects = state.whole, list[dict[str, Any]]()
    if whole is not None and reference is not None and reference.shape == state.shape:
        moved, gap = whole.effects(reference.is_text)
        subjects = [
            {
                "subject": subject.name, "e_value": float(e), "psi": float(m), "gap": float(g), "alarmed": _LEVELS[int(s)],
            }
            for subject, e, m, g, s in zip(reference.subjects, whole.capital.e_values, moved, gap, whole.status, strict=True)
        ]  # fmt: skip
        subjects.sort(key=lambda row: -row["e_value"])
    return {
        "model": state.model,
        "revision": state.current.revision if state.current is not None else None,
        "version": state.current.version if state.current is not None else None,
        "rows": state.rows,
        "passed_over": state.passed_over,
        "newest": _moment(state.newest_us),
        "looked": _moment(state.looked_us),
        "looks": state.looks,
        "unwatched": state.unwatched,
        "subjects": subjects,
        "segments": {name: {"rows": s.rows, "baseline_left": s.baseline_left, "most_evidence": float(s.capital.e_values.max(initial=1.0))}
                     for name, s in state.segments.items()},
        "labels": state.labelled.labels,
        "signs": [{"detector": sign.detector, "at": _moment(sign.time_us)} for sign in state.signs],
        "alarms": [msgspec.to_builtins(alarm) for alarm in alarms if alarm.model == state.model],
    }  # fmt: skip


def _print(record: dict[str, Any]) -> None:
    title = f"{record['model']} version {record['version']}: {record['rows']} rows until {record['newest']}"
    if record["unwatched"]:
        page().print(plain(f"{title}\nnot watched: {record['unwatched']}"), markup=False, soft_wrap=True)
        return
    rows = [
        [r["subject"], f"{r['e_value']:.3g}", f"{r['psi']:.3f}", f"{r['gap']:.3f}", r["alarmed"]] for r in record["subjects"]
    ]
    print_table(title, ["what", "evidence", "PSI", "gap", "alarmed"], rows, right=["evidence", "PSI", "gap"])
    if record["segments"]:
        segments = [
            [name, s["rows"], f"{s['most_evidence']:.3g}", s["baseline_left"] or ""] for name, s in record["segments"].items()
        ]
        print_table("segments", ["segment", "rows", "most evidence", "rows until it is watched"], segments)
    for sign in record["signs"][-_LATEST:]:
        page().print(f"sign of {sign['detector']} at {sign['at']}", markup=False)
    for alarm in record["alarms"][-_LATEST:]:
        page().print(plain(f"{alarm['severity'].upper()}  {alarm['words']}"), markup=False, soft_wrap=True)


def _moment(time_us: int) -> str | None:
    return iso_time(time_us) if time_us else None
