"""Services of a cluster: ModelService resources, read and changed over the Kubernetes API. The verbs people say are appended to an
annotation, with the resourceVersion that was read: two people at once are both heard.

Acts on nothing by itself; the operator does."""

import json
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from operators.api.asked import NOTHING_KNOWN, ServiceIntent, by_what_is_known
from operators.api.read import ApiError, read_policy, read_service
from operators.api.types import GROUP, REQUESTS_ANNOTATION, VERSION, RolloutPolicy, rollout_of
from operators.control.looks import EvidencePoint
from operators.control.port import (
    ControlError,
    DamagedState,
    Edit,
    NoSuchService,
    Record,
    ServiceDocument,
    Unreachable,
    annotations,
)
from operators.rollout.status import RolloutStatus, VerbRequest

_SERVICES: Final = "modelservices"
_POLICIES: Final = "rolloutpolicies"
_ATTEMPTS: Final = 8
_CONFLICT: Final = 409
_NOT_FOUND: Final = 404
_T = TypeVar("_T")


def connect(*, context: str | None = None, namespace: str | None = None, kubeconfig: Path | None = None) -> "ClusterControl":
    """The cluster of a kubeconfig (its current context unless one is named), or of the pod this runs in. Raises Unreachable."""
    from kubernetes import client, config
    from kubernetes.config import ConfigException

    path = None if kubeconfig is None else str(kubeconfig)
    own = None
    try:
        api = config.new_client_from_config(path, context)
        own = _namespace_of(config.list_kube_config_contexts(path), context)
    except ConfigException as problem:
        try:
            config.load_incluster_config()
            api = client.ApiClient()
        except ConfigException:
            where = kubeconfig or "KUBECONFIG or ~/.kube/config"
            raise Unreachable(
                f"no cluster to speak to: {where}: {problem}; name one with --kubeconfig and --context"
            ) from problem
    return ClusterControl(take_authorities_of_clusters(api), namespace or own or "default")


def take_authorities_of_clusters(api: Any) -> Any:
    """The same ApiClient. Clusters' own CAs often lack an extension that Python wants from 3.13 on, as operators.backends.kube says."""
    from urllib3.util import create_urllib3_context

    context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED if api.configuration.verify_ssl else ssl.CERT_NONE)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    api.rest_client.pool_manager.connection_pool_kw["ssl_context"] = context
    return api


