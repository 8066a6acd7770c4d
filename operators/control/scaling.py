"""The autoscaler of this machine: beside the rollouts' loop, one count for all services, since they live in the same replicas.

operators.one_look decides; the decision is kept here for `vedette scale get`. The backend tells Ray Serve."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from operators.api.types import ModelService
from operators.autoscaling.values import ScalingDecision
from operators.control.files import remove, write_whole
from operators.control.folder import ControlFolder
from operators.one_look import LookOutcome, Scaling
from operators.ports import Load
from operators.rollout.advance import Advance
from operators.rollout.status import Target
from operators.values import Value
from serving.files.read_back import read_back_json

WRITE_EVERY: Final = timedelta(seconds=5)
"""A decision that changes nothing is kept this often."""


class ScalingView(Value):
    """What `vedette scale get` shows: the last decision, and since when it is this count."""

    at: datetime
    since: datetime
    ready: int
    ongoing: float
    p99_ms: float | None = None
    decision: ScalingDecision


@dataclass(slots=True)
class LocalScaling:
    """Decides for each service; the count is the most that one of them wants."""

    folder: ControlFolder
    most_replicas: int
    _views: dict[str, ScalingView] = field(default_factory=dict)
    _carried: dict[str, Target] = field(default_factory=dict)
    _written: dict[str, datetime] = field(default_factory=dict)

    def of(self, service: ModelService) -> Scaling | None:
        """How a service is scaled, by what was decided last; None: it is not scaled by load."""
        name, spec = service.metadata.name, service.spec.scaling
        if spec is None:
            self.forget(name)
            return None
        before = self._views.get(name) or read_view(self.folder, name)
        return Scaling(spec, before.decision.state if before else None, self._carried.get(name), self.most_replicas)

    def decided(self, service: ModelService, found: LookOutcome, load: Load, now: datetime) -> Advance:
        """Keep what was decided; the outcome with one count for all services."""
        name, outcome, decision = service.metadata.name, found.rollout, found.scaling
        if decision is None or outcome.target is None:
            return outcome
        before = self._views.get(name) or read_view(self.folder, name)
        is_new = before is None or before.decision.replicas != decision.replicas
        view = ScalingView(
            at=now,
            since=now if is_new or before is None else before.since,
            ready=load.ready_replicas,
            ongoing=load.ongoing,
            p99_ms=load.p99_ms,
            decision=decision,
        )
        self._views[name] = view
        if is_new or now - self._written.get(name, now - 2 * WRITE_EVERY) >= WRITE_EVERY:
            write_whole(view_path(self.folder, name), view.model_dump_json(by_alias=True) + "\n")
            self._written[name] = now
        self._carried[name] = outcome.target
        count = max(v.decision.replicas for v in self._views.values())
        return replace(outcome, target=outcome.target.model_copy(update={"replicas": count}))

    def forget(self, name: str) -> None:
        """The service is gone, or is no longer scaled."""
        self._carried.pop(name, None)
        self._views.pop(name, None)
        if view_path(self.folder, name).is_file():
            remove(view_path(self.folder, name))


def view_path(folder: ControlFolder, name: str) -> Path:
    """Where the last decision is kept."""
    return folder.folder / f"{name}.scaling.json"


def read_view(folder: ControlFolder, name: str) -> ScalingView | None:
    """The last decision; None if none was made, or the file is being replaced by another version of this program."""
    try:
        return read_back_json(ScalingView, view_path(folder, name).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValidationError):
        return None
