"""The windows of one bundle in a stream worker: makes the states of its partitions, and the reader that answers from them."""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from math import ceil
from typing import Final

from serving.features.windows.spec import WindowSpec
from serving.models.manifest import Manifest
from serving.stream.events import StreamEvents
from serving.stream.ports import Partition
from serving.stream.windows.answering import AnsweredRows
from serving.stream.windows.plan import WindowPlan
from serving.stream.windows.reader import PlannedReader, WindowFeatures
from serving.stream.windows.state import PartitionWindows

BOUND: Final = 8_192
"""Distinct values of an entity and column that are told apart exactly, unless a setting says otherwise."""


class NoWindows(ValueError):
    """The bundle reads features that a stream cannot count."""


def window_spec_of(manifest: Manifest) -> WindowSpec | None:
    """The windows of a bundle; None for a bundle without features. Raises NoWindows for one that does not say how they are counted."""
    if manifest.windows is None and manifest.feature_service is not None:
        raise NoWindows(
            f"bundle {manifest.name} version {manifest.version} reads feature service {manifest.feature_service!r} and does not say how "
            "its windows are counted; train it again with this version of Vedette, or switch the stream's windows off, and its "
            "features come from the online store"
        )
    return manifest.windows


class WindowKind:
    """The windows of one specification; a serving.stream.state.StateKind."""

    def __init__(self, spec: WindowSpec, *, bound: int = BOUND, lateness_s: float = 0.0) -> None:
        """bound: distinct values of an entity and column that are told apart exactly. lateness_s: how late an event may be counted."""
        self.spec, self.bound, self.lateness_s = spec, bound, ceil(lateness_s)
        written = f"{spec.model_dump_json()} {bound}".encode()
        self.name = f"windows-{hashlib.sha256(written).hexdigest()[:12]}"
        self.rows = AnsweredRows(spec.service)
        self._plan = WindowPlan.of(spec)
        self._states: dict[Partition, PartitionWindows] = {}

    @property
    def columns(self) -> Mapping[str, str]:
        """Columns that an event must have."""
        return self._plan.columns

    def open(self, partition: Partition) -> PartitionWindows:
        """A new, empty state."""
        made = PartitionWindows(self._plan, bound=self.bound, lateness_s=self.lateness_s, answered=self.rows.add)
        self._states[partition] = made
        return made

    def forget(self, partition: Partition) -> None:
        """The partition is another worker's now."""
        self._states.pop(partition, None)

    def answering(self, parts: Sequence[StreamEvents]) -> AbstractContextManager[None]:
        """Within it, reads of the service are for these events."""
        return self.rows.answering(parts)

    def metrics(self) -> Mapping[str, float]:
        """Entities that are kept, and how many of them are sketched."""
        states = list(self._states.values())
        return {
            "entities": float(sum(len(state.engine.entities) for state in states)),
            "sketched": float(sum(state.engine.counting.sketched for state in states)),
        }

    def digest(self, partition: Partition) -> str:
        """Of a partition's state: equal for two states that answer every later event alike."""
        return self._states[partition].digest()


def over_windows(ordinary: PlannedReader, kinds: Sequence[WindowKind]) -> WindowFeatures:
    """The reader that answers events of the stream from these windows; see serving.app.compose."""
    return WindowFeatures(ordinary, {kind.spec.service: (kind.spec, kind.rows) for kind in kinds})
