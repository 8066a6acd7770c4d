"""How far the retraining of one model is: past trainings, the one under way, what was handled. A value; saved in one step.

    STORE/retraining/MODEL/progress.json

Deciding is decide.py's, acting run.py's."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal, Self

import msgspec

from lifecycle.retraining.errors import DamagedProgress, RetrainingError
from serving.files.file_lock import exclusive_lock
from serving.files.whole_files import write_whole

Strategy = Literal["on_demand", "scheduled", "active", "incremental"]
TrainingOutcome = Literal["rolled_out", "not_passed", "failed"]
"""rolled_out: a rollout was started. not_passed: the challenge was lost or stayed undecided. failed: nothing could be trained."""
TrainingStage = Literal["triggered", "challenged"]
"""triggered: train and challenge, from the beginning if that was interrupted. challenged: the verdict is on the disk."""
WEEK_US: Final = 7 * 86_400_000_000
_KEPT: Final = 500
"""Past trainings and handled triggers that are remembered; a week has at most 175 by default."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """The reason for a training: a schedule, alarms or new labels. trigger_id: the same facts give the same one. causes: ids of alarms."""

    trigger_id: str
    strategy: Strategy
    words: str
    due_us: int
    causes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pending:
    """The training under way, as far as it is on the disk.

    champion: digest of the bundle to beat. bundle: digest of the challenger, once challenged. compute_s: processor time; while it trains,
    what is reserved for it, and what was reserved for runs of it that were killed. run_s: that of its last run alone. labels_until_us: the
    newest label that it may use."""

    trigger: Trigger
    champion: str
    started_us: int
    stage: TrainingStage = "triggered"
    bundle: str = ""
    compute_s: float = 0.0
    passed: bool = False
    words: str = ""
    labels_until_us: int = 0
    run_s: float = 0.0


@dataclass(frozen=True, slots=True)
class PastTraining:
    """A training that came to an end. compute_s: processor time that counts against the budget. run_s: without runs that were killed; None:
    not known, of a training before this was kept."""

    trigger_id: str
    strategy: Strategy
    started_us: int
    ended_us: int
    compute_s: float
    outcome: TrainingOutcome
    words: str
    bundle: str = ""
    causes: tuple[str, ...] = ()
    run_s: float | None = None


@dataclass(frozen=True, slots=True)
class RetrainingProgress:
    """State of the retraining of one model between two looks. since_us: when this began; times of a schedule before it do not count.
    labels_until_us: labels given until then were used.

    refused: triggers that were refused, each recorded once."""

    model: str
    since_us: int
    labels_until_us: int = 0
    past: tuple[PastTraining, ...] = ()
    pending: Pending | None = None
    refused: tuple[str, ...] = field(default=())

    def in_week(self, now_us: int) -> tuple[PastTraining, ...]:
        """Trainings that started within the seven days before now."""
        return tuple(p for p in self.past if p.started_us > now_us - WEEK_US)

    def is_handled(self, trigger_id: str) -> bool:
        """Whether a training has answered this trigger."""
        return any(p.trigger_id == trigger_id for p in self.past)

    def refusing(self, trigger_id: str) -> Self:
        """The same, with this trigger refused."""
        return self if trigger_id in self.refused else replace(self, refused=(*self.refused, trigger_id)[-_KEPT:])

    def starting(self, pending: Pending) -> Self:
        """The same, with a training under way. Raises ValueError if there is one already."""
        if self.pending is not None:
            raise ValueError(f"training {self.pending.trigger.trigger_id} of {self.model} is under way")
        return replace(self, pending=pending)

    def ending(self, outcome: TrainingOutcome, words: str, now_us: int) -> Self:
        """The same, with the training that was under way at its end. Raises ValueError if there is none."""
        pending = self.pending
        if pending is None:
            raise ValueError(f"no training of {self.model} is under way")
        ended = PastTraining(
            pending.trigger.trigger_id, pending.trigger.strategy, pending.started_us, now_us, pending.compute_s, outcome, words,
            pending.bundle, pending.trigger.causes, pending.run_s or None,
        )  # fmt: skip
        until = self.labels_until_us if outcome == "failed" else max(self.labels_until_us, pending.labels_until_us)
        return replace(self, past=(*self.past, ended)[-_KEPT:], pending=None, labels_until_us=until)


def folder_of(store_dir: Path, model: str) -> Path:
    """Where what belongs to the retraining of a model is kept. Raises RetrainingError for a name that leads elsewhere."""
    if model in ("", ".", "..") or any(mark in model for mark in ("/", "\\", "\0")):
        raise RetrainingError(f"{model!r} is not the name of a model; `vedette models` lists the models")
    return store_dir / "retraining" / model


def load_progress(folder: Path, model: str, now_us: int) -> RetrainingProgress:
    """How far it is; from now on if nothing was saved. Raises DamagedProgress, OSError."""
    path = folder / "progress.json"
    try:
        body = path.read_bytes()
    except FileNotFoundError:
        return RetrainingProgress(model, now_us)
    try:
        found = msgspec.json.decode(body, type=RetrainingProgress)
    except (msgspec.MsgspecError, ValueError, RecursionError) as problem:
        raise DamagedProgress(
            f"{path}: {problem}; only `vedette retrain run` writes it. "
            "If you remove it, retraining starts again, with a full budget and no cool-down"
        ) from problem
    return replace(found, since_us=min(found.since_us, now_us))  # a clock that was ahead must not put off a schedule


def save_progress(folder: Path, progress: RetrainingProgress) -> None:
    """Replace what was saved, in one step. Raises OSError."""
    write_whole(folder / "progress.json", msgspec.json.format(msgspec.json.encode(progress), indent=1).decode() + "\n")


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Only one process at a time trains a model."""
    folder.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(folder / ".lock"):
        yield
