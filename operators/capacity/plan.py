"""The plan: every size with its bounds, its formula and the figures it comes from; and what it costs. Pure."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from operators.capacity.assumptions import CapacityAssumptions, CapacityPlatform
from operators.capacity.demand import CapacityDemand
from operators.capacity.errors import CapacityError
from operators.capacity.figures import QUEUE_FIGURES, PlanFigures
from operators.capacity.sizes import GB, CapacitySizes, month_bytes, serving_sizes, sizes
from operators.capacity.waiting import STEP

HOURS_A_MONTH: Final = 730.0
_OF_REPLICAS: Final = ("serving/", "operator/", "network/", "all/", "cost/")
"""Lines that grow with the replicas."""
_AT_DOOR: Final = "serving/replicas at "
"""Lines of other doors: each has bounds of its own."""


@dataclass(frozen=True, slots=True)
class PlannedFigure:
    """One figure of a plan with its bounds and its formula. low, high: the same with the lower and the upper bounds of all figures; high
    is infinite where the upper bounds leave no replica that answers in time. formula: with numbers put in.

    inputs: the measured figures and the assumptions that it comes from."""

    name: str
    value: float
    low: float
    high: float
    unit: str
    formula: str
    inputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CapacityPlan:
    """The plan for a demand: sizes with their formulas and bounds. sizes: by the measured values; least: by the lower bounds of all
    figures. steps: by which the rate of a replica is below the highest."""

    demand: CapacityDemand
    sizes: CapacitySizes
    least: CapacitySizes
    lines: tuple[PlannedFigure, ...]
    steps: int = 0

    def line(self, name: str) -> PlannedFigure:
        """The line of this name. Raises KeyError."""
        return {line.name: line for line in self.lines}[name]


def plan(demand: CapacityDemand, figures: PlanFigures, assumptions: CapacityAssumptions, steps: int = 0) -> CapacityPlan:
    """Compute it. steps: by which the rate of a replica is below the highest, because the simulation asks for it. Raises CapacityError if
    there is none."""
    platform = assumptions.platform
    value, least = (sizes(demand, figures, platform, bound, steps) for bound in ("value", "low"))  # type: ignore[arg-type]
    most, is_bounded = _most(demand, figures, platform, steps)
    lines: tuple[PlannedFigure, ...] = (
        *_serving(demand, value, least, most, platform, steps),
        *_doors(demand, figures, platform, steps),
        *_stores(demand, figures, value, least, most, platform),
        *_records(demand, figures, value, least, most),
        *_rest(demand, figures, value, least, most, platform),
        *costs(demand, value, least, most, assumptions),
    )
    if not is_bounded:
        lines = tuple(replace(one, high=math.inf) if _grows(one.name) else one for one in lines)
    return CapacityPlan(demand, value, least, lines, steps)


def _grows(name: str) -> bool:
    return name.startswith(_OF_REPLICAS) and not name.startswith(_AT_DOOR)


def _most(demand: CapacityDemand, figures: PlanFigures, platform: CapacityPlatform, steps: int) -> tuple[CapacitySizes, bool]:
    """The sizes with the upper bounds of all figures, and whether there are: those of a busy machine may allow no rate at all.
    Then the queue of the door is the measured one."""
    try:
        return sizes(demand, figures, platform, "high", steps), True
    except CapacityError:
        high = msgspec.structs.replace(figures.at("high"), doors=figures.at("value").doors)
        return sizes(demand, high, platform, "value", steps), False


def _of(
    name: str,
    pick: Callable[[CapacitySizes], float],
    all_sizes: tuple[CapacitySizes, ...],
    unit: str,
    formula: str,
    *inputs: str,
) -> PlannedFigure:
    value, least, most = (pick(one) for one in all_sizes)
    return PlannedFigure(name, value, min(value, least, most), max(value, least, most), unit, formula, inputs)


def _serving(
    demand: CapacityDemand, v: CapacitySizes, low: CapacitySizes, high: CapacitySizes, platform: CapacityPlatform, steps: int
) -> Iterator[PlannedFigure]:
    three, door = (v, low, high), f"doors.{demand.door}"
    peak = f"{demand.events_per_day:,.0f} events / 86,400 s x peak {demand.peak_factor:g} x bursts {demand.burst_factor:g}"
    yield _of("peak/events", lambda _: demand.peak_rate, three, "1/s", peak)
    queue = f"highest rate at which 99 % of requests take at most {demand.p99_s * 1000:g} ms (M/G/1), at most 80 % busy"
    if steps:
        queue += f", x {STEP**steps:.2f} so that the simulation holds"
    inputs = tuple(f"{door}.{name}" for name in QUEUE_FIGURES)
    yield _of("serving/rate of a replica", lambda s: s.serving.rate, three, "1/s", queue, *inputs)
    needed = f"{demand.door_rate:,.0f}/s / {v.serving.rate:,.0f}/s = {v.serving.needed:,.1f}"
    outside = (
        "one more than needed" if demand.zones == 1 else f"in {demand.zones} zones, those of {demand.zones - 1} are enough"
    )
    yield _of("serving/replicas", lambda s: s.serving.replicas, three, "replicas", f"{needed}, {outside}", *inputs)
    yield _of(
        "serving/cores of a replica", lambda s: s.serving.cores, three, "cores",
        f"processor time of a request x {v.serving.rate:,.0f}/s", f"{door}.cpu_s",
    )  # fmt: skip
    nodes = (
        f"{v.serving.replicas} replicas, {v.serving.replicas_per_node} on a node of {platform.node_cores:g} cores and "
        f"{platform.node_memory_gb:g} GB, in {demand.zones} zones"
    )
    yield _of("serving/Ray nodes", lambda s: s.serving.nodes, three, "nodes", nodes, f"{door}.cpu_s", "replica_bytes")
    yield _of(
        "serving/Ray nodes during an upgrade", lambda s: 2 * s.serving.nodes, three, "nodes",
        "a new image makes a second RayCluster beside the first, for minutes; a new model or weight makes none", "serving/Ray nodes",
    )  # fmt: skip


def _doors(demand: CapacityDemand, figures: PlanFigures, platform: CapacityPlatform, steps: int) -> Iterator[PlannedFigure]:
    """What the same requests would take at each other door.

    Its rate is as many steps below the highest: else the plan's own door, of which the simulation asked more, would look worse."""
    for name in figures.doors:
        if name == demand.door:
            continue
        try:
            found = [_replicas(name, demand, one, platform, steps) for one in (figures, figures.at("low"))]
        except CapacityError:
            continue  # the door cannot be had; the plan is of another one
        try:
            found.append(_replicas(name, demand, figures.at("high"), platform, steps))
        except CapacityError:
            found.append(math.inf)
        words = f"the same requests at the door {name}" + (f", its rate x {STEP**steps:.2f} too" if steps else "")
        yield PlannedFigure(f"{_AT_DOOR}{name}", found[0], min(found), max(found), "replicas", words, (f"doors.{name}",))


