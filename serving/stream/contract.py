"""The messages that a stream worker writes: a public contract, versioned by `schema`. Fields may be added; none changes its meaning.

Values are JSON. Keys are the entity's text, so that one entity's messages stay in order. docs/reference/streams.md describes topics,
keys and headers for programs up- and downstream."""

from typing import Any, Final, Literal

import msgspec

VERDICT_SCHEMA: Final = "vedette.verdict/1"
ALERT_SCHEMA: Final = "vedette.alert/1"
INVESTIGATE_SCHEMA: Final = "vedette.investigate/1"

ID_HEADER: Final = "vedette-id"
"""Header of each verdict, alert and dead letter: the id of the event it is about (`TOPIC/PARTITION/OFFSET`). A consumer that may see a
message twice (mode `low_latency`) drops by it."""
TRACE_HEADER: Final = "traceparent"
"""W3C Trace Context: of the span that wrote the message where its event is traced, else the event's own."""
STATE_HEADER: Final = "tracestate"
"""What tracing systems add to a `traceparent`: the event's own, on messages in the event's own trace."""
REASON_HEADER: Final = "vedette-reason"
"""Header of a dead letter: why the event was set aside."""

Word = Literal["benign", "investigate", "alert", "unknown"]
Level = Literal["informational", "low", "medium", "high", "critical"]


class VerdictMessage(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The verdict on one event. Times are RFC 3339, UTC."""

    schema: str
    """Form of the message. Fields may be added under the same name; none changes its meaning."""
    id: str
    """The id of the event (`TOPIC/PARTITION/OFFSET`); of its verdicts there is one in each model."""
    entity: dict[str, str | int]
    """Join keys and their values."""
    verdict: Word
    """`unknown`: the model cannot tell, with the confidence that its bundle declares."""
    model: str
    """Name of the model."""
    version: str
    """Its version."""
    revision: str
    """Digest of everything that can change the answer: bundle, operating points, rules."""
    variant: str
    """Which variant of a rollout answered, e.g. `stable`. One entity gets the same one on every door."""
    source: str
    """`model`, `cache`, `triage` (a cheap model ended the event) or `rules`; `+rules` follows where rules beside the model match it."""
    receipt: str
    """With `row`: the record of this answer in the prediction log."""
    row: int
    """Row of that answer, from 0: events are scored together."""
    scored_at: str
    """When it was scored."""
    event_time: str | None = None
    """When the event was known: its own time, or when it was produced."""
    event_id: str | None = None
    """The event's own `event_id`, if it has one."""
    score: float | None = None
    """None for an answer by rules, and for an event that triage ended."""
    probability: float | None = None
    """Calibrated probability of an attack, 0 to 1; absent where the bundle has no calibration."""
    operating_point: str | None = None
    """The scenario whose threshold decided."""
    rules: tuple[str, ...] = ()
    """Ids of the rules that match."""
    techniques: tuple[str, ...] = ()
    """MITRE ATT&CK ids, from the rules that match and from the detector."""
    degraded: bool = False
    """Defaults stood in for features, or rules for the model."""
    late: bool = False
    """The event came behind the watermark. It was scored at once; if it was not too late, later events count it in their windows."""
    sketched: bool = False
    """A distinct count among the features is an estimate."""
    suppressed_by: str | None = None
    """Id of the suppression of the revision that lowered the verdict to what `verdict` says."""
    trace_id: str | None = None
    """Trace in which it was scored."""


class AlertMessage(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An event with the verdict `alert`: the message for a SIEM. There is at most one for each event and model."""

    schema: str
    """Form of the message."""
    verdict: VerdictMessage
    """The verdict, as in the topic of the verdicts."""
    title: str
    """For people: the rule's title, or the detector's description."""
    severity: Level
    """The highest of the rules that match; `high` where the model alone alerts."""
    group: str
    """Alerts of one entity and technique (or model, without techniques) share it."""
    event: dict[str, Any] = {}
    """The event as it was decoded."""


class InvestigateMessage(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A request for a closer look at an event with the verdict `investigate`. A result after the deadline counts too; the risk says that
    it was late."""

    schema: str
    """Form of the message."""
    verdict: VerdictMessage
    """The verdict, as in the topic of the verdicts."""
    asked_us: int
    """When it was asked for, microseconds since the epoch."""
    due_us: int
    """When the result is wanted by, microseconds since the epoch."""
    event: dict[str, Any] = {}
    """The event as it was decoded."""
