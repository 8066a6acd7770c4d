"""Random samples of events that are the same for everybody who has the seed. Pure.

Each event has a rank in [0, 1) by a hash of seed, sample and event. A sample is the events with the smallest ranks. It is cut where the
budget ends or at a rate; the cut is the rank of the first event that is left out. Given the ranks of the others, an event is in the sample
with exactly that probability (rank conditioning: Cohen & Kaplan 2007, "Summarizing data using bottom-k sketches", section 4), whatever
labels there are already: those cost nothing and stay in."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class RankedSample:
    """places: of the sample's events, by rank. inclusion: probability of each event to be in it; 0 where nothing was drawn."""

    places: NDArray[np.intp]
    inclusion: float


def ranks(events: Sequence[str], seed: int, sample: str) -> NDArray[np.float64]:
    """The rank of each event, shape (n,), in [0, 1). sample: its name, so that two samples of one seed are independent."""
    key = f"{seed}/{sample}".encode()
    words = [blake2b(event.encode(), digest_size=8, key=key[:64]).digest() for event in events]
    return (np.frombuffer(b"".join(words), dtype="<u8") >> np.uint64(11)) / float(1 << 53)


def draw_sample(
    events: Sequence[str], labelled: Collection[str], seed: int, sample: str, *, most: int, rate: float = 1.0
) -> RankedSample:
    """The events with the smallest ranks. most: events without a label that fit into the budget. rate: no event of a higher rank."""
    if most < 1 or rate <= 0:
        return RankedSample(np.empty(0, dtype=np.intp), 0.0)
    rank = ranks(events, seed, sample)
    order = np.argsort(rank, kind="stable")
    costs = np.cumsum([events[place] not in labelled for place in order.tolist()]) if len(events) else np.empty(0)
    beyond = np.flatnonzero((costs > most) | (rank[order] >= rate))
    if not len(beyond):
        return RankedSample(order, min(rate, 1.0))
    cut = int(beyond[0])
    return RankedSample(order[:cut], float(min(rate, rank[order[cut]])))