def _replicas(door: str, demand: CapacityDemand, figures: PlanFigures, platform: CapacityPlatform, steps: int) -> float:
    return serving_sizes(demand.door_rate, demand, figures.door(door), figures, platform, steps).replicas


def _stores(
    demand: CapacityDemand, figures: PlanFigures, v: CapacitySizes, low: CapacitySizes, high: CapacitySizes, p: CapacityPlatform
) -> Iterator[PlannedFigure]:
    three, redis = (v, low, high), figures.redis
    read_us = redis.read_s.value * 1e6
    yield _of(
        "redis/primaries", lambda s: s.store.shards, three, "shards",
        f"greater of {v.store.shards_by_rate:.2f} (reads x {read_us:.1f} us / {p.redis_busy:g} of a core) and "
        f"{v.store.shards_by_memory:.2f} ({demand.entities:,.0f} entities x {redis.entity_bytes.value:,.0f} B / half of "
        f"{p.redis_memory_gb:g} GB)", "redis.read_s", "redis.entity_bytes",
    )  # fmt: skip
    yield _of(
        "redis/nodes", lambda s: s.store.nodes, three, "nodes", f"primaries x (1 + {p.redis_copies} copies)", "redis/primaries"
    )
    work = figures.stream
    if not v.stream.workers:
        return
    yield _of(
        "stream/workers", lambda s: s.stream.workers, three, "workers",
        f"{demand.stream_rate:,.0f}/s x {work.cpu_s.value * 1e6:.0f} us / {p.worker_busy:g} of a core, with a zone to lose",
        "stream.cpu_s",
    )  # fmt: skip
    yield _of(
        "kafka/partitions of events", lambda s: s.stream.partitions, three, "partitions",
        f"greater of {p.partitions_per_worker} a worker and event bytes / {p.partition_mb_s:g} MB/s",
        "stream/workers", "stream.event_bytes",
    )  # fmt: skip
    yield _of(
        "kafka/produced", lambda s: s.stream.in_bytes_s / 1e6, three, "MB/s",
        f"{demand.stream_rate:,.0f}/s x ({work.event_bytes.value:,.0f} B event + {work.verdict_bytes.value:,.0f} B verdict)",
        "stream.event_bytes", "stream.verdict_bytes",
    )  # fmt: skip
    yield _of(
        "kafka/on disks", lambda s: s.stream.kept_bytes / 1e12, three, "TB",
        f"bytes of a day x {p.kafka_days:g} days x {p.kafka_copies} copies", "stream.event_bytes", "stream.verdict_bytes",
    )  # fmt: skip
    yield _of(
        "kafka/brokers", lambda s: s.stream.brokers, three, "brokers",
        f"greatest of throughput ({p.broker_mb_s:g} MB/s each, copies included), disks ({p.broker_disk_gb:,.0f} GB, "
        f"{p.broker_disk_used:.0%} used) and partitions ({p.broker_partitions:,} each), with a zone to lose",
        "kafka/produced", "kafka/on disks", "kafka/partitions of events",
    )  # fmt: skip


