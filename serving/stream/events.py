"""Events between the topic and the Scorer: decoded (serving.stream.codecs), checked, in columns.

Columns are what the Scorer and the states of a partition take. The bodies are kept for what needs the whole event (rules, alerts)."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from serving.ports import Columns
from serving.stream.codecs.codec import DecodedEvent
from serving.stream.ports import Partition, StreamRecord


class StreamEvents(msgspec.Struct, frozen=True, gc=False):
    """n events of one partition, each checked, in the order in which they are scored.

    columns: by name, each of shape (n,), of the dtypes of the protocol (BYTES: object arrays of `bytes`): what the model and the
    states take. entities: text of the join keys' values, what keys the messages. times_us: int64 (n,), when each event was known,
    microseconds since the epoch. is_late: bool (n,), behind the watermark when it was read. is_counted: bool (n,), to be counted in
    windows: in time, or late by no more than is allowed, and not counted before a restart."""

    partition: Partition
    records: Sequence[StreamRecord]
    bodies: Sequence[DecodedEvent]
    columns: Columns
    entities: Sequence[bytes]
    times_us: NDArray[np.int64]
    is_late: NDArray[np.bool_]
    is_counted: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.records)

    def take(self, index: NDArray[np.intp]) -> "StreamEvents":
        """These events, in this order."""
        rows = index.tolist()
        records, bodies, entities = self.records, self.bodies, self.entities
        return StreamEvents(
            self.partition,
            [records[row] for row in rows],
            [bodies[row] for row in rows],
            {name: column[index] for name, column in self.columns.items()},
            [entities[row] for row in rows],
            self.times_us[index],
            self.is_late[index],
            self.is_counted[index],
        )

    def part(self, first: int, end: int) -> "StreamEvents":
        """The events from first to before end; nothing is copied but lists."""
        if first == 0 and end >= len(self.records):
            return self
        rows = slice(first, end)
        return StreamEvents(
            self.partition,
            self.records[rows],
            self.bodies[rows],
            {name: column[rows] for name, column in self.columns.items()},
            self.entities[rows],
            self.times_us[rows],
            self.is_late[rows],
            self.is_counted[rows],
        )

    def flagged(self, is_late: NDArray[np.bool_], is_counted: NDArray[np.bool_]) -> "StreamEvents":
        """The same events with other flags."""
        return StreamEvents(
            self.partition, self.records, self.bodies, self.columns, self.entities, self.times_us, is_late, is_counted
        )


def joined(parts: Sequence[StreamEvents]) -> StreamEvents:
    """The events of one partition and one schema, one part after the other."""
    if len(parts) == 1:
        return parts[0]
    return StreamEvents(
        parts[0].partition,
        [record for part in parts for record in part.records],
        [body for part in parts for body in part.bodies],
        joined_columns(parts),
        [entity for part in parts for entity in part.entities],
        np.concatenate([part.times_us for part in parts]),
        np.concatenate([part.is_late for part in parts]),
        np.concatenate([part.is_counted for part in parts]),
    )


def joined_columns(parts: Sequence[StreamEvents]) -> dict[str, NDArray[Any]]:
    """The columns of parts of one schema, one part after the other."""
    if len(parts) == 1:
        return dict(parts[0].columns)
    return {name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns}
