"""What one batch job is, as a value that a worker in another process or on another machine gets."""

from collections.abc import Mapping
from typing import Any

import msgspec

from serving.batch.data.source import Source


class BehaviourWindows(msgspec.Struct, frozen=True):
    """Lengths in seconds: of a window, and of the time for which a peer is known."""

    window_s: int
    history_s: int


class StoredFile(msgspec.Struct, frozen=True):
    """The rows of a feature view that were stored before: a Parquet file, and its digest."""

    path: str
    digest: str


class BatchJob(msgspec.Struct, frozen=True):
    """One job. settings: fields of ServingSettings. bundle: the digest of the model's bundle. revision: fields of
    RevisionSpec, with its digest. offline: rows of views that are not counted over the data."""

    input: str
    output: str
    model: str
    version: str
    bundle: str
    revision: Mapping[str, Any]
    revision_digest: str
    source: Source
    settings: Mapping[str, Any]
    records: str = "rows"
    """`rows`: the prediction log has every answer. `files`: it has none of them, and the caller of the job records each file's digest."""
    behaviour: BehaviourWindows | None = None
    """Of a behavioural model; None: each row is scored."""
    offline: Mapping[str, StoredFile] = {}
    traceparent: str = ""
    """W3C trace context that workers go on with; empty: nothing is traced."""

    @property
    def identity(self) -> str:
        """Everything but the input that can change the output's rows."""
        parts = msgspec.to_builtins((self.revision_digest, self.source, self.behaviour, self.offline, FORMAT))
        return msgspec.json.encode(parts, order="sorted").decode()


FORMAT = 1
"""Version of the output's columns."""
