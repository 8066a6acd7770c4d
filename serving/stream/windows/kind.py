"""The windows of one bundle in a stream worker: makes the states of its partitions, and the reader that answers from them."""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from math import ceil
from typing import Final

import numpy as np
from numpy.typing import NDArray

from serving.features.windows.spec import WindowSpec
from serving.models.manifest import Manifest
from serving.ports import Columns
from serving.stream.events import StreamEvents
from serving.stream.ports import Partition
from serving.stream.windows.answering import AnsweredRows
from serving.stream.windows.engine import WindowRows
from serving.stream.windows.plan import WindowPlan
from serving.stream.windows.push import OnlinePush, PushTarget
from serving.stream.windows.state import PartitionWindows
from serving.telemetry.tracing.tracer import Tracer

BOUND: Final = 8_192
"""Distinct values of an entity and column that are told apart exactly, unless a setting says otherwise."""


class NoWindows(ValueError):
    """The bundle reads features that a stream cannot count."""


def window_spec_of(manifest: Manifest) -> WindowSpec | None:
    """The windows of a bundle; None for a bundle without features. Raises NoWindows for one that does not say how they are counted."""
    if manifest.windows is None and manifest.feature_service is not None:
        raise NoWindows(
            f"bundle {manifest.name} version {manifest.version} reads feature service {manifest.feature_service!r} and does not say how "
            "its windows are counted; train it again with this version of Vedette. Until then the features come from the online store, "
            "as without VEDETTE_STREAM_WINDOWS"
        )
    return manifest.windows


class WindowKind:
    """The windows of one specification; a serving.stream.state.StateKind."""

    def __init__(
        self,
        spec: WindowSpec,
        *,
        bound: int = BOUND,
        lateness_s: float = 0.0,
        target: PushTarget | None = None,
        every_s: float = 1.0,
        tracer: Tracer | None = None,
    ) -> None:
        """bound: distinct values of an entity and column that are told apart exactly. lateness_s: how late an event may be counted.
        target: where rows are pushed to each every_s; None: nowhere. tracer: of the pushes."""
        self.spec, self.bound, self.lateness_s = spec, bound, ceil(lateness_s)
        written = f"{spec.model_dump_json()} {bound}".encode()
        self.name = f"windows-{hashlib.sha256(written).hexdigest()[:12]}"
        self.rows = AnsweredRows(spec.service)
        self._plan = WindowPlan.of(spec)
        self.columns: Mapping[str, str] = self._plan.columns
        """Columns that an event must have."""
        self.push = None if target is None else OnlinePush(self._plan, target, every_s, tracer)
        if self.push is not None:
            self.push.start()
        self._states: dict[Partition, PartitionWindows] = {}

    def open(self, partition: Partition) -> PartitionWindows:
        """A new, empty state."""
        made = PartitionWindows(
            self._plan, bound=self.bound, lateness_s=self.lateness_s, answered=self.rows.add, push=self.push
        )
        self._states[partition] = made
        return made

    def forget(self, partition: Partition) -> None:
        """The partition is another worker's now."""
        self._states.pop(partition, None)

    def find(self, keys: Columns, at_us: NDArray[np.int64]) -> WindowRows | None:
        """The rows of these events; None if they are no events of the stream."""
        column = keys.get(self.spec.key)
        return None if column is None else self.rows.find(column, at_us)

    def sketched(self, events: StreamEvents) -> Sequence[bool] | None:
        """Of which events a distinct count is an estimate; None: of none."""
        if not any(state.engine.counting.sketched for state in self._states.values()):
            return None
        with self.answering([events]):
            rows = self.find(events.columns, events.times_us)
        return None if rows is None or not rows.sketched.any() else rows.sketched.tolist()

    def answering(self, parts: Sequence[StreamEvents]) -> AbstractContextManager[None]:
        """Within it, reads of the service are for these events."""
        return self.rows.answering(parts)

    def metrics(self) -> Mapping[str, float]:
        """Entities that are kept, and how many of them are sketched; rows that were pushed to the online store, and that wait to be."""
        states, push = list(self._states.values()), self.push
        pushed = {} if push is None else {"pushed": push.written, "push_failures": push.failures, "push_waiting": push.waiting}
        return {
            **{name: float(count) for name, count in pushed.items()},
            "entities": float(sum(len(state.engine.entities) for state in states)),
            "sketched": float(sum(state.engine.counting.sketched for state in states)),
        }

    def close(self) -> None:
        """Push what waits, and end."""
        if self.push is not None:
            self.push.close()

    def digest(self, partition: Partition) -> str:
        """Of a partition's state: equal for two states that answer every later event alike."""
        return self._states[partition].digest()
