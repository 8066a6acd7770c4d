"""What the command line asks of a control plane: list the services, say where each stands, and pass on people's requests.

Two adapters, held to one contract suite: operators.control.folder (this machine) and operators.control.cluster (Kubernetes).
Nothing here moves a rollout. A spec is changed or a request is left; the loop or the operator acts on it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from lifecycle.governance.approvals.people import People
from operators.api.types import ModelService
from operators.ports import ServiceRef
from operators.rollout.spec import RolloutSpec
from operators.rollout.status import RolloutStatus, VerbRequest

if TYPE_CHECKING:
    from operators.backends.exposition import ReplicaPage
    from operators.control.looks import EvidencePoint

ServiceDocument = dict[str, Any]
"""A ModelService document; fields that are not ours are kept."""
Edit = Callable[[ServiceDocument | None], ServiceDocument]
"""What a document should become; None: there is none yet. Called again if somebody else changed it meanwhile."""


class ControlError(Exception):
    """The control plane cannot do or say what was asked. The message says what, where, and the way out.

    ControlError
    |-- NoSuchService    nothing of that name; the message says what there is
    |-- DamagedState     a file or resource that does not hold what it should
    `-- Unreachable      the cluster does not answer, or refuses
        `-- Forbidden    it refuses: the credentials do not count, or may not do this
    """


class NoSuchService(ControlError):
    """Nothing of that name."""


class DamagedState(ControlError):
    """A file or resource does not hold what it should."""


class Unreachable(ControlError):
    """The cluster does not answer, or refuses."""


class Forbidden(Unreachable):
    """The cluster refuses: the credentials do not count, or may not do this."""


@dataclass(frozen=True, slots=True)
class Record:
    """One service at one moment.

    rollout: the steps it follows (its own, its policy's or the default). waiting: verbs said and not yet handled.
    is_observed: whether the loop or the operator has looked at it. problem: why the document cannot be followed (for example, its policy is
    gone); the other fields then say what goes on without it."""

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

    def stamps(self) -> Mapping[str, object]:
        """For every service by name: a value that is another one after anything of it was written. Cheaper than reading them all."""
        ...

    def read(self, name: str) -> Record:
        """Raises NoSuchService, DamagedState, Unreachable."""
        ...

    def looks(self, name: str) -> "tuple[EvidencePoint, ...]":
        """The evidence over time of the newest rollout; empty where nobody keeps it."""
        ...

    def replica_pages(self) -> "tuple[ReplicaPage, ...]":
        """The pages of metrics of every replica, each once. A replica that gives none is a page with a problem. Raises ControlError."""
        ...

    def change(self, name: str, edit: Edit) -> None:
        """Write what `edit` makes of the document, creating it if there is none. Raises ControlError."""
        ...

    def ask(self, name: str, request: VerbRequest) -> None:
        """Leave a verb for the loop or the operator. The same request twice counts once. Raises ControlError."""
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
        """Why a request may not be acted on now (no loop or operator runs); None: one runs, or it is not known."""
        ...


def annotations(document: Mapping[str, Any]) -> dict[str, str]:
    """A copy of a document's annotations."""
    return dict((document.get("metadata") or {}).get("annotations") or {})