class ClusterControl:
    """Port Control over one namespace. api: a kubernetes ApiClient."""

    def __init__(self, api: Any, namespace: str) -> None:
        from kubernetes import client

        self._objects, self._reviews = client.CustomObjectsApi(api), client.AuthenticationV1Api(api)
        self._host, self._namespace = api.configuration.host, namespace
        self._place = (GROUP, VERSION, namespace, _SERVICES)
        self._who: tuple[str, tuple[str, ...]] | None = None

    @property
    def where(self) -> str:
        """The API server and the namespace."""
        return f"namespace {self._namespace} of {self._host}"

    def names(self) -> tuple[str, ...]:
        """Every ModelService of the namespace."""
        found = self._asked(lambda: self._objects.list_namespaced_custom_object(*self._place))
        return tuple(sorted(item["metadata"]["name"] for item in found.get("items", [])))

    def read(self, name: str) -> Record:
        """Raises NoSuchService, DamagedState, Unreachable."""
        document = self._get(name)
        asked = self._asked_for(document)
        state = asked.service.status.rollout
        handled = set(state.handled) if state else set()
        waiting = tuple(r for r in _requests(document) if r.id not in handled)
        return Record(asked.service, asked.rollout, state or RolloutStatus(), waiting, state is not None, asked.problem)

    def _asked_for(self, document: ServiceDocument) -> ServiceIntent:
        """What is written, or what the operator goes by where that cannot be followed. Raises DamagedState, Unreachable."""
        try:
            service = read_service(document)
            named = service.spec.rollout.policy_ref
            is_own = service.spec.rollout.policy is not None or named is None
            policy = None if is_own or named is None else self._policy(named.name)
            return ServiceIntent(service, rollout_of(service, policy))
        except (ApiError, LookupError) as problem:
            known = by_what_is_known(document, NOTHING_KNOWN, problem)
            if known is None:
                raise DamagedState(str(problem)) from problem
            return known

    def looks(self, name: str) -> tuple[EvidencePoint, ...]:
        """A cluster keeps no series of looks: ask its Prometheus for the operator's metrics."""
        del name
        return ()

    def change(self, name: str, edit: Edit) -> None:
        """Write what `edit` makes of the resource, anew if somebody else changed it in between. Raises ControlError."""

        def write() -> None:
            try:
                before: ServiceDocument | None = self._get(name)
            except NoSuchService:
                before = None
            after = edit(before)  # carries the resourceVersion that was read
            if before is None:
                self._asked(lambda: self._objects.create_namespaced_custom_object(*self._place, after))
            else:
                self._asked(lambda: self._objects.replace_namespaced_custom_object(*self._place, name, after))

        self._persist(name, write)

    def ask(self, name: str, request: VerbRequest) -> None:
        """Append to the annotation that the operator reads: a patch of nothing else, so that the right to patch is enough."""

        def write() -> None:
            before = self._get(name)
            waiting = [r for r in _requests(before) if r.id != request.id]
            said = [r.model_dump(mode="json", by_alias=True) for r in (*waiting, request)]
            notes = {REQUESTS_ANNOTATION: json.dumps(said, separators=(",", ":"))}
            patch = {"metadata": {"resourceVersion": before["metadata"]["resourceVersion"], "annotations": notes}}
            self._asked(lambda: self._objects.patch_namespaced_custom_object(*self._place, name, patch))

        self._persist(name, write)

    def who(self) -> str:
        """The user as the API server authenticates them."""
        return self._review()[0]

    def groups(self) -> tuple[str, ...]:
        """Their groups, as the API server says."""
        return self._review()[1]

    def caution(self) -> str | None:
        """Whether an operator runs is for the cluster to say."""
        return None

    def _review(self) -> tuple[str, tuple[str, ...]]:
        if self._who is None:
            body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
            found = self._asked(lambda: self._reviews.create_self_subject_review(body))
            info = found.status.user_info
            self._who = (info.username or "unknown", tuple(info.groups or ()))
        return self._who

    def _persist(self, name: str, write: Callable[[], None]) -> None:
        """Read and write, anew for as long as somebody else is faster in between."""
        for _ in range(_ATTEMPTS):
            try:
                write()
            except _Refused as refusal:
                if refusal.status != _CONFLICT:
                    raise
            else:
                return
        raise ControlError(
            f"ModelService {self._namespace}/{name} was changed by somebody else {_ATTEMPTS} times in a row; try again"
        )

    def _get(self, name: str) -> ServiceDocument:
        try:
            found: ServiceDocument = self._asked(lambda: self._objects.get_namespaced_custom_object(*self._place, name))
        except _Refused as refusal:
            if refusal.status == _NOT_FOUND:
                raise self._missing(name) from refusal
            raise
        return found

    def _policy(self, name: str) -> RolloutPolicy | None:
        """None: there is none. Raises ApiError, Unreachable."""
        try:
            found = self._asked(
                lambda: self._objects.get_namespaced_custom_object(GROUP, VERSION, self._namespace, _POLICIES, name)
            )
            return read_policy(found)
        except _Refused as refusal:
            if refusal.status == _NOT_FOUND:
                return None
            raise

    def _missing(self, name: str) -> NoSuchService:
        return NoSuchService(f"no ModelService {name!r} in {self.where}; it has {list(self.names()) or 'none'}")

    def _asked(self, call: Callable[[], _T]) -> _T:
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        try:
            return call()
        except ApiException as problem:
            raise _Refused(f"{self.where}: {_message(problem)}", int(problem.status or 0)) from problem
        except HTTPError as problem:
            raise Unreachable(f"{self._host} does not answer: {problem}; is the context the right one?") from problem


class _Refused(Unreachable):
    """The API server said no. status: its HTTP status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def _requests(document: ServiceDocument) -> tuple[VerbRequest, ...]:
    try:
        return tuple(VerbRequest.model_validate(r) for r in json.loads(annotations(document).get(REQUESTS_ANNOTATION) or "[]"))
    except ValueError as problem:
        raise DamagedState(
            f"annotation {REQUESTS_ANNOTATION} of {document['metadata'].get('name')} is not a list of requests ({problem}); remove it"
        ) from problem


def _message(problem: Any) -> str:
    """The API server's own words, where it gave some."""
    try:
        return str(json.loads(problem.body)["message"])
    except (TypeError, ValueError, KeyError):
        return f"{problem.status} {problem.reason}"


def _namespace_of(contexts: Any, wanted: str | None) -> str | None:
    known, active = contexts
    chosen = next((c for c in known if c["name"] == wanted), active) if wanted else active
    return None if chosen is None else chosen["context"].get("namespace")
