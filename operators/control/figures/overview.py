"""Everything at one moment: each service with its rollout and its figures, the replicas together, drift.

A value; `Watcher` reads it again and again. An unreachable control plane, an away replica and a damaged document are states of it."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from operators.backends.exposition import ReplicaPage
from operators.control.figures.rates import ModelFigures, PlaneFigures, figures_between, plain_figures
from operators.control.figures.scrape import MetricsScrape, read_scrape
from operators.control.port import Control, ControlError, NoSuchService, Record
from operators.rollout.status import Phase

UNMANAGED: Final = "unmanaged"
"""In place of a phase: the replicas serve the model, and no service document is about it."""
UNREADABLE: Final = "unreadable"
"""In place of a phase: the service's document or status cannot be read."""
_UNDER_WAY: Final = (Phase.PROGRESSING, Phase.PAUSED, Phase.EXPERIMENT)
DriftOpen = Mapping[tuple[str, str], int]
"""Open alarms by (model, severity)."""


@dataclass(frozen=True, slots=True)
class ServiceRow:
    """One service, or a model that no service is about (then phase is UNMANAGED).

    step: from 1, of `steps`; None: nothing is under way. weight: percent of the entities that the candidate serves. verdict: empty where
    nothing is judged. waiting_for: what it waits for, or what is wrong with it. drift: open alarms by severity. figures: None if no replica
    has the model."""

    name: str
    model: str
    phase: str
    step: int | None = None
    steps: int = 0
    weight: float = 0.0
    verdict: str = ""
    waiting_for: str = ""
    drift: Mapping[str, int] = field(default_factory=dict)
    figures: ModelFigures | None = None


@dataclass(frozen=True, slots=True)
class Overview:
    """One moment. where: the control plane, for people. problem: why the services cannot be listed; None: they were.

    drift_problem: why it is not known what drifts."""

    where: str
    at: datetime
    services: tuple[ServiceRow, ...] = ()
    plane: PlaneFigures | None = None
    problem: str | None = None
    drift_problem: str | None = None


def overview_of(
    where: str,
    records: Mapping[str, Record | str],
    plane: PlaneFigures,
    drift: DriftOpen,
    *,
    problem: str | None = None,
    drift_problem: str | None = None,
) -> Overview:
    """Put together what was read. records: by name; in place of a record, why it could not be read. Pure."""
    rows = [_row(name, record, plane, drift) for name, record in records.items()]
    known = {row.model for row in rows}
    rows += [
        ServiceRow(model, model, UNMANAGED, drift=_of_model(drift, model), figures=figures)
        for model, figures in plane.models.items()
        if model not in known
    ]
    return Overview(where, plane.at, tuple(rows), plane, problem, drift_problem)


def _row(name: str, record: Record | str, plane: PlaneFigures, drift: DriftOpen) -> ServiceRow:
    if isinstance(record, str):
        return ServiceRow(
            name, name, UNREADABLE, waiting_for=record, drift=_of_model(drift, name), figures=plane.models.get(name)
        )
    status, model = record.status, record.ref.model
    is_busy = status.phase in _UNDER_WAY
    return ServiceRow(
        name=name,
        model=model,
        phase=status.phase if record.is_observed else "waiting",
        step=min(status.step_index + 1, len(record.rollout.steps)) if status.is_under_way else None,
        steps=len(record.rollout.steps),
        weight=status.weight if is_busy else 0.0,
        verdict=status.assessment.verdict if is_busy and status.assessment.gates else "",
        waiting_for=record.problem or status.waiting_for or (status.message if status.phase is Phase.ABORTED else ""),
        drift=_of_model(drift, model),
        figures=plane.models.get(model),
    )


def _of_model(drift: DriftOpen, model: str) -> dict[str, int]:
    return {severity: count for (name, severity), count in drift.items() if name == model}


