"""Which row of the windows each scored event reads. The row is kept from the moment a batch is counted until it is scored.

The stream's thread adds batches, the thread of the listeners finds rows: what is shared is replaced whole."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from serving.stream.events import StreamEvents
from serving.stream.windows.engine import Key, WindowRows

MOST_ROWS: Final = 65_536
"""Rows that are kept for what scores a batch later than its worker: the mirror of a rollout."""


@dataclass(slots=True)
class BatchRows:
    """The rows of one batch: keys and event times of its n events, and what each reads."""

    events: StreamEvents
    keys: Sequence[Key]
    rows: WindowRows
    _places: dict[tuple[Key, int], int] | None = field(default=None)

    def places(self) -> Mapping[tuple[Key, int], int]:
        """Key and event time -> place. Events of one key and moment read the same row."""
        if self._places is None:
            self._places = {
                pair: place for place, pair in enumerate(zip(self.keys, self.events.times_us.tolist(), strict=True))
            }
        return self._places


_answered: ContextVar[Mapping[str, tuple[BatchRows, ...]] | None] = ContextVar("windows_answered", default=None)


class AnsweredRows:
    """The rows of the last batches of one service."""

    def __init__(self, service: str) -> None:
        self.service = service
        self._batches: tuple[BatchRows, ...] = ()

    def add(self, events: StreamEvents, keys: Sequence[Key], rows: WindowRows) -> None:
        """Keep the rows of a batch, and forget old ones."""
        batches = [*self._batches, BatchRows(events, keys, rows)]
        kept = sum(len(batch.keys) for batch in batches)
        while len(batches) > 1 and kept > MOST_ROWS:
            kept -= len(batches.pop(0).keys)
        self._batches = tuple(batches)

    @contextmanager
    def answering(self, parts: Sequence[StreamEvents]) -> Iterator[None]:
        """Within it, reads of the service are for these events."""
        partitions = {part.partition for part in parts}
        of_parts = tuple(batch for batch in reversed(self._batches) if batch.events.partition in partitions)
        token = _answered.set({**(_answered.get() or {}), self.service: of_parts})
        try:
            yield
        finally:
            _answered.reset(token)

    def find(self, keys: NDArray[Any], at_us: NDArray[np.int64]) -> WindowRows | None:
        """The rows of these events, of which each was counted lately; None if they are no events of the stream."""
        within = _answered.get()
        found = None if within is None else _find(within.get(self.service, ()), keys, at_us)
        return _find(tuple(reversed(self._batches)), keys, at_us) if found is None else found


def _find(batches: Sequence[BatchRows], keys: NDArray[Any], at_us: NDArray[np.int64]) -> WindowRows | None:
    names, times = keys.tolist(), at_us.tolist()
    for batch in batches:  # the usual case: one whole batch
        if len(batch.keys) == len(names) and batch.keys == names and np.array_equal(batch.events.times_us, at_us):
            return batch.rows
    taken: list[tuple[BatchRows, int]] = []
    for pair in zip(names, times, strict=True):
        for batch in batches:
            place = batch.places().get(pair)
            if place is not None:
                taken.append((batch, place))
                break
        else:
            return None
    if not taken:
        return None
    return WindowRows(
        np.array([batch.rows.at_us[place] for batch, place in taken], dtype=np.int64),
        np.stack([batch.rows.values[place] for batch, place in taken]),
        np.array([batch.rows.sketched[place] for batch, place in taken], dtype=np.bool_),
    )
