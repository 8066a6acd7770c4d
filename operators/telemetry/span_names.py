"""Names of the operator's spans and of their attributes. Pure.

Source: OpenTelemetry semantic conventions, Kubernetes attributes; `vedette.*` is ours."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

RECONCILE: Final = "reconcile"
OBSERVE: Final = "observe"
JUDGE: Final = "judge"
RECORD: Final = "record"
ACT: Final = "act"

OPERATOR_SPANS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        f"{RECONCILE} KIND": ("internal", "One look at a resource. It is an error if the look has to be repeated."),
        OBSERVE: ("internal", "What the backend says: counters, load and what is loaded, of each replica."),
        JUDGE: ("internal", "What follows from it for the rollout and the replicas."),
        RECORD: ("internal", "A status is written."),
        ACT: ("internal", "The target is carried out, or what was made for the service is removed."),
    }
)

NAMESPACE: Final = "k8s.namespace.name"
ERROR_TYPE: Final = "error.type"
RESOURCE: Final = "vedette.resource.name"
AGAIN_S: Final = "vedette.look.again_s"
REPLICAS: Final = "vedette.replicas"
UNMEASURED: Final = "vedette.unmeasured"
PHASE: Final = "vedette.rollout.phase"
VERDICT: Final = "vedette.rollout.verdict"
MOVES: Final = "vedette.rollout.moves"
REASON: Final = "vedette.rollout.reason"

OPERATOR_ATTRIBUTES: Final[Mapping[str, str]] = MappingProxyType(
    {
        NAMESPACE: "Namespace of the resource.",
        ERROR_TYPE: "The error's class.",
        RESOURCE: "Name of the resource.",
        AGAIN_S: "Seconds until the next look, before jitter. Absent: when something changes.",
        REPLICAS: "Replicas that answered.",
        UNMEASURED: "Why there is no measurement. Absent: there is one.",
        PHASE: "Phase after the look.",
        VERDICT: "Verdict of the gates together.",
        MOVES: "The moves of this look, in order, e.g. `SetWeight`.",
        REASON: "Reason of the move that counts most.",
    }
)
