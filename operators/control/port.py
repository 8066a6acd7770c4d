"""What the command line asks of a control plane: which services there are, where each stands, and to hand on what people say.

Two adapters, held to one contract suite: operators.control.folder (this machine) and operators.control.cluster (Kubernetes).
Nothing here moves a rollout: a spec is changed or a request is left, and whoever runs the rollouts acts on it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from lifecycle.governance.approvals.people import People
from operators.api.types import ModelService
from operators.ports import ServiceRef
from operators.rollout.spec import RolloutSpec
from operators.rollout.status import RolloutStatus, VerbRequest

if TYPE_CHECKING:
    from operators.control.looks import EvidencePoint

ServiceDocument = dict[str, Any]
"""A ModelService as it is written down; what is not ours in it is kept."""
Edit = Callable[[ServiceDocument | None], ServiceDocument]
"""What a document should become; None: there is none yet. Called again if somebody else changed it meanwhile."""


class ControlError(Exception):
    """The control plane cannot do or say what was asked. The message says what, where, and the way out.

    ControlError
    |-- NoSuchService    nothing of that name; the message says what there is
    |-- DamagedState     a file or resource that does not hold what it should
    `-- Unreachable      the cluster does not answer, or refuses
    """


class NoSuchService(ControlError):
    """Nothing of that name."""


class DamagedState(ControlError):
    """A file or resource does not hold what it should."""


class Unreachable(ControlError):
    """The cluster does not answer, or refuses."""


@dataclass(frozen=True, slots=True)
class Record:
    """One service at one moment.

    rollout: the steps it follows (its own, its policy's or the default). waiting: verbs said and not yet handled.
    is_observed: whether whoever runs the rollouts has looked at it at all. problem: why what is written cannot be followed (its
    policy is gone, say); what is told is then what goes on without it."""

    service: ModelService
    rollout: RolloutSpec
    status: RolloutStatus
    waiting: tuple[VerbRequest, ...] = ()
    is_observed: bool = True
    problem: str | None = None

    @property
    def ref(self) -> ServiceRef:
        """How it is called."""
        return self.service.ref


class Control(Protocol):
    """Where services are kept."""

    @property
    def where(self) -> str:
        """For people: the folder, or the cluster and namespace."""
        ...

    def names(self) -> tuple[str, ...]:
        """Every service, by name."""
        ...

    def read(self, name: str) -> Record:
        """Raises NoSuchService, DamagedState, Unreachable."""
        ...

    def looks(self, name: str) -> "tuple[EvidencePoint, ...]":
        """The evidence over time of the newest rollout; empty where nobody keeps it."""
        ...

    def change(self, name: str, edit: Edit) -> None:
        """Write what `edit` makes of the document, creating it if there is none. Raises ControlError."""
        ...

    def ask(self, name: str, request: VerbRequest) -> None:
        """Leave a verb for whoever runs the rollouts. Saying the same request twice is saying it once. Raises ControlError."""
        ...

    def who(self) -> str:
        """Who the person at the command line is, as the control plane knows them."""
        ...

    def groups(self) -> tuple[str, ...]:
        """Their groups, where the control plane knows of any."""
        ...

    def people(self) -> People:
        """Who may approve, as far as that can be read from here. Raises PeopleFileError."""
        ...

    def caution(self) -> str | None:
        """Why what is said now may not be acted on (nobody runs the rollouts); None if somebody does, or nobody can tell."""
        ...


def annotations(document: Mapping[str, Any]) -> dict[str, str]:
    """A copy of a document's annotations."""
    return dict((document.get("metadata") or {}).get("annotations") or {})
