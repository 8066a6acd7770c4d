"""The record of one answer: everything that is needed to explain it and to replay it.

Pure. Encoded by serving.audit.encoding, written by serving.audit.writer; chained and verified by later work."""

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec

from serving.errors import Unavailable

REFUSED: Final = "refused"
"""The source of a record of a bundle that was not loaded."""
Series = Any
"""A list; or, until the writer's thread encodes it, a numpy array of one dimension."""


class SuppressedRow(msgspec.Struct, frozen=True, gc=False):
    """A row whose verdict a suppression of the revision lowered."""

    row: int
    """Of the record, from 0."""
    id: str
    """Of the suppression."""
    before: str
    """The verdict without it."""


class RecordedHit(msgspec.Struct, frozen=True, gc=False):
    """A hit of a correlation of rules over a stream: several events together meet its condition."""

    rule: str
    """Id of the correlation."""
    title: str
    severity: str
    raises: str | None
    """The verdict that it raises the event's to, at least; None: none."""
    techniques: tuple[str, ...]
    event: str
    """Id of the event that completed it."""
    events: tuple[str, ...]
    """Ids of the events that count, the newest 100."""
    receipt: str
    """Of the answer on that event."""
    row: int
    """Of that answer, from 0."""


class RecordedRefusal(msgspec.Struct, frozen=True, gc=False):
    """A replica did not load a bundle that it was told to serve."""

    bundle: str
    """Its digest, as it was asked for."""
    kind: str
    """unsigned: no trusted key signed it; refused: anything else, such as a forbidden operator or a digest that does not match."""
    reason: str
    """In the words that clients get."""


class AuditRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The prediction log's line (JSON, one a line). Arrays have one element a row of the request."""

    receipt: str
    """Identifies this answer; the client has it in `parameters.receipt`."""
    time_us: int
    """When the answer was made, microseconds since the epoch, UTC."""
    door: str
    """http, grpc, batch or stream."""
    model: str
    version: str
    revision: str
    """Digest of everything that can change the answer."""
    variant: str
    source: str
    """model, cache, triage or rules; correlation for a hit of one, refused for a bundle that was not loaded.

    `+triage` follows where triage ended some rows, `+rules` where rules beside the model match a row."""
    request_id: str | None
    trace_id: str | None
    rows: int
    inputs: dict[str, Any]
    """Columns or tensors as the client sent them: name -> Tensor, read back as {datatype, shape, data or raw}."""
    features: Mapping[str, Series]
    """Columns that were read. They may be made at their first use, which is in the writer's thread."""
    event_times_us: Mapping[str, Series]
    operating_point: str | None
    scores: Series
    verdicts: Series
    """Words; until the writer's thread encodes them, their codes (serving.models.verdicts)."""
    degraded: Series
    latency_us: int
    row_numbers: Series | None = None
    """Which rows of the request these are, from 0, where several variants answered it: one record each, with one receipt."""
    rules: list[list[str]] = []
    """The ids of the rules that match, by row, if rules answered or a rule beside the model matches a row; else empty."""
    fallback_from: str | None = None
    """The variant that failed on these rows, where stable answered in its place."""
    processor: str = "unknown"
    """The processor family that answered (serving.models.processor): on the same one a replay gives the same bits."""
    personal: Mapping[str, str] = {}
    """How personal fields are redacted before they are written (serving.audit.personal); it is not written itself."""
    explained: str | None = None
    """How the answer was explained to the client; None where nobody asked, and then it is not written."""
    suppressed: Sequence[SuppressedRow] = ()
    """The rows whose verdicts a suppression lowered; not written where there are none."""
    correlation: RecordedHit | None = None
    """The record is one of a hit and not of an answer; not written where there is none."""
    refusal: RecordedRefusal | None = None
    """The record is one of a bundle that was not loaded, and not of an answer: it has no row; not written where there is none."""
    triage: Series = ()
    """What triage did with each row, a word each (serving.scoring.triage.outcomes); not written where triage is off."""
    outputs: Mapping[str, Any] = {}
    """Of a model without a score: by the name of each output of the graph that was made, its digest; arrays until it is encoded."""
    caller: str = ""
    """Who asked, as the access policy knows them; empty where nobody was asked to say, and then it is not written."""
    tenant: str = ""
    """The caller's tenant; empty: none, and then it is not written."""
    feature_sources: Sequence[str] = ()
    """A word a row: near_cache if a feature value was in the replica's memory, else store; not written where there is no near cache."""

    @property
    def is_answer(self) -> bool:
        """Whether it is the record of an answer."""
        return self.correlation is None and self.refusal is None


class NotRecorded(Unavailable):
    """An answer was not given because its record cannot be kept now. Another attempt may succeed."""


class AuditSink(Protocol):
    """Takes the record of each answer."""

    def append(self, record: AuditRecord) -> None:
        """Take one record; returns at once and never raises. A record that cannot be kept is counted as dropped."""
        ...

    def commit(self, records: Sequence[AuditRecord]) -> Awaitable[None]:
        """Take the records of one answer, which waits until all are durable. To be called on a running loop.

        Raises NotRecorded if they cannot be kept, Internal if they have no form on disk; then none of them is in the log. Cancelling
        withdraws them if they are not written yet."""
        ...
