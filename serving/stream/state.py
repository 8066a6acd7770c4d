"""State of a partition that grows with its events: windows of features, correlations of rules. The protocols that they implement.

The worker calls a state in its one thread: `update` with each batch before the batch is scored, then `take_delta` once the batch
is scored; what `take_delta` gives is committed with the batch's verdicts, in the changelog. After a restart or a rebalance the
newest snapshot is restored, then the deltas since, in their order."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import msgspec

from serving.models.manifest import Manifest
from serving.stream.contract import Level, Word
from serving.stream.events import StreamEvents
from serving.stream.ports import Partition


class RuleHit(msgspec.Struct, frozen=True, gc=False):
    """What a rule over several events says when one of them completes it.

    row: of that event in the batch. verdict: what the verdict on the event becomes at least; None: the rule is only named in it.
    techniques: MITRE ATT&CK ids. events: ids of the events that count, as far as they are known."""

    row: int
    rule: str
    title: str
    severity: Level = "medium"
    verdict: Word | None = None
    techniques: tuple[str, ...] = ()
    events: tuple[str, ...] = ()


class PartitionState(Protocol):
    """The state of one partition."""

    def update(self, events: StreamEvents) -> Sequence[RuleHit]:
        """Take in the events with `is_counted`; returns what rules say, mostly nothing. Never raises for what an event holds."""
        ...

    def take_delta(self) -> bytes | None:
        """What changed since the last call; None: nothing. `apply` on a copy of the state as it was then gives the state as it is."""
        ...

    def snapshot(self) -> Iterable[bytes]:
        """The whole state, in parts of at most about 500 kB. What `take_delta` has not given yet is in it too."""
        ...

    def restore(self, part: bytes) -> None:
        """Take in one part of a snapshot; called on a new state, for each part in order. Raises ValueError for what it cannot read."""
        ...

    def apply(self, delta: bytes) -> None:
        """Take in a delta. Raises ValueError for what it cannot read."""
        ...


class StateKind(Protocol):
    """Makes the states of one kind, one for each partition that the worker owns."""

    name: str
    """Names the kind in the changelog, e.g. `windows-5f1c`. States of another name in it are left out, so a kind whose states another one
    cannot read has a name of its own."""
    columns: Mapping[str, str]
    """Columns that an event must have for it, name -> protocol datatype, beside those of the model. One that lacks them is poison."""

    def open(self, partition: Partition) -> PartitionState:
        """A new, empty state. The kind may keep it until `forget`."""
        ...

    def forget(self, partition: Partition) -> None:
        """The partition is another worker's now."""
        ...

    def answering(self, parts: Sequence[StreamEvents]) -> AbstractContextManager[None]:
        """Entered around the request that scores these batches (its rows are theirs, one batch after the other), in the task that
        runs it: where a FeatureReader over the states learns (by a ContextVar) that it is asked for events of the stream."""
        ...

    def metrics(self) -> Mapping[str, float]:
        """Gauges of all states together, by name (`entities`, `bytes`, `sketched`, ...). Called in another thread."""
        ...


@runtime_checkable
class SketchingKind(Protocol):
    """A kind whose features may be estimates."""

    def sketched(self, events: StreamEvents) -> Sequence[bool] | None:
        """Of which events that were counted lately a feature is an estimate; None: of none."""
        ...


class KindsOf(Protocol):
    """Says which states a bundle needs."""

    def __call__(self, manifest: Manifest) -> Sequence[StateKind]:
        """The kinds for this bundle, the same objects for the same needs. Where a new stable bundle has others than the one before, the
        worker begins anew with them."""
        ...


@dataclass(frozen=True, slots=True)
class AllKinds:
    """The states of several KindsOf together, in their order."""

    parts: tuple[KindsOf, ...]

    def __call__(self, manifest: Manifest) -> Sequence[StateKind]:
        """See KindsOf."""
        return tuple(kind for part in self.parts for kind in part(manifest))
