"""How much of everything a demand takes, for figures that are taken as certain. Pure.

What is counted in whole pieces is spread over zones so that the pieces of all zones but one are enough."""

import math
from dataclasses import dataclass

from operators.capacity.assumptions import CapacityPlatform
from operators.capacity.demand import DAY_S, CapacityDemand
from operators.capacity.errors import CapacityError
from operators.capacity.figures import Bound, DoorWork, PlanFigures
from operators.capacity.waiting import planned_rate

GB = 1e9


@dataclass(frozen=True, slots=True)
class ServingSizes:
    """Number and capacity of the replicas behind a door. rate: requests a second that one replica answers in time. needed: replicas that
    answer the peak, without headroom. cores: of one replica at that rate."""

    rate: float
    needed: float
    replicas: int
    cores: float
    replicas_per_node: int
    nodes: int


@dataclass(frozen=True, slots=True)
class StoreSizes:
    """Size of Redis: primaries by rate of reads and by memory, and the number of all nodes."""

    shards_by_rate: float
    shards_by_memory: float
    shards: int
    nodes: int


@dataclass(frozen=True, slots=True)
class StreamSizes:
    """Size of Kafka and number of stream workers. in_bytes_s: produced at peak, without copies. kept_bytes: on all disks, copies
    included."""

    workers: int
    partitions: int
    in_bytes_s: float
    kept_bytes: float
    brokers: int


@dataclass(frozen=True, slots=True)
class RecordSizes:
    """Size of the prediction log. day_bytes: written in a day. hot_bytes: on the replicas' disks. kept_bytes: in the archive."""

    day_bytes: float
    hot_bytes: float
    kept_bytes: float


@dataclass(frozen=True, slots=True)
class CapacitySizes:
    """The resources that a demand needs, part by part. network_bytes_s: into and out of the replicas at peak. look_s: processor time of
    the operator to read the pages of all replicas once. cores: of everything, at the size that is installed; worker_cores: of replicas
    and workers only."""

    serving: ServingSizes
    store: StoreSizes
    stream: StreamSizes
    record: RecordSizes
    batch_cores: float
    network_bytes_s: float
    look_s: float
    cores: float


def sizes(
    demand: CapacityDemand, figures: PlanFigures, platform: CapacityPlatform, bound: Bound = "value", steps: int = 0
) -> CapacitySizes:
    """Compute. steps: by which the rate of a replica is below the highest (`planned_rate`). Raises CapacityError if the
    latency cannot be had at any rate, or a replica fits no node."""
    certain = figures.at(bound)
    door = certain.door(demand.door)
    placed = serving_sizes(demand.door_rate, demand, door, certain, platform, steps)
    reads = demand.peak_rate if demand.reads_features else demand.stream_rate
    store = _store(demand, certain, platform, reads)
    stream = _stream(demand, certain, platform)
    record = _records(demand, certain)
    batch_rows_s = demand.events_per_day * demand.batch_share / (demand.batch_hours * 3600)
    batch_cores = batch_rows_s * certain.row_s.value / platform.worker_busy
    per_request = door.request_bytes.value + door.answer_bytes.value
    network = demand.door_rate * per_request + reads * certain.redis.reply_bytes.value + stream.in_bytes_s
    cores = (
        placed.nodes * platform.node_cores + stream.workers + batch_cores + store.nodes + stream.brokers * platform.broker_cores
    )
    return CapacitySizes(
        placed, store, stream, record, batch_cores, network, placed.replicas * certain.page_s.value, cores
    )  # fmt: skip


