"""What kinds there are: the built-in ones of this server, and the values that describe a kind.

A `Kind` is one served version of one resource. Versions of one resource share its objects (`Kind.resource`). What a schema
says of fields is schema.py's; how CustomResourceDefinitions become kinds is definitions.py's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Resource = tuple[str, str]  # group, plural: where objects are kept


@dataclass(frozen=True)
class Scale:
    """Where the scale subresource reads and writes, as paths of names."""

    spec: tuple[str, ...]
    status: tuple[str, ...]
    selector: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kind:
    """One served version of one resource. `schema` is an OpenAPI v3 schema with x-kubernetes-*; None knows no fields."""

    group: str
    version: str
    kind: str
    plural: str
    singular: str = ""
    short: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    namespaced: bool = True
    schema: Mapping[str, Any] | None = None
    status: bool = False
    scale: Scale | None = None
    custom: bool = False
    generation: bool = False
    columns: tuple[Mapping[str, Any], ...] = ()
    selectable: tuple[str, ...] = ()
    create_on_update: bool = False
    keeps_deleted: bool = False  # an immediate deletion answers the object, not a Status
    verbs: tuple[str, ...] = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
    storage_version: str = ""
    list_kind: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    shares: Resource | None = None  # the same objects are served under this name too

    @property
    def resource(self) -> Resource:
        return self.shares or (self.group, self.plural)

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def list_name(self) -> str:
        return self.list_kind or f"{self.kind}List"

    @property
    def unconditional_update(self) -> bool:
        """Whether a PUT may leave out the resourceVersion."""
        return not self.custom


def _core(kind: str, plural: str, *short: str, **more: Any) -> Kind:
    return Kind("", "v1", kind, plural, short=short, **more)


RBAC = "rbac.authorization.k8s.io"
ADMISSION = "admissionregistration.k8s.io"
EXTENSIONS = "apiextensions.k8s.io"
REVIEW = ("create",)

BUILT_IN: tuple[Kind, ...] = (
    _core("Namespace", "namespaces", "ns", namespaced=False, status=True, keeps_deleted=True),
    _core("Node", "nodes", "no", namespaced=False, status=True, keeps_deleted=True),
    _core("Pod", "pods", "po", categories=("all",), status=True, generation=True, keeps_deleted=True),
    _core("ConfigMap", "configmaps", "cm"),
    _core("Secret", "secrets", defaults={"type": "Opaque"}),
    _core("Service", "services", "svc", categories=("all",), status=True, keeps_deleted=True),
    _core("ServiceAccount", "serviceaccounts", "sa", keeps_deleted=True),
    _core("Endpoints", "endpoints", "ep"),
    _core("Event", "events", "ev", create_on_update=True),
    Kind("events.k8s.io", "v1", "Event", "events", short=("ev",), create_on_update=True, shares=("", "events")),
    Kind("coordination.k8s.io", "v1", "Lease", "leases", create_on_update=True),
    Kind("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", generation=True),
    Kind("apps", "v1", "Deployment", "deployments", short=("deploy",), categories=("all",), status=True, generation=True,
         scale=Scale(("spec", "replicas"), ("status", "replicas"), ("spec", "selector"))),
    Kind("apps", "v1", "ReplicaSet", "replicasets", short=("rs",), categories=("all",), status=True, generation=True,
         scale=Scale(("spec", "replicas"), ("status", "replicas"), ("spec", "selector"))),
    Kind("apps", "v1", "StatefulSet", "statefulsets", short=("sts",), categories=("all",), status=True, generation=True,
         scale=Scale(("spec", "replicas"), ("status", "replicas"), ("spec", "selector"))),
    Kind("apps", "v1", "DaemonSet", "daemonsets", short=("ds",), categories=("all",), status=True, generation=True),
    Kind("batch", "v1", "Job", "jobs", categories=("all",), status=True, generation=True),
    Kind("batch", "v1", "CronJob", "cronjobs", short=("cj",), categories=("all",), status=True, generation=True),
    Kind("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", short=("hpa",), categories=("all",), status=True),
    Kind("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", short=("pdb",), status=True, generation=True),
    Kind("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", short=("netpol",), generation=True),
    Kind("networking.k8s.io", "v1", "Ingress", "ingresses", short=("ing",), status=True, generation=True),
    Kind("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", short=("pc",), namespaced=False, generation=True),
    Kind(RBAC, "v1", "Role", "roles"),
    Kind(RBAC, "v1", "RoleBinding", "rolebindings"),
    Kind(RBAC, "v1", "ClusterRole", "clusterroles", namespaced=False),
    Kind(RBAC, "v1", "ClusterRoleBinding", "clusterrolebindings", namespaced=False),
    Kind(EXTENSIONS, "v1", "CustomResourceDefinition", "customresourcedefinitions", short=("crd", "crds"),
         categories=("api-extensions",), namespaced=False, status=True, generation=True),
    Kind(ADMISSION, "v1", "ValidatingWebhookConfiguration", "validatingwebhookconfigurations",
         categories=("api-extensions",), namespaced=False, generation=True),
    Kind(ADMISSION, "v1", "MutatingWebhookConfiguration", "mutatingwebhookconfigurations",
         categories=("api-extensions",), namespaced=False, generation=True),
    Kind("authorization.k8s.io", "v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews", namespaced=False, verbs=REVIEW),
    Kind("authorization.k8s.io", "v1", "SubjectAccessReview", "subjectaccessreviews", namespaced=False, verbs=REVIEW),
    Kind("authorization.k8s.io", "v1", "SelfSubjectRulesReview", "selfsubjectrulesreviews", namespaced=False, verbs=REVIEW),
    Kind("authentication.k8s.io", "v1", "SelfSubjectReview", "selfsubjectreviews", namespaced=False, verbs=REVIEW),
    Kind("authentication.k8s.io", "v1", "TokenReview", "tokenreviews", namespaced=False, verbs=REVIEW),
)  # fmt: skip


class Registry:
    """The kinds served now, by group, version and plural."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, str, str], Kind] = {(k.group, k.version, k.plural): k for k in BUILT_IN}

    def find(self, group: str, version: str, plural: str) -> Kind | None:
        return self._kinds.get((group, version, plural))

    def add(self, kind: Kind) -> None:
        self._kinds[(kind.group, kind.version, kind.plural)] = kind

    def remove(self, resource: Resource) -> None:
        self._kinds = {key: kind for key, kind in self._kinds.items() if kind.resource != resource}

    def all(self) -> list[Kind]:
        return list(self._kinds.values())

    def of(self, resource: Resource) -> list[Kind]:
        return [kind for kind in self._kinds.values() if kind.resource == resource]
