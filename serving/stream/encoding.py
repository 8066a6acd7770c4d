"""Answers to messages: verdicts, alerts and dead letters, as serving.stream.contract has them."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from math import isnan
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from serving.models.manifest import Manifest
from serving.scoring.row_group import RULES
from serving.scoring.rules.raising import AND_RULES
from serving.stream.answers import Identity, ScoredEvents
from serving.stream.codecs.codec import undecodable
from serving.stream.contract import (
    ALERT_SCHEMA,
    ID_HEADER,
    INVESTIGATE_SCHEMA,
    REASON_HEADER,
    STATE_HEADER,
    TRACE_HEADER,
    VERDICT_SCHEMA,
    AlertMessage,
    InvestigateMessage,
    Level,
    VerdictMessage,
    Word,
)
from serving.stream.events import StreamEvents
from serving.stream.ports import OutRecord, RecordHeaders, StreamRecord
from serving.stream.spans.contexts import own_state, own_trace
from serving.stream.state import RuleHit

WORDS: Final[Mapping[bytes, Word]] = {
    b"benign": "benign",
    b"investigate": "investigate",
    b"alert": "alert",
    b"unknown": "unknown",
}
_RANKS: Final[Mapping[Word, int]] = {"benign": 0, "unknown": 1, "investigate": 2, "alert": 3}
_ORDER: Final[tuple[Level, ...]] = ("informational", "low", "medium", "high", "critical")
_MODEL_LEVEL: Final[Level] = "high"
"""Severity of an alert that no rule gives one."""
_MOST_ALERT: Final = 900_000
"""Bytes of an alert with its event; Kafka takes 1,048,588 by default. A larger one is written without the event."""
_MOST_ID: Final = 1000
_MOST_KEY: Final = 64 * 1024
"""Bytes of a record's key that its dead letter still has."""
_JSON: Final = msgspec.json.Encoder()

_KeyColumn = tuple[str, list[Any], bool]
"""Name of a join key, its value of each event, whether it is text."""

TraceOfMessage = Callable[[str, StreamRecord], bytes | None]
"""The traceparent of a message to a topic about a record."""


class MessageTopics(NamedTuple):
    """Where messages go."""

    verdicts: str
    alerts: str
    dead_letters: str
    investigate: str = ""
    """Empty: no event is queued for a closer look."""
    investigate_us: int = 60_000_000
    """How long a closer look may take."""


def verdict_records(
    scored: ScoredEvents,
    hits: Mapping[int, Sequence[RuleHit]],
    manifest: Manifest,
    topics: MessageTopics,
    now_us: int,
    trace_of: TraceOfMessage | None = None,
) -> tuple[list[OutRecord], int]:
    """The verdicts on these events, each followed by its alert or its request for a closer look; and how many alerts. hits: by row of
    the events. trace_of: None: each message has the trace context of its event."""
    events, answers, first = scored.events, scored.answers, scored.first_row
    model, scored_at = manifest.name, _moment(now_us)
    keys: list[_KeyColumn] = [(k.name, events.columns[k.name].tolist(), k.datatype == "BYTES") for k in manifest.entity_keys]
    moments = _moments(events)
    out: list[OutRecord] = []
    alerts = 0
    prefix = f"{events.partition.topic}/{events.partition.number}/"
    raw_prefix = prefix.encode()
    encode, topic = _JSON.encode, topics.verdicts
    plain = _PlainVerdicts(scored, keys, prefix, model, scored_at, moments)
    passed_on = {b"alert", b"investigate"} if topics.investigate else {b"alert"}
    for row, record in enumerate(events.records):
        at = first + row
        body = events.bodies[row]
        if (
            answers.verdicts[at] not in passed_on
            and not hits.get(row)
            and (text := plain.text(row, record.offset, body)) is not None
        ):
            headers = _headers_of(record, raw_prefix, topic, trace_of)
            out.append(OutRecord(topic, text, events.entities[row], headers))
            continue
        variant, version, revision, source, point = answers.variants[at]
        score = answers.scores[at]
        has_score = not isnan(score)
        own_id, own_hits = body.get("event_id"), hits.get(row, ())
        served, rules = WORDS[answers.verdicts[at]], tuple(answers.rules[at])
        word = served
        if own_hits:
            word, source, rules = with_hits(word, source, rules, own_hits)
        identity = f"{prefix}{record.offset}"
        verdict = VerdictMessage(
            schema=VERDICT_SCHEMA,
            id=identity,
            entity=_entity(keys, row),
            verdict=word,
            model=model,
            version=version,
            revision=revision,
            variant=variant,
            source=source,
            receipt=answers.receipt,
            row=at,
            scored_at=scored_at,
            event_time=moments[row],
            event_id=None if own_id is None else str(own_id)[:_MOST_ID],
            score=score if has_score else None,
            probability=answers.probabilities[at] if answers.probabilities is not None and has_score else None,
            operating_point=point,
            rules=rules,
            techniques=_techniques(word, source, rules, own_hits, manifest),
            degraded=answers.degraded[at] or source == RULES,
            late=bool(events.is_late[row]),
            sketched=scored.sketched is not None and scored.sketched[row],
            suppressed_by=answers.suppressed_by[at] if word == served else None,  # a correlation has raised it again
            trace_id=answers.trace_id,
        )
        headers = (
            message_headers(identity, record) if trace_of is None else traced_headers(identity, trace_of(topic, record), record)
        )
        key = events.entities[row]
        out.append(OutRecord(topic, encode(verdict), key, headers))
        if word == "alert":
            alerts += 1
            alert = alert_of(verdict, own_hits, manifest, key, body)
            value = _JSON.encode(alert)
            if len(value) > _MOST_ALERT:
                value = _JSON.encode(msgspec.structs.replace(alert, event={}))
            if trace_of is not None:
                headers = traced_headers(identity, trace_of(topics.alerts, record), record)
            out.append(OutRecord(topics.alerts, value, key, headers))
        elif word == "investigate" and topics.investigate:
            value = _JSON.encode(_closer_look(verdict, body, now_us, topics.investigate_us))
            if len(value) <= _MOST_ALERT:  # a larger one cannot be sent; its verdict is there all the same
                if trace_of is not None:
                    headers = traced_headers(identity, trace_of(topics.investigate, record), record)
                out.append(OutRecord(topics.investigate, value, key, headers))
    return out, alerts


