"""What was measured, and where: the figures that a plan is made of, and their file. Pure.

Each figure is a cost (seconds of a processor, bytes), so its lower bound makes a smaller plan and its upper bound a larger one."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from operators.capacity.errors import CapacityError
from operators.capacity.waiting import ReplicaWork

VERSION: Final = 1
REFERENCE: Final = Path(__file__).with_name("reference_figures.json")
"""Figures that a plan is made of where no others are given; the file says where they were measured."""
Bound = Literal["value", "low", "high"]
QUEUE_FIGURES: Final = ("busy_s", "busy_scv", "delay_s", "pause_per_s", "pause_s", "interrupted")
"""Of a door: what its queue is made of, in the order of `ReplicaWork`."""
_BOUNDS: Final[tuple[Bound, ...]] = ("low", "value", "high")


class MeasuredFigure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One figure: the median over the rounds, the least and the greatest of them."""

    value: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not (0 <= self.low <= self.value <= self.high and math.isfinite(self.high)):
            raise ValueError(f"low {self.low:g}, value {self.value:g} and high {self.high:g} are not 0 <= low <= value <= high")

    def at(self, bound: Bound) -> "MeasuredFigure":
        """The figure as if this bound were certain."""
        one: float = getattr(self, bound)
        return MeasuredFigure(one, one, one)


class MeasuredPlace(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where and when the figures were measured. load: load average before the start, where 0 is a quiet machine. is_quick: by a short run
    that shows that it works; such figures mean little. note: what else a reader must know of them."""

    at: str
    commit: str
    processor: str
    cores: int
    memory_gb: float
    load: float
    is_quick: bool
    note: str = ""


class DoorWork(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one request takes at one door, of one replica.

    busy_s: time on the event loop. busy_scv: its squared coefficient of variation, at most 1. delay_s: time off the loop. pause_per_s,
    pause_s: how often the loop stands still, and for how long on average. interrupted: share of the requests, at most 1, whose service is
    put off by one more such length (none in files of earlier versions). cpu_s: processor time of the whole process.
    request_bytes, answer_bytes: on the wire, headers included."""

    busy_s: MeasuredFigure
    busy_scv: MeasuredFigure
    delay_s: MeasuredFigure
    pause_per_s: MeasuredFigure
    pause_s: MeasuredFigure
    cpu_s: MeasuredFigure
    request_bytes: MeasuredFigure
    answer_bytes: MeasuredFigure
    interrupted: MeasuredFigure = MeasuredFigure(0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        for bound in _BOUNDS:  # what cannot be served is refused where the file is read
            self.replica(bound)

    def replica(self, bound: Bound = "value") -> ReplicaWork:
        """As the queue takes it. Raises ValueError."""
        return ReplicaWork(*(getattr(getattr(self, name), bound) for name in QUEUE_FIGURES))


class RedisWork(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one entity and one read of its features take of Redis. read_s: processor time. reply_bytes: on the wire, both ways."""

    read_s: MeasuredFigure
    entity_bytes: MeasuredFigure
    reply_bytes: MeasuredFigure


class EventWork(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one event of a stream takes. cpu_s: of the worker. event_bytes, verdict_bytes: of the messages."""

    cpu_s: MeasuredFigure
    event_bytes: MeasuredFigure
    verdict_bytes: MeasuredFigure


class RecordWork(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one record of the prediction log takes. live_bytes: in the log of a replica. archived_bytes: in a Parquet segment."""

    live_bytes: MeasuredFigure
    archived_bytes: MeasuredFigure


class PlanFigures(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The measured figures that a capacity plan is made of, as a file has them. doors: by name: `http`, `grpc`, and `/features` where
    they are read. row_s: processor time of a row in batch.

    replica_bytes: memory of a replica. page_s: processor time to read a replica's page of metrics."""

    version: int
    measured: MeasuredPlace
    doors: dict[str, DoorWork]
    redis: RedisWork
    stream: EventWork
    record: RecordWork
    row_s: MeasuredFigure
    replica_bytes: MeasuredFigure
    page_s: MeasuredFigure

    def door(self, name: str) -> DoorWork:
        """What a door takes. Raises CapacityError if it was not measured."""
        if name not in self.doors:
            raise CapacityError(f"door {name!r} is not among the figures; expected one of {', '.join(self.doors)}")
        return self.doors[name]

    def at(self, bound: Bound) -> "PlanFigures":
        """The figures as if this bound of each were certain."""
        found: PlanFigures = _at(self, bound)
        return found


def _at(value: Any, bound: Bound) -> Any:
    if isinstance(value, MeasuredFigure):
        return value.at(bound)
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.replace(value, **{name: _at(getattr(value, name), bound) for name in value.__struct_fields__})
    return {key: _at(inner, bound) for key, inner in value.items()} if isinstance(value, Mapping) else value


def parse_figures(text: bytes, where: str) -> PlanFigures:
    """The figures of a file. Raises CapacityError, which names the file and the field."""
    try:
        found = msgspec.json.decode(text, type=PlanFigures)
    except (msgspec.MsgspecError, UnicodeDecodeError) as problem:
        raise CapacityError(
            f"{where}: {problem}; write it by `python -m loadtests.bench capacity`, its form is in docs/reference/capacity.md"
        ) from problem
    if found.version != VERSION:
        raise CapacityError(f"{where}: is of version {found.version}, this program reads version {VERSION}; measure again")
    if not found.doors:
        raise CapacityError(f"{where}: has no door; measure again")
    return found
