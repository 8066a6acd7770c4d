"""Who reads which shard. Each worker decides for itself, on what the table of leases says; all come to the same shares. Pure."""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from serving.stream.ports import Position


@dataclass(frozen=True, slots=True)
class Lease:
    """A shard's line in the table. holder: the worker that reads it, "" for none. counter: rises while the holder lives. wanted: the worker
    that asked for it, "" for none. after: sequence number of the last record before the position, "" for none."""

    shard: int
    holder: str = ""
    counter: int = 0
    wanted: str = ""
    position: Position | None = None
    after: str = ""
    is_ended: bool = False
    """A shard that was split or merged, and is dealt with: its children may be read."""


@dataclass(frozen=True, slots=True)
class LeasePlan:
    """What one worker should do now. give: shards that another one asked for. take: shards that nobody has. ask: shards of workers that
    have more than their share."""

    give: Sequence[int] = ()
    take: Sequence[int] = ()
    ask: Sequence[int] = ()


def plan_leases(leases: Mapping[int, Lease], me: str, expired: Collection[int], readable: Collection[int]) -> LeasePlan:
    """expired: shards whose holder has been silent for too long. readable: shards whose parents are dealt with."""
    live = {number: lease for number, lease in sorted(leases.items()) if not lease.is_ended and number in readable}
    held = {number: lease.holder for number, lease in live.items() if lease.holder and number not in expired}
    workers = sorted({me, *held.values(), *(lease.wanted for lease in live.values() if lease.wanted)})
    fair = math.ceil(len(live) / len(workers))
    least = len(live) // len(workers)
    mine = [number for number, holder in held.items() if holder == me]
    give = [number for number in mine if live[number].wanted not in {"", me}][: max(0, len(mine) - max(least, 1))]
    free = [number for number in live if number not in held]
    take = free[: max(0, fair - len(mine))]
    load = Counter(held.values())
    own = len(mine) + len(take)
    ask: list[int] = []
    for number, holder in held.items():
        has_more = load[holder] > (least if own < least else fair)
        if holder == me or own >= fair or not has_more or live[number].wanted not in {"", me}:
            continue
        own += 1  # what was asked for before counts as if it were here
        load[holder] -= 1
        if not live[number].wanted:
            ask.append(number)
    return LeasePlan(tuple(give), tuple(take), tuple(ask))
