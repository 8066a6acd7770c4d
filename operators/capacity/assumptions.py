"""What a plan assumes: sizes of nodes, brokers and stores, and prices. Read from a file; the defaults are a file too. Pure."""

import math
from pathlib import Path
from typing import Final

import msgspec
import yaml

from operators.capacity.errors import CapacityError
from serving.files.safe_yaml import read_yaml

DEFAULTS: Final = Path(__file__).with_name("assumptions.yaml")


class CapacityPlatform(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sizes of what the plan is made of; the units are in the names, and the file of defaults says what each is."""

    node_cores: float
    node_memory_gb: float
    node_network_gbit_s: float
    node_disk_gb: float
    broker_cores: float
    node_reserved: float
    redis_busy: float
    redis_memory_gb: float
    redis_copies: int
    worker_busy: float
    partitions_per_worker: int
    partition_mb_s: float
    broker_mb_s: float
    broker_disk_gb: float
    broker_disk_used: float
    broker_partitions: int
    kafka_copies: int
    kafka_days: float

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value, is_share = getattr(self, name), name.endswith(("_busy", "_used"))
            least = 0 if name in {"node_reserved", "redis_copies"} else 1e-9
            most = 1 if is_share else 0.9 if name == "node_reserved" else 1e9
            if not (math.isfinite(value) and least <= value <= most):
                raise ValueError(f"{name} is {value:g}, expected {'0' if least == 0 else 'above 0'} to {most:g}")


class PriceRange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A price in US dollars that is known as a range only."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (0 <= self.low <= self.high and math.isfinite(self.high)):
            raise ValueError(f"low {self.low:g} and high {self.high:g} are not 0 <= low <= high")


class CapacityPrices(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a plan costs, by its units."""

    core_hour: PriceRange
    disk_gb_month: PriceRange
    object_gb_month: PriceRange
    cross_zone_gb: PriceRange


class CapacityAssumptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The assumptions of a capacity plan, as a file of assumptions has them."""

    platform: CapacityPlatform
    prices: CapacityPrices


def parse_assumptions(text: str, where: str) -> CapacityAssumptions:
    """The assumptions of a file. Raises CapacityError, which names the file and the field."""
    try:
        return msgspec.convert(read_yaml(text), CapacityAssumptions)
    except (yaml.YAMLError, msgspec.ValidationError, ValueError, OverflowError, RecursionError) as problem:
        words = " ".join(str(problem).split())
        raise CapacityError(f"{where}: {words}; copy and change the defaults in docs/reference/capacity.md") from problem


def default_assumptions() -> CapacityAssumptions:
    """Those that a plan has unless a file says otherwise."""
    return parse_assumptions(DEFAULTS.read_text(encoding="utf-8"), DEFAULTS.name)
