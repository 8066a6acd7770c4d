"""What retraining asks of what is around it. Protocols; the command line and the simulations have the adapters."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lifecycle.datasets.detector import Detector
from lifecycle.evaluation.held_out import HeldOutRows
from lifecycle.gate.checks import GateReport
from lifecycle.gate.policy import GatePolicy
from lifecycle.gate.run import GateInputs, judge
from lifecycle.governance.acts import Act
from lifecycle.labels.label import Label
from lifecycle.monitoring.alarm import Alarm
from lifecycle.monitoring.windows.answered import AnsweredRows
from lifecycle.retraining.signals import Champion
from lifecycle.training.train import Prepared
from serving.models.bundle import Bundle


class Releases(Protocol):
    """What serves, and the way in which something else comes to serve: a rollout, never at once."""

    def champion(self, model: str) -> Champion | None:
        """What serves as stable; None: nothing does."""
        ...

    def busy(self, model: str) -> str | None:
        """The rollout or experiment that is under way, in words; None: none is."""
        ...

    def bundle(self, digest: str) -> Bundle:
        """A bundle of the store. Raises ModelError."""
        ...

    def next_version(self, model: str) -> str:
        """The version that a new bundle gets."""
        ...

    def publish(self, folder: Path) -> Bundle:
        """Put a bundle into the store, signed where bundles are. The same one again changes nothing. Raises ModelError, OSError."""
        ...

    def start(self, model: str, bundle: Bundle, operating_point: str | None, steps: str | None, why: str) -> str:
        """Ask for a rollout of this bundle; its revision's digest. Asking again changes nothing.

        steps: a RolloutPolicy by name or file; None: the service's own."""
        ...


class ActsPort(Protocol):
    """The log of governed acts."""

    def record(self, act: Act) -> object:
        """Append one act, durably. Raises OSError, NoteError: then do not act."""
        ...

    def read(self) -> Iterable[Act]:
        """Every act, oldest first."""
        ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """One model and what retraining needs of it.

    folder: where its progress, challengers and reports are. actor: in whose name acts are recorded. base: the detector's own rows, features
    joined and split. answers: rows answered since a time, microseconds. labels: the last word on each event. test: the detector's test
    file, where it has one. tell: progress for people. gate: checks of a bundle by itself, before it is compared."""

    model: str
    folder: Path
    actor: str
    releases: Releases
    acts: ActsPort
    base: Callable[[Detector], Prepared]
    answers: Callable[[int], AnsweredRows]
    labels: Callable[[], Mapping[str, Label]]
    alarms: Callable[[], Sequence[Alarm]]
    test: Callable[[Detector], HeldOutRows | None] = lambda detector: None
    tell: Callable[[str, float], None] = lambda what, share: None
    gate: Callable[[Bundle, GatePolicy], GateReport] = lambda bundle, policy: judge(bundle, policy, GateInputs())