def _headers_of(record: StreamRecord, prefix: bytes, topic: str, trace_of: TraceOfMessage | None) -> RecordHeaders:
    own = ((ID_HEADER, b"%b%d" % (prefix, record.offset)),)
    own_of_record = own_trace(record) if trace_of is None and record.headers else None
    traceparent = own_of_record if trace_of is None else trace_of(topic, record)
    return own if traceparent is None else (*own, (TRACE_HEADER, traceparent))


class _PlainVerdicts:
    """The JSON of verdicts without rules, an id of the event's own or a suppression, which are most: put together from parts that many rows
    share. The same bytes as those of a VerdictMessage."""

    def __init__(
        self, scored: ScoredEvents, keys: Sequence[_KeyColumn], prefix: str, model: str, scored_at: str, moments: Sequence[str]
    ) -> None:
        answers = scored.answers
        self._scored, self._answers, self._keys = scored, answers, keys
        self._open = f'{{"schema":{_text(VERDICT_SCHEMA)},"id":{_text(prefix)[:-1]}'
        self._model, self._receipt = _text(model), _text(answers.receipt)
        self._scored_at, self._moments = scored_at, moments
        self._scores = _numbers(answers.scores)
        self._probabilities = None if answers.probabilities is None else _numbers(answers.probabilities)
        self._end = "}" if answers.trace_id is None else f',"trace_id":{_text(answers.trace_id)}}}'
        self._late = scored.events.is_late.tolist()
        self._entities: dict[tuple[bytes | int, ...], str] = {}
        self._values = list(zip(*(values for _, values, _ in keys), strict=True)) or [()] * len(scored.events)
        self._middles: dict[tuple[bytes, int], tuple[str, str, bool]] = {}

    def text(self, row: int, offset: int, body: Mapping[str, object]) -> bytes | None:
        """The verdict on an event; None: it is not plain."""
        answers, at = self._answers, self._scored.first_row + row
        score = self._scores[at]
        if score == "null" or answers.rules[at] or answers.suppressed_by[at] is not None or body.get("event_id") is not None:
            return None
        verdict, identity = answers.verdicts[at], answers.variants[at]
        middle = self._middles.get((verdict, id(identity)))
        if middle is None:
            middle = self._middles[verdict, id(identity)] = self._middle(verdict, identity)
        before, point, is_by_rules = middle
        values = self._values[row]
        entity = self._entities.get(values)
        if entity is None:
            entity = self._entities[values] = _JSON.encode(_entity(self._keys, row)).decode()
        probability = "" if self._probabilities is None else f',"probability":{self._probabilities[at]}'
        flags = ',"degraded":true' if is_by_rules or answers.degraded[at] else ""
        if self._late[row]:
            flags += ',"late":true'
        if self._scored.sketched is not None and self._scored.sketched[row]:
            flags += ',"sketched":true'
        return (
            f'{self._open}{offset}","entity":{entity}{before}{at},"scored_at":"{self._scored_at}",'
            f'"event_time":"{self._moments[row]}","score":{score}{probability}{point}{flags}{self._end}'
        ).encode()

    def _middle(self, verdict: bytes, identity: Identity) -> tuple[str, str, bool]:
        """From the verdict to the row, the operating point, and whether the rules alone answered."""
        variant, version, revision, source, point = identity
        before = (
            f',"verdict":{_text(WORDS[verdict])},"model":{self._model},"version":{_text(version)},"revision":{_text(revision)},'
            f'"variant":{_text(variant)},"source":{_text(source)},"receipt":{self._receipt},"row":'
        )
        return before, "" if point is None else f',"operating_point":{_text(point)}', source == RULES


