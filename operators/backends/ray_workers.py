"""How many workers a RayService's replicas need, and how many it may have: its worker groups, and their pods. Pure.

KubeRay takes a RayService's worker counts when it makes a Ray cluster, and leaves the running one's alone (they are no difference
that makes a new cluster, and Ray's own autoscaler writes them there). So the count is written into the RayCluster, as Ray's autoscaler
would, within the RayService's present bounds.

A pod that was told to end on a node that is lost stays until its node is back or is deleted, and KubeRay counts it as a worker that runs
(1.6.1). So the group gets one more for each."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from operators.backends.pods import is_ready

Group = Mapping[str, Any]
_UNBOUNDED = 2**31 - 1
"""KubeRay's default of maxReplicas."""
_OVERDUE: Final = timedelta(seconds=10)
"""After the time that a pod had to end: no node that lives leaves one that long."""


@dataclass(frozen=True, slots=True)
class WorkerCapacity:
    """How many replicas the worker groups can hold. each: replicas on one worker; None: not known, and then no bound is known either.
    is_ours: whether the operator sets the workers (else Ray's autoscaler does)."""

    groups: tuple[Group, ...] = ()
    each: int | None = None
    is_ours: bool = True

    @property
    def most(self) -> int | None:
        """The most replicas; None: no bound is known."""
        if self.each is None or not self.groups:
            return None
        bounds = [_bounds(g)[1] * _hosts(g) for g in self.groups]
        return None if any(b >= _UNBOUNDED for b in bounds) else sum(bounds) * self.each

    def shortfall(self, replicas: int, subject: str) -> str | None:
        """Why fewer than `replicas` can run; None: they can."""
        if self.most is None or replicas <= self.most:
            return None
        named = ", ".join(f"{g['groupName']} ({_bounds(g)[1]})" for g in self.groups)
        return (
            f"{replicas} replicas are wanted, but {subject} has room for {self.most}, by maxReplicas of its worker groups: {named}; "
            f"it gets {self.most}: raise maxReplicas in rayClusterConfig.workerGroupSpecs, or ask for fewer replicas"
        )

    def workers(self, replicas: int) -> dict[str, int] | None:
        """Each group's replicas: first its least, then the groups in their order up to their most. None: the operator does not set them."""
        if self.each is None or not self.groups or not self.is_ours:
            return None
        wanted = {g["groupName"]: _bounds(g)[0] for g in self.groups}
        left = math.ceil(replicas / self.each) - sum(wanted[g["groupName"]] * _hosts(g) for g in self.groups)
        for group in self.groups:
            more = min(max(0, math.ceil(left / _hosts(group))), _bounds(group)[1] - wanted[group["groupName"]])
            wanted[group["groupName"]] += more
            left -= more * _hosts(group)
        return wanted


def capacity_of(ray_service: Mapping[str, Any], deployment: Mapping[str, Any]) -> WorkerCapacity:
    """Of a RayService. deployment: the one in serveConfigV2 whose replicas they are."""
    config = (ray_service.get("spec") or {}).get("rayClusterConfig") or {}
    groups = tuple(g for g in config.get("workerGroupSpecs") or () if g.get("suspend") is not True)
    fits = [_fits(group, deployment) for group in groups]
    each = None if not fits or None in fits else min(f for f in fits if f is not None)
    return WorkerCapacity(groups, each or None, config.get("enableInTreeAutoscaling") is not True)


def resized(
    cluster: Mapping[str, Any],
    room: WorkerCapacity,
    wanted: Mapping[str, int],
    pods: Sequence[Mapping[str, Any]],
    now: datetime,
) -> list[dict[str, Any]]:
    """The JSON patch that gives a RayCluster its workers; empty: it has them. Over the version that was read. now: with a time zone.

    A worker leaves when its replica has left it: of pods, those go that are not ready. Until there are enough of them the group
    stays larger; call it again."""
    changes: list[dict[str, Any]] = []
    bounds = {g["groupName"]: _bounds(g) for g in room.groups}
    for index, group in enumerate((cluster.get("spec") or {}).get("workerGroupSpecs") or ()):
        name = group.get("groupName")
        if name not in wanted:
            continue
        own = [p for p in pods if _group_of(p) == name]
        lost = (
            sum(_is_lost(p, now) for p in own) if _hosts(group) == 1 else 0
        )  # else it is not known which pods form one worker
        count, leaving = _step(group, wanted[name] + lost, own)
        least, most = bounds[name]
        told = {"replicas": count, "minReplicas": min(least, count), "maxReplicas": max(most, count)}
        differing = {field: value for field, value in told.items() if group.get(field) != value}
        if not differing:
            continue
        at = f"/spec/workerGroupSpecs/{index}"
        changes += [{"op": "add", "path": f"{at}/{field}", "value": value} for field, value in differing.items()]
        changes.append({"op": "add", "path": f"{at}/scaleStrategy", "value": {"workersToDelete": leaving}})
    if not changes:
        return []
    version = cluster["metadata"]["resourceVersion"]
    return [{"op": "replace", "path": "/metadata/resourceVersion", "value": version}, *changes]


def _step(group: Group, wanted: int, pods: Iterable[Mapping[str, Any]]) -> tuple[int, list[str]]:
    """How many the group should have now, and the names of the pods that may go."""
    now = int(group.get("replicas") or 0)
    if wanted >= now:
        return wanted, []
    if _hosts(group) > 1:
        return now, []  # it is not known which pods form one worker
    idle = sorted(p["metadata"]["name"] for p in pods if not is_ready(p) and not p["metadata"].get("deletionTimestamp"))
    leaving = idle[: now - wanted]
    return now - len(leaving), leaving


def _is_lost(pod: Mapping[str, Any], now: datetime) -> bool:
    """It should have ended by now, and is still there: its node hears nothing. Kubernetes' deletionTimestamp is the end of its time."""
    told = pod["metadata"].get("deletionTimestamp")
    return told is not None and now > datetime.fromisoformat(told) + _OVERDUE


def _group_of(pod: Mapping[str, Any]) -> str:
    return str((pod["metadata"].get("labels") or {}).get("ray.io/group", ""))


def _bounds(group: Group) -> tuple[int, int]:
    """Least and most workers."""
    most = group.get("maxReplicas")
    return int(group.get("minReplicas") or 0), _UNBOUNDED if most is None else int(most)


def _hosts(group: Group) -> int:
    return max(1, int(group.get("numOfHosts") or 1))


def _fits(group: Group, deployment: Mapping[str, Any]) -> int | None:
    """Replicas that one worker of the group holds; None: not known."""
    limits = [deployment.get("max_replicas_per_node")]
    has = (group.get("rayStartParams") or {}).get("num-cpus")
    needs = (deployment.get("ray_actor_options") or {}).get("num_cpus", 1)
    if isinstance(needs, int | float) and needs > 0 and str(has).isdigit():
        limits.append(int(int(str(has)) / needs))
    known = [n for n in limits if isinstance(n, int) and n > 0]
    return min(known) if known else None
