"""Events between the topic and the Scorer: decoded (serving.stream.codecs), checked, in columns.

Columns are what the Scorer and the states of a partition take. The bodies are kept for what needs the whole event (rules, alerts)."""

from collections.abc import Sequence

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