def _records(
    demand: CapacityDemand, figures: PlanFigures, v: CapacitySizes, low: CapacitySizes, high: CapacitySizes
) -> Iterator[PlannedFigure]:
    three, record = (v, low, high), figures.record
    yield _of(
        "audit/written a day", lambda s: s.record.day_bytes / 1e12, three, "TB",
        f"{demand.events_per_day:,.0f} x {record.live_bytes.value:,.0f} B", "record.live_bytes",
    )  # fmt: skip
    yield _of(
        "audit/on replicas' disks",
        lambda s: s.record.hot_bytes / 1e12,
        three,
        "TB",
        f"{demand.hot_days:g} days",
        "record.live_bytes",
    )
    ratio = record.live_bytes.value / max(record.archived_bytes.value, 1e-9)
    yield _of(
        "audit/archive", lambda s: s.record.kept_bytes / 1e12, three, "TB",
        f"{demand.years:g} years x {record.archived_bytes.value:,.0f} B a record (a {ratio:.1f}th of the log)", "record.archived_bytes",
    )  # fmt: skip


def _rest(
    demand: CapacityDemand, figures: PlanFigures, v: CapacitySizes, low: CapacitySizes, high: CapacitySizes, p: CapacityPlatform
) -> Iterator[PlannedFigure]:
    three = (v, low, high)
    yield _of(
        "batch/cores", lambda s: s.batch_cores, three, "cores",
        f"{demand.batch_share:g} x events in {demand.batch_hours:g} h, {figures.row_s.value * 1e6:.1f} us a row, "
        f"{p.worker_busy:g} of a core", "row_s",
    )  # fmt: skip
    yield _of(
        "network/replicas and workers", lambda s: s.network_bytes_s * 8 / 1e9, three, "Gbit/s",
        "requests, answers, features, events and verdicts at peak", "doors", "redis.reply_bytes", "stream",
    )  # fmt: skip
    yield _of(
        "operator/time of a look", lambda s: s.look_s, three, "s",
        f"{v.serving.replicas} pages of metrics x {figures.page_s.value * 1000:.1f} ms", "page_s",
    )  # fmt: skip
    yield _of(
        "all/cores",
        lambda s: s.cores,
        three,
        "cores",
        f"nodes, workers, batch, a core a node of Redis, {p.broker_cores:g} a broker",
        "all of the above",
    )


def costs(
    demand: CapacityDemand, v: CapacitySizes, low: CapacitySizes, high: CapacitySizes, assumptions: CapacityAssumptions
) -> Iterator[PlannedFigure]:
    """Dollars a month; from the least sizes at the low price to the greatest at the high price. The value is the middle of the prices."""
    prices, batch_share = assumptions.prices, demand.batch_hours / 24

    def monthly(name: str, amount: Callable[[CapacitySizes], float], price: str, words: str) -> PlannedFigure:
        one = getattr(prices, price)
        amounts = [amount(each) for each in (v, low, high)]  # by rounding, the low bounds may take a node more
        return PlannedFigure(
            f"cost/{name}", amounts[0] * (one.low + one.high) / 2, min(amounts) * one.low, max(amounts) * one.high, "USD/month",
            f"{words} x {one.low:g} to {one.high:g} USD", (f"prices.{price}",),
        )  # fmt: skip

    zone_share = 0.0 if demand.zones == 1 else (demand.zones - 1) / demand.zones
    per_peak = demand.peak_factor * demand.burst_factor
    lines = (
        monthly("processors", lambda s: (s.cores - s.batch_cores * (1 - batch_share)) * HOURS_A_MONTH, "core_hour", "core hours"),
        monthly("disks", lambda s: (s.record.hot_bytes + s.stream.kept_bytes) / GB, "disk_gb_month", "GB of logs and brokers"),
        monthly("archive", lambda s: s.record.kept_bytes / GB, "object_gb_month", "GB of the archive when it is full"),
        monthly(
            "traffic between zones", lambda s: month_bytes(s.network_bytes_s / per_peak) * zone_share / GB, "cross_zone_gb",
            f"GB of a mean day's traffic, {zone_share:.0%} of it to another zone",
        ),
    )  # fmt: skip
    yield from lines
    total = [sum(getattr(line, bound) for line in lines) for bound in ("value", "low", "high")]
    yield PlannedFigure("cost/all", total[0], total[1], total[2], "USD/month", "sum", tuple(line.name for line in lines))
