"""Services of a cluster: ModelService resources, read and changed over the Kubernetes API. Verbs are appended to an annotation, with the
resourceVersion that was read, so that two requests at once are both kept.

It does not act by itself; the operator does."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final, TypeVar

from lifecycle.governance.approvals.people import NOBODY, People
from operators.api.read import ApiError, read_policy, read_service
from operators.api.service_intent import NOTHING_KNOWN, ServiceIntent, intent_from_memory
from operators.api.types import REQUESTS_ANNOTATION, RolloutPolicy, rollout_of
from operators.backends.exposition import ReplicaPage
from operators.backends.kube import MODEL_SERVICES, ROLLOUT_POLICIES, Access, Conflict, Kube, KubeError, KubeUser, NotFound
from operators.backends.kube_access import access, with_token
from operators.control.figures.pages import pod_pages
from operators.control.looks import EvidencePoint
from operators.control.port import (
    ControlError,
    DamagedState,
    Edit,
    Forbidden,
    NoSuchService,
    Record,
    ServiceDocument,
    Unreachable,
    annotations,
)
from operators.rollout.status import RolloutStatus, VerbRequest

MANAGER: Final = "vedette"
"""Field manager of what the command line writes."""
_ATTEMPTS: Final = 8
_T = TypeVar("_T")


def connect(*, context: str | None = None, namespace: str | None = None, kubeconfig: Path | None = None) -> "ClusterControl":
    """The cluster of a kubeconfig (its current context unless one is named), or of the pod this runs in. Raises Unreachable."""
    try:
        reached = access(kubeconfig, context)
    except KubeError as problem:
        raise Unreachable(f"{problem} (--kubeconfig, --context)") from problem
    return ClusterControl(reached, namespace or reached.namespace)


class ClusterControl:
    """Port Control over one namespace. Each request has a connection of its own: between two of them no event loop runs."""

    def __init__(self, reached: Access, namespace: str) -> None:
        self._reached, self._namespace = reached, namespace
        self._user: KubeUser | None = None

    def as_bearer(self, token: str) -> "ClusterControl":
        """The same namespace as the user of this token sees it; their rights count, and nobody else's."""
        return ClusterControl(with_token(self._reached, token), self._namespace)

    @property
    def where(self) -> str:
        """The API server and the namespace."""
        return f"namespace {self._namespace} of {self._reached.server}"

    def names(self) -> tuple[str, ...]:
        """Every ModelService of the namespace. Raises Unreachable, also where the cluster does not know the kind."""
        try:
            found, _ = self._ask(lambda kube: kube.list_all(MODEL_SERVICES, self._namespace, only_metadata=True))
        except _Absent as problem:
            raise Unreachable(
                f"{self._reached.server} knows no ModelServices: apply their definitions (kubectl apply --server-side -k manifests/crds), "
                "or choose another cluster with --context"
            ) from problem
        return tuple(sorted(item["metadata"]["name"] for item in found))

    def stamps(self) -> Mapping[str, object]:
        """For every ModelService: its resourceVersion. A policy that is edited shows only when the service changes. Raises Unreachable."""
        found = self._ask(lambda kube: kube.list_all(MODEL_SERVICES, self._namespace, only_metadata=True))[0]
        return {item["metadata"]["name"]: item["metadata"].get("resourceVersion") for item in found}

    def read(self, name: str) -> Record:
        """Raises NoSuchService, DamagedState, Unreachable."""
        document = self._get(name)
        asked = self._asked_for(document)
        state = asked.service.status.rollout
        handled = set(state.handled) if state else set()
        waiting = tuple(r for r in _requests(document) if r.id not in handled)
        return Record(asked.service, asked.rollout, state or RolloutStatus(), waiting, state is not None, asked.problem)

    def _asked_for(self, document: ServiceDocument) -> ServiceIntent:
        """What the resource asks for; if it cannot be followed, what the operator uses instead. Raises DamagedState, Unreachable."""
        try:
            service = read_service(document)
            named = service.spec.rollout.policy_ref
            is_own = service.spec.rollout.policy is not None or named is None
            policy = None if is_own or named is None else self._policy(named.name)
            return ServiceIntent(service, rollout_of(service, policy))
        except (ApiError, LookupError) as problem:
            known = intent_from_memory(document, NOTHING_KNOWN, problem)
            if known is None:
                raise DamagedState(str(problem)) from problem
            return known

    def looks(self, name: str) -> tuple[EvidencePoint, ...]:
        """A cluster keeps no series of looks: ask its Prometheus for the operator's metrics."""
        del name
        return ()

    def replica_pages(self) -> tuple[ReplicaPage, ...]:
        """The pages of the namespace's replicas, through the API server."""
        return self._ask(lambda kube: pod_pages(kube, self._namespace))

    def change(self, name: str, edit: Edit) -> None:
        """Write the edited resource; edit again if somebody else changed it in between. Raises ControlError."""

        def write() -> None:
            try:
                before: ServiceDocument | None = self._get(name)
            except NoSuchService:
                before = None
            after = edit(before)  # carries the resourceVersion that was read
            if before is None:
                self._ask(lambda kube: kube.create(MODEL_SERVICES, self._namespace, after))
            else:
                self._ask(lambda kube: kube.replace(MODEL_SERVICES, self._namespace, name, after))

        self._persist(name, write)

    def ask(self, name: str, request: VerbRequest) -> None:
        """Append to the annotation that the operator reads: a patch of nothing else, so that the right to patch is enough."""

        def write() -> None:
            before = self._get(name)
            waiting = [r for r in _requests(before) if r.id != request.id]
            requests = [r.model_dump(mode="json", by_alias=True) for r in (*waiting, request)]
            notes = {REQUESTS_ANNOTATION: json.dumps(requests, separators=(",", ":"))}
            patch = {"metadata": {"resourceVersion": before["metadata"]["resourceVersion"], "annotations": notes}}
            self._ask(lambda kube: kube.patch(MODEL_SERVICES, self._namespace, name, patch))

        self._persist(name, write)

    def who(self) -> str:
        """The user as the API server authenticates them."""
        return self._authenticated().name

    def groups(self) -> tuple[str, ...]:
        """Their groups, as the API server says."""
        return self._authenticated().groups

    def people(self) -> People:
        """Empty: only the operator reads the file of people."""
        return NOBODY

    def caution(self) -> str | None:
        """None: whether an operator runs is not known here."""
        return None

    def _authenticated(self) -> KubeUser:
        if self._user is None:
            self._user = self._ask(lambda kube: kube.who())
        return self._user

    def _persist(self, name: str, write: Callable[[], None]) -> None:
        """Read and write; repeat while somebody else writes in between."""
        for _ in range(_ATTEMPTS):
            try:
                write()
            except _Conflicting:
                continue
            else:
                return
        raise ControlError(
            f"ModelService {self._namespace}/{name} was changed by somebody else {_ATTEMPTS} times in a row; try again"
        )

    def _get(self, name: str) -> ServiceDocument:
        try:
            return self._ask(lambda kube: kube.get(MODEL_SERVICES, self._namespace, name))
        except _Absent as problem:
            raise NoSuchService(f"no ModelService {name!r} in {self.where}; it has {list(self.names()) or 'none'}") from problem

    def _policy(self, name: str) -> RolloutPolicy | None:
        """None: there is none. Raises ApiError, Unreachable."""
        try:
            return read_policy(self._ask(lambda kube: kube.get(ROLLOUT_POLICIES, self._namespace, name)))
        except _Absent:
            return None

    def _ask(self, request: Callable[[Kube], Awaitable[_T]]) -> _T:
        """Make a request and wait for the answer. Raises Unreachable."""

        async def ask() -> _T:
            async with Kube(self._reached, manager=MANAGER) as kube:
                return await request(kube)

        try:
            return asyncio.run(ask())
        except KubeError as problem:
            if problem.status == 0:
                raise Unreachable(f"{self.where}: {problem}; is the context the right one?") from problem
            kind = _Absent if isinstance(problem, NotFound) else _Conflicting if isinstance(problem, Conflict) else Unreachable
            kind = Forbidden if problem.status in (401, 403) else kind
            raise kind(f"{self.where}: {problem.server_message or problem}") from problem


class _Absent(Unreachable):
    """There is no such object."""


class _Conflicting(Unreachable):
    """Somebody else wrote meanwhile."""


def _requests(document: ServiceDocument) -> tuple[VerbRequest, ...]:
    try:
        return tuple(VerbRequest.model_validate(r) for r in json.loads(annotations(document).get(REQUESTS_ANNOTATION) or "[]"))
    except ValueError as problem:
        raise DamagedState(
            f"annotation {REQUESTS_ANNOTATION} of {document['metadata'].get('name')} is not a list of requests ({problem}); remove it"
        ) from problem
