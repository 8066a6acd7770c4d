"""One alert on its way to the sinks: read from the alerts topic, kept in a spool, written in a form."""

import hashlib
import re
from datetime import datetime
from typing import Final, Literal

import msgspec

from serving.sinks.text import json_value
from serving.stream.contract import ALERT_SCHEMA, AlertMessage

MOST_BYTES: Final = 4 * 1024 * 1024
"""A longer record of the alerts topic is not an alert."""
_READABLE: Final = re.compile(r"[!-~]{1,160}")


class WrongAlert(Exception):
    """A record is not an alert; the message says why."""


class FoldedAlerts(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What an alert says of others that it stands for: one message instead of many. Times are RFC 3339, UTC."""

    kind: Literal["grouped", "throttled"]
    """`grouped`: alerts of one entity and technique. `throttled`: alerts over the limits of the sink."""
    count: int
    first_time: str
    last_time: str
    ids: tuple[str, ...] = ()
    """Ids of the alerts, the first ones; `count` says how many there are."""
    entities: tuple[str, ...] = ()
    """Their entities, the first ones."""


class SinkAlert(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An alert, or one alert that stands for others. Times are microseconds since the epoch."""

    id: str
    """Names it for good, also in a repeat: printable ASCII without spaces, at most 160 characters."""
    message: AlertMessage
    time_us: int
    """When the event was; when it was scored, if the event has no time."""
    scored_us: int
    folded: FoldedAlerts | None = None
    traceparent: str | None = None
    """The trace context that it came with, if its sender samples it; no form has it."""

    @property
    def entity(self) -> str:
        """The entity as text; alerts of one entity stay in order.

        >>> entity_text({"host": "10.0.0.1", "user": 7})
        'host=10.0.0.1, user=7'
        """
        return entity_text(self.message.verdict.entity)


def entity_text(entity: dict[str, str | int]) -> str:
    """Join keys and values as people read them."""
    return ", ".join(f"{key}={value}" for key, value in entity.items())


def alert_id(message: AlertMessage) -> str:
    """The id of the event and the model; a digest of both if that is long or not plain ASCII."""
    named = f"{message.verdict.id}#{message.verdict.model}"
    return named if _READABLE.fullmatch(named) else digest_id(named)


def digest_id(text: str) -> str:
    """A short id for a text: 32 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def read_alert(value: bytes | None) -> SinkAlert:
    """Read one record of the alerts topic. Raises WrongAlert."""
    if value is None:
        raise WrongAlert("the record has no value; an alert is a JSON object")
    if len(value) > MOST_BYTES:
        raise WrongAlert(f"the record has {len(value):,} bytes; an alert has {MOST_BYTES:,} at most")
    try:
        message = msgspec.json.decode(value, type=AlertMessage)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise WrongAlert(f"the record is not an alert: {problem}") from problem
    # Deep nesting ends here: the spool nests an event deeper, and a reader of it must not reach its limit.
    return sink_alert(msgspec.structs.replace(message, event=json_value(message.event)))


def sink_alert(message: AlertMessage) -> SinkAlert:
    """The alert of a message. Raises WrongAlert if the schema or a time is not understood."""
    family = ALERT_SCHEMA.partition("/")[0]
    if message.schema != ALERT_SCHEMA and not message.schema.startswith(f"{family}/"):
        raise WrongAlert(f"its schema is {message.schema[:80]!r}; this version reads {ALERT_SCHEMA!r}")
    verdict = message.verdict
    scored_us = microseconds(verdict.scored_at)
    time_us = scored_us if verdict.event_time is None else microseconds(verdict.event_time)
    return SinkAlert(id=alert_id(message), message=message, time_us=time_us, scored_us=scored_us)


def microseconds(text: str) -> int:
    """Microseconds since the epoch of an RFC 3339 time. Raises WrongAlert.

    >>> microseconds("1970-01-01T00:00:01.5Z")
    1500000
    """
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is None:
            raise ValueError("it has no time zone")
        found = round(at.timestamp() * 1e6)
    except (ValueError, OverflowError) as problem:
        raise WrongAlert(f"{text[:80]!r} is not an RFC 3339 time: {problem}") from problem
    if found < 0:
        raise WrongAlert(f"{text[:80]!r} is before 1970")
    return found