def _text(value: str) -> str:
    return _JSON.encode(value).decode()


def _numbers(values: Sequence[float]) -> list[str]:
    """Each as JSON has it."""
    return _JSON.encode(values).decode()[1:-1].split(",")


def _entity(keys: Sequence[_KeyColumn], row: int) -> dict[str, str | int]:
    return {name: values[row].decode("utf-8", "replace") if is_text else values[row] for name, values, is_text in keys}


def _closer_look(verdict: VerdictMessage, body: Mapping[str, object], now_us: int, within_us: int) -> InvestigateMessage:
    return InvestigateMessage(
        schema=INVESTIGATE_SCHEMA, verdict=verdict, asked_us=now_us, due_us=now_us + within_us, event=dict(body)
    )


def alert_of(
    verdict: VerdictMessage, hits: Sequence[RuleHit], manifest: Manifest, entity: bytes, body: Mapping[str, object]
) -> AlertMessage:
    """The message for a SIEM about a verdict `alert`."""
    worst = max(hits, key=lambda hit: _ORDER.index(hit.severity), default=None)
    about = ",".join(verdict.techniques) or verdict.model
    return AlertMessage(
        schema=ALERT_SCHEMA,
        verdict=verdict,
        title=worst.title if worst is not None else manifest.description or f"model {manifest.name}",
        severity=worst.severity if worst is not None else _MODEL_LEVEL,
        group=f"{entity.decode('utf-8', 'replace')}|{about}",
        event=dict(body),
    )


def dead_letter(record: StreamRecord, reason: str, topics: MessageTopics) -> OutRecord:
    """The record as it came, with the reason in a header, in one line.

    What Kafka might not take is left out, and the reason says so: a record that cannot be written would hold up its partition."""
    value, key = record.value, record.key
    if len(value or b"") > _MOST_ALERT:
        reason, value = f"{reason} (its {len(value or b'')} bytes are left out here; they are in {record.id})", None
    if len(key or b"") > _MOST_KEY:
        reason, key = f"{reason} (its key of {len(key or b'')} bytes is left out here; it is in {record.id})", None
    line = undecodable(reason).reason.encode("utf-8", "replace")
    return OutRecord(topics.dead_letters, value, key, (*message_headers(record.id, record), (REASON_HEADER, line)))


def message_headers(identity: str, record: StreamRecord) -> RecordHeaders:
    """The id, and the trace context that the event came with."""
    return traced_headers(identity, own_trace(record) if record.headers else None, record)


def traced_headers(identity: str, traceparent: bytes | None, record: StreamRecord) -> RecordHeaders:
    """The id, and a trace context if there is one: with the tracestate of the record, if it is the record's trace."""
    own = ((ID_HEADER, identity.encode()),)
    if traceparent is None:
        return own
    state = own_state(record, traceparent) if record.headers else None
    traced = (*own, (TRACE_HEADER, traceparent))
    return traced if state is None else (*traced, (STATE_HEADER, state))


def with_hits(word: Word, source: str, rules: tuple[str, ...], hits: Sequence[RuleHit]) -> tuple[Word, str, tuple[str, ...]]:
    """The verdict, source and rules of an event with the hits that it completed."""
    for hit in hits:
        rules = (*rules, hit.rule)
        if hit.verdict is not None and _RANKS[hit.verdict] > _RANKS[word]:
            word, source = hit.verdict, source if source.endswith(RULES) else f"{source}{AND_RULES}"
    return word, source, rules


def _techniques(word: Word, source: str, rules: Sequence[str], hits: Sequence[RuleHit], manifest: Manifest) -> tuple[str, ...]:
    """Of the rules that match and of the hits; of the detector for an alert that is the model's alone."""
    if not rules and not hits:
        return manifest.techniques if word == "alert" and manifest.techniques else ()
    by_rule = manifest.rules.techniques if manifest.rules is not None else {}
    found = [technique for rule in rules for technique in by_rule.get(rule, ())]
    if word == "alert" and not source.endswith(RULES):
        found = [*manifest.techniques, *found]
    return tuple(dict.fromkeys((*found, *(technique for hit in hits for technique in hit.techniques))))


def _moment(now_us: int) -> str:
    return datetime.fromtimestamp(now_us / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _moments(events: StreamEvents) -> list[str]:
    """Event times as RFC 3339."""
    texts: list[str] = np.datetime_as_string(events.times_us.astype("datetime64[us]"), timezone="UTC").tolist()
    return texts
