"""Point-in-time lookup: the newest row of an entity at or before a moment, as Feast's point-in-time join gives. Pure."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.features.windows.aggregates import Ints, SpanTooLong, Ticks


class AsOfRows:
    """Rows of views that share their ticks. codes: key -> the code that the rows have for it."""

    def __init__(self, codes: Mapping[Any, int], ticks: Ticks) -> None:
        """ticks: rows sorted by entity, then tick, at most one for each of both. Raises SpanTooLong."""
        self._codes = codes
        self.at_us, self.columns = ticks.at_us, ticks.columns
        self._entity = ticks.entity
        self._start = int(ticks.at_us.min()) if len(ticks.at_us) else 0
        self._span = int(ticks.at_us.max()) - self._start + 2 if len(ticks.at_us) else 1
        if len(self._entity) and (int(self._entity[-1]) + 1) * self._span >= 2**63:
            raise SpanTooLong("rows of too many entities over too long a time; take fewer of them at once")
        self._line = self._entity * self._span + (ticks.at_us - self._start)

    def find(self, keys: NDArray[Any], at_us: Ints) -> NDArray[np.intp]:
        """The place of each one's row, -1 where there is none. keys, at_us: shape (n,)."""
        codes = self._codes
        who = np.fromiter((codes.get(key, -1) for key in keys.tolist()), np.int64, len(keys))
        when = np.clip(at_us - self._start, -1, self._span - 1)
        place = np.searchsorted(self._line, who * self._span + when, side="right") - 1
        is_there = (place >= 0) & (who >= 0) & (when >= 0)
        found: NDArray[np.intp] = np.where(is_there, place, -1)
        if len(self._entity):
            found[is_there & (self._entity[np.maximum(place, 0)] != who)] = -1
        return found