def serving_sizes(
    rate: float, demand: CapacityDemand, door: DoorWork, figures: PlanFigures, platform: CapacityPlatform, steps: int = 0
) -> ServingSizes:
    """The replicas that answer `rate` requests a second at a door. Raises CapacityError."""
    one = planned_rate(door.replica(), demand.p99_s, steps)
    if one <= 0:
        alone_ms = (door.busy_s.value + door.delay_s.value) * 1000
        raise CapacityError(
            f"--p99 {demand.p99_s * 1000:g} ms cannot be had: a request that comes alone takes about {alone_ms:.2g} ms, and 1 of 100 "
            "waits longer for pauses of the loop; ask for more time"
        )
    needed = rate / one
    replicas = spread(needed, demand.zones)
    cores = max(door.cpu_s.value * one, 0.1)
    by_cores = int(platform.node_cores * (1 - platform.node_reserved) / cores)
    by_memory = int(platform.node_memory_gb * GB * (1 - platform.node_reserved) / max(figures.replica_bytes.value, 1.0))
    per_node = min(by_cores, by_memory)
    if per_node < 1:
        raise CapacityError(f"node_cores {platform.node_cores:g}, node_memory_gb {platform.node_memory_gb:g}: no replica fits")
    nodes = demand.zones * math.ceil(replicas / demand.zones / per_node)
    if demand.zones == 1 and replicas:
        nodes = math.ceil(math.ceil(needed) / per_node) + 1  # any one of them may be lost, with all its replicas
        replicas = max(replicas, math.ceil(needed) + min(per_node, math.ceil(needed)))
    return ServingSizes(one, needed, replicas, cores, per_node, nodes)


def spread(needed: float, zones: int) -> int:
    """Whole pieces, as many in each zone, of which those outside any one zone are enough; with one zone, one more than needed.

    >>> [spread(10.0, zones) for zones in (1, 2, 3, 4)], spread(0.0, 3)
    ([11, 20, 15, 16], 0)
    """
    whole = math.ceil(needed - 1e-9)
    if whole <= 0:
        return 0
    return whole + 1 if zones == 1 else zones * math.ceil(whole / (zones - 1))


def _store(demand: CapacityDemand, figures: PlanFigures, platform: CapacityPlatform, reads: float) -> StoreSizes:
    by_rate = reads * figures.redis.read_s.value / platform.redis_busy
    held = demand.entities * figures.redis.entity_bytes.value if reads else 0.0
    by_memory = held / (platform.redis_memory_gb * GB / 2)
    shards = max(math.ceil(max(by_rate, by_memory) - 1e-9), int(reads > 0))
    return StoreSizes(by_rate, by_memory, shards, shards * (1 + platform.redis_copies))


def _stream(demand: CapacityDemand, figures: PlanFigures, platform: CapacityPlatform) -> StreamSizes:
    rate, work = demand.stream_rate, figures.stream
    if rate == 0:
        return StreamSizes(0, 0, 0.0, 0.0, 0)
    each = work.event_bytes.value + work.verdict_bytes.value
    in_bytes_s = rate * each
    workers = spread(rate * work.cpu_s.value / platform.worker_busy, demand.zones)
    by_bytes = math.ceil(rate * work.event_bytes.value / (platform.partition_mb_s * 1e6))
    partitions = max(workers * platform.partitions_per_worker, by_bytes)
    kept = demand.events_per_day * demand.stream_share * each * platform.kafka_days * platform.kafka_copies
    needed = max(
        in_bytes_s * platform.kafka_copies / (platform.broker_mb_s * 1e6),
        kept / (platform.broker_disk_gb * GB * platform.broker_disk_used),
        2 * partitions * platform.kafka_copies / platform.broker_partitions,  # events and verdicts
    )
    return StreamSizes(workers, partitions, in_bytes_s, kept, max(spread(needed, demand.zones), platform.kafka_copies))


def _records(demand: CapacityDemand, figures: PlanFigures) -> RecordSizes:
    day = demand.events_per_day * figures.record.live_bytes.value
    archived = demand.events_per_day * figures.record.archived_bytes.value * demand.years * 365.25
    return RecordSizes(day, day * demand.hot_days, archived)


def month_bytes(rate_bytes_s: float) -> float:
    """Bytes of a month at a mean rate."""
    return rate_bytes_s * DAY_S * 30.4
