"""A pod's status out of its containers' states. Pure.

Source: Kubernetes, "Pod Lifecycle" (phases, conditions, container states)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ContainerState:
    """state: as in the API (`waiting`, `running` or `terminated` with its fields). last: how it ended before."""

    state: Json
    ready: bool = False
    started: bool = False
    restarts: int = 0
    last: Json | None = None

    @property
    def is_running(self) -> bool:
        return "running" in self.state

    @property
    def exit_code(self) -> int | None:
        """None while it has not ended for good."""
        code: int | None = self.state.get("terminated", {}).get("exitCode")
        return code


def waiting(reason: str, message: str = "") -> ContainerState:
    return ContainerState({"waiting": {"reason": reason, **({"message": message} if message else {})}})


def restarted(state: ContainerState, reason: str, message: str = "") -> ContainerState:
    """It ended and will be started again: what it was is told as its last state."""
    return replace(waiting(reason, message), last={"terminated": state.state["terminated"]}, restarts=state.restarts + 1)


def restarts(policy: str, exit_code: int) -> bool:
    """Whether a container is started again under a restart policy."""
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def is_sidecar(container: Json) -> bool:
    """An init container that runs beside the others."""
    return container.get("restartPolicy") == "Always"


def phase(spec: Json, initial: Mapping[str, ContainerState], main: Mapping[str, ContainerState]) -> str:
    """Pending, Running, Succeeded or Failed."""
    policy = spec.get("restartPolicy", "Always")
    ordinary = [c["name"] for c in spec.get("initContainers") or () if not is_sidecar(c)]
    codes = [initial[name].exit_code for name in ordinary]
    if policy == "Never" and any(code not in (None, 0) for code in codes):
        return "Failed"
    if any(code != 0 for code in codes):
        return "Pending"
    ended = [state.exit_code for state in main.values()]
    if all(code is not None for code in ended):
        if all(code == 0 for code in ended):
            return "Succeeded"
        return "Failed"
    begun = any(s.is_running or s.exit_code is not None or s.last for s in main.values())
    return "Running" if begun else "Pending"


def backoff_s(failures: int, first_s: float, most_s: float = 300.0) -> float:
    """How long to wait before a container that ended is started again: twice as long each time."""
    return float(min(first_s * 2 ** max(0, failures - 1), most_s))


def pod_status(
    pod: Json,
    initial: Mapping[str, ContainerState],
    main: Mapping[str, ContainerState],
    *,
    address: str,
    host: str,
    now: str,
    images: Mapping[str, str],
    was: Sequence[Json] = (),
    final: Literal["", "Succeeded", "Failed"] = "",
) -> Json:
    """The status that the kubelet writes. was: the conditions as written last, whose times stay where the status stays."""
    spec = pod["spec"]
    came = final or phase(spec, initial, main)
    sidecars = {c["name"] for c in spec.get("initContainers") or () if is_sidecar(c)}
    initialized = all((state.started if name in sidecars else state.exit_code == 0) for name, state in initial.items())
    is_over = came in ("Succeeded", "Failed")
    unready = [name for name, state in {**main, **{n: initial[n] for n in sidecars}}.items() if not state.ready]
    contained = not unready and initialized and not is_over
    gates = {c["type"]: c["status"] for c in pod.get("status", {}).get("conditions") or ()}
    gated = [g["conditionType"] for g in spec.get("readinessGates") or () if gates.get(g["conditionType"]) != "True"]
    why: Json = {}
    if not contained:
        unready_words = f"containers with unready status: [{' '.join(unready)}]"
        why = {"reason": "PodCompleted"} if came == "Succeeded" else {"reason": "ContainersNotReady", "message": unready_words}
    gate = why or ({"reason": "ReadinessGatesNotReady", "message": f"no condition True: {gated}"} if gated else {})
    conditions = [
        _condition("PodReadyToStartContainers", bool(address) and not is_over, {}, was, now),
        _condition("Initialized", initialized, {}, was, now),
        _condition("Ready", contained and not gated, gate, was, now),
        _condition("ContainersReady", contained, why, was, now),
    ]
    return {
        "phase": came,
        "conditions": conditions,
        "hostIP": host,
        "hostIPs": [{"ip": host}],
        **({"podIP": address, "podIPs": [{"ip": address}]} if address else {}),
        "initContainerStatuses": [_container(c, initial[c["name"]], images) for c in spec.get("initContainers") or ()],
        "containerStatuses": [_container(c, main[c["name"]], images) for c in spec["containers"]],
        "observedGeneration": pod["metadata"].get("generation", 1),
    }


def _condition(kind: str, holds: bool, why: Json, was: Sequence[Json], now: str) -> Json:
    status = "True" if holds else "False"
    before = next((c for c in was if c["type"] == kind and c["status"] == status), None)
    changed = before["lastTransitionTime"] if before else now
    blank = {"reason": None, "message": None}  # a merge keeps what is not said
    return {"type": kind, "status": status, "lastTransitionTime": changed, **blank, **({} if holds else why)}


def _container(container: Json, state: ContainerState, images: Mapping[str, str]) -> Json:
    return {
        "name": container["name"],
        "image": container["image"],
        "imageID": images.get(container["name"], ""),
        "ready": state.ready,
        "started": state.started,
        "restartCount": state.restarts,
        "state": state.state,
        **({"lastState": state.last} if state.last else {}),
    }