class Watcher:
    """Reads the overview of one control plane; rates are of the time since the reading before. Blocks: not for use on an event loop.

    pages: the replicas' pages; the control plane's own where None. store_dir: where the monitor of this machine keeps its findings; None:
    what drifts is on the pages, if one of them is a monitor's."""

    def __init__(
        self,
        control: Control,
        *,
        pages: Callable[[], Sequence[ReplicaPage]] | None = None,
        store_dir: Path | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._control, self._pages, self._store, self._now = control, pages or control.replica_pages, store_dir, now
        self._before: MetricsScrape | None = None

    def read(self) -> Overview:
        """One moment. Never raises for what is away, unreachable or damaged."""
        records, problem = self._records()
        plane = self.read_plane()
        drift, drift_problem = (plane.drift_open, None) if self._store is None else _drift_here(self._store, plane.drift_open)
        return overview_of(self._control.where, records, plane, drift, problem=problem, drift_problem=drift_problem)

    def read_plane(self) -> PlaneFigures:
        """The figures of the replicas alone."""
        try:
            pages = self._pages()
        except ControlError as problem:
            pages = (ReplicaPage("", problem=str(problem)),)
        scrape = read_scrape(pages, self._now())
        found = figures_between(self._before, scrape)
        if self._before is None or scrape.at != self._before.at:  # earlier: the clock was set back
            self._before = scrape
        return found

    def _records(self) -> tuple[dict[str, Record | str], str | None]:
        found: dict[str, Record | str] = {}
        try:
            for name in self._control.names():
                try:
                    found[name] = self._control.read(name)
                except NoSuchService:
                    continue  # deleted meanwhile
                except ControlError as problem:
                    found[name] = str(problem)
        except (ControlError, OSError) as problem:
            return found, str(problem)
        return found, None


def _drift_here(store_dir: Path, on_pages: DriftOpen) -> tuple[DriftOpen, str | None]:
    """Open alarms of the monitor of a store, with those of the pages for models that it does not know."""
    from lifecycle.monitoring.watch.model_state import StateError
    from lifecycle.monitoring.watch.state_files import StateFiles
    from lifecycle.monitoring.watch.stream_set import MAJOR, MINOR

    files = StateFiles(store_dir / "monitoring")
    found, problems = dict(on_pages), list[str]()
    for model in files.models():
        try:
            whole = files.read(model).whole
        except (StateError, OSError) as problem:
            problems.append(str(problem))
            continue
        counts = Counter(() if whole is None else whole.status.tolist())
        found |= {(model, word): counts[level] for level, word in ((MINOR, "minor"), (MAJOR, "major")) if counts[level]}
    return found, "; ".join(problems) or None


def plain_overview(overview: Overview) -> dict[str, Any]:
    """The overview as JSON has it."""
    plane = overview.plane
    return {
        "where": overview.where,
        "problem": overview.problem,
        "drift_problem": overview.drift_problem,
        **({} if plane is None else plain_figures(plane)),
        "services": [_plain_row(row) for row in overview.services],
    }


def _plain_row(row: ServiceRow) -> dict[str, Any]:
    found = row.figures
    return {
        "name": row.name, "model": row.model, "phase": str(row.phase), "step": row.step, "steps": row.steps, "weight": row.weight,
        "verdict": str(row.verdict), "waiting_for": row.waiting_for, "drift": dict(row.drift),
        "figures": None if found is None else {
            "replicas": found.replicas, "requests_per_s": found.requests_per_s, "rows_per_s": found.rows_per_s,
            "p50_ms": found.p50_ms, "p99_ms": found.p99_ms, "failed_per_s": found.failed_per_s, "refused_per_s": found.refused_per_s,
            "alerts_per_s": found.alerts_per_s, "degraded_ratio": found.degraded_ratio,
            "feature_age_p50_s": found.feature_age_p50_s, "feature_age_p99_s": found.feature_age_p99_s, "variants": dict(found.variants),
        },
    }  # fmt: skip
