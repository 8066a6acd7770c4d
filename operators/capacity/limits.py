"""What bites first as the events grow: each resource with its limit, when the plan reaches it, and what to change then. Pure."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from operators.capacity.assumptions import CapacityPlatform
from operators.capacity.demand import MOST_EVENTS, CapacityDemand
from operators.capacity.figures import PlanFigures
from operators.capacity.sizes import CapacitySizes, sizes


@dataclass(frozen=True, slots=True)
class ResourceLimit:
    """The limit of one resource, e.g. of a broker. used: how much of it a plan takes, in `unit`. change: what to do when it is reached.
    source: whose bound."""

    name: str
    limit: float
    unit: str
    used: Callable[[CapacitySizes, CapacityPlatform], float]
    change: str
    source: str


@dataclass(frozen=True, slots=True)
class LimitUse:
    """How much of one resource a plan uses at one scale of events. used: share of the limit; above 1 it is over. reached_at: events a day
    at which it is reached."""

    resource: ResourceLimit
    used: float
    reached_at: float


def _nodes(sizes: CapacitySizes, platform: CapacityPlatform) -> float:
    """Those that requests, events and their records are spread over: of replicas, and of stream workers."""
    return max(sizes.serving.nodes + sizes.stream.workers / platform.node_cores, 1)


LIMITS: Final = (
    ResourceLimit(
        "one Redis", 1, "primaries", lambda s, _: max(s.store.shards_by_rate, s.store.shards_by_memory),
        "Redis Cluster (redis+cluster://), or rows kept near (VEDETTE_FEATURE_NEAR_CACHE_BYTES)", "a primary answers on one core",
    ),
    ResourceLimit(
        "Redis Cluster", 1000, "nodes", lambda s, _: s.store.nodes,
        "split the entities over several clusters, one for each cell of replicas", "Redis Cluster specification, recommended",
    ),
    ResourceLimit(
        "the operator's look", 2.5, "s", lambda s, _: s.look_s,
        "give the operator evidence from Prometheus, not from pods", "half of VEDETTE_OPERATOR_ACTIVE_INTERVAL_S, 5 s",
    ),
    ResourceLimit(
        "Ray nodes of one cluster", 3000, "nodes", lambda s, _: s.serving.nodes,
        "several Ray clusters behind one address, each a ModelService", "Ray scalability envelope: tested with 3k+ nodes",
    ),
    ResourceLimit(
        "pods of one Kubernetes cluster", 150_000, "pods", lambda s, _: s.serving.nodes + s.stream.workers + s.store.nodes,
        "several clusters (docs/reference/regions.md)", "Kubernetes: considerations for large clusters",
    ),
    ResourceLimit(
        "nodes of one Kubernetes cluster", 5000, "nodes", lambda s, p: s.cores / p.node_cores,
        "several clusters (docs/reference/regions.md)", "Kubernetes: considerations for large clusters",
    ),
    ResourceLimit(
        "partitions of one Kafka cluster", 200_000, "partitions", lambda s, p: 2.0 * s.stream.partitions * p.kafka_copies,
        "several clusters, each with its own workers", "Apache Kafka's bound before KRaft; KRaft allows more",
    ),
    ResourceLimit(
        "network of a node", 1, "nodes' links",
        lambda s, p: s.network_bytes_s * 8 / _nodes(s, p) / (p.node_network_gbit_s * 1e9),
        "nodes with more network, or fewer replicas on a node", "node_network_gbit_s of the assumptions",
    ),
    ResourceLimit(
        "disk of a node's log", 1, "nodes' disks",
        lambda s, p: s.record.hot_bytes / _nodes(s, p) / (p.node_disk_gb * 1e9),
        "archive sooner (--hot-days), or larger disks", "node_disk_gb of the assumptions",
    ),
)  # fmt: skip
"""The bounds that a plan may reach, with where each comes from."""


def bites(
    demand: CapacityDemand, figures: PlanFigures, platform: CapacityPlatform, factor: float = 1.0, steps: int = 0
) -> tuple[LimitUse, ...]:
    """Every resource at `factor` times the events, the most used first. Entities grow with the events. steps: as of the plan. Raises
    CapacityError."""
    here = sizes(_times(demand, factor), figures, platform, "value", steps)
    found = [
        LimitUse(one, one.used(here, platform) / one.limit, _reached_at(one, demand, figures, platform, steps))
        for one in LIMITS
    ]
    return tuple(sorted(found, key=lambda b: -b.used))


def _times(demand: CapacityDemand, factor: float) -> CapacityDemand:
    events = min(demand.events_per_day * factor, MOST_EVENTS)
    return replace(demand, events_per_day=max(events, 1.0), entities=min(demand.entities * factor, 1e12))


def _reached_at(
    one: ResourceLimit, demand: CapacityDemand, figures: PlanFigures, platform: CapacityPlatform, steps: int
) -> float:
    """Events a day at which the resource is used up, found by halving the exponent; infinite if never below MOST_EVENTS."""

    def is_over(factor: float) -> bool:
        return one.used(sizes(_times(demand, factor), figures, platform, "value", steps), platform) > one.limit

    low, high = 1e-6, MOST_EVENTS / demand.events_per_day
    if not is_over(high):
        return float("inf")
    for _ in range(24):
        middle = (low * high) ** 0.5
        low, high = (low, middle) if is_over(middle) else (middle, high)
    return demand.events_per_day * high
