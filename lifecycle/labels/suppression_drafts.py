"""Drafts of suppressions from false alarms that analysts labelled. Pure.

One draft for an entity and the threshold rules that matched it; people review it. An entity with an event that was called an attack gets
none."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from lifecycle.labels.label import Label
from lifecycle.labels.suppressed import verdicts_before
from lifecycle.monitoring.windows.answered import event_key
from serving.audit.encoding import decode_array
from serving.audit.record import AuditRecord
from serving.models.manifest import FieldSpec

DRAFT_DAYS: Final = 14
MOST_DRAFTS: Final = 50
_NAMED_EVENTS: Final = 3
_Key = tuple[tuple[str | int | float, ...], tuple[str, ...]]


@dataclass(slots=True)
class _Case:
    """Events of one entity and one set of rules."""

    labels: list[Label] = field(default_factory=list)
    events: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class SuppressionDrafts:
    """entries: as a file of suppressions has them, those of most events first. attacked: entities that were left out because an event
    of theirs is labelled an attack. omitted: drafts over the bound. unread: labelled events whose entity the log no longer tells."""

    entries: tuple[Mapping[str, str], ...]
    attacked: int
    omitted: int
    unread: int


def draft_suppressions(
    records: Iterable[tuple[AuditRecord, frozenset[str]]],
    labels: Mapping[str, Label],
    keys: Sequence[FieldSpec],
    expressions: Mapping[str, str],
    techniques: Mapping[str, Sequence[str]],
) -> SuppressionDrafts:
    """records: with the columns of which something is gone. labels: the last word on each event. keys: the model's entity keys.
    expressions, techniques: of threshold rules, by id."""
    cases: dict[_Key, _Case] = {}
    attacked: set[tuple[str | int | float, ...]] = set()
    unread = 0
    for record, gone in records:
        codes = verdicts_before(record)
        for row in range(record.rows):
            number = row if record.row_numbers is None else int(record.row_numbers[row])
            event = event_key(record.receipt, number, is_alone=record.rows == 1 and record.row_numbers is None)
            label = labels.get(event)
            if label is None or label.verdict == "unsure":
                continue
            entity = None if any(key.name in gone for key in keys) else _entity(record, row, keys)
            if entity is None:
                unread += 1
            elif label.verdict == "attack":
                attacked.add(entity)
            elif codes[row] in (1, 2):
                rules = tuple(rule for rule in (record.rules[row] if record.rules else ()) if rule in expressions)
                case = cases.setdefault((entity, rules), _Case())
                case.labels.append(label)
                case.events.append(event)
    kept = sorted(((key, case) for key, case in cases.items() if key[0] not in attacked), key=lambda one: -len(one[1].events))
    entries = tuple(_entry(keys, *key, case, expressions, techniques) for key, case in kept[:MOST_DRAFTS])
    left_out = len({entity for entity, _ in cases} & attacked)
    return SuppressionDrafts(entries, left_out, max(0, len(kept) - MOST_DRAFTS), unread)


def _entity(record: AuditRecord, row: int, keys: Sequence[FieldSpec]) -> tuple[str | int | float, ...] | None:
    """The values of the entity's keys; None where the request had none."""
    if not keys or any(key.name not in record.inputs for key in keys):
        return None
    values: list[Any] = [decode_array(record.inputs[key.name]).reshape(-1).tolist()[row] for key in keys]
    return tuple(value.decode("utf-8", "replace") if isinstance(value, bytes) else value for value in values)


def _entry(
    keys: Sequence[FieldSpec],
    entity: tuple[str | int | float, ...],
    rules: tuple[str, ...],
    case: _Case,
    expressions: Mapping[str, str],
    techniques: Mapping[str, Sequence[str]],
) -> Mapping[str, str]:
    terms = [f"{key.name} == {_literal(value)}" for key, value in zip(keys, entity, strict=True)]
    terms += [f"({expressions[rule]})" for rule in rules]
    newest = max(case.labels, key=lambda label: label.time_us)
    about = sorted({technique for rule in rules for technique in techniques.get(rule, ())})
    named = ", ".join(case.events[:_NAMED_EVENTS]) + (", ..." if len(case.events) > _NAMED_EVENTS else "")
    reason = f"DRAFT, to be reviewed: {len(case.events)} labelled benign ({named})"
    reason += f"; rules {', '.join(rules)}" if rules else ""
    reason += f"; techniques {', '.join(about)}" if about else ""
    when = " && ".join(terms)
    return {
        "id": f"draft-{hashlib.sha256(when.encode()).hexdigest()[:12]}",
        "owner": newest.analyst[:200],
        "reason": reason[:1000],
        "when": when,
        "becomes": "investigate",
    }


def _literal(value: str | int | float) -> str:
    """A CEL literal: text in quotes, numbers as doubles."""
    return json.dumps(value) if isinstance(value, str) else repr(float(value))


def end_of_drafts(now: datetime) -> str:
    """When drafts of this moment expire. now: with its time zone."""
    return (now + timedelta(days=DRAFT_DAYS)).replace(microsecond=0).isoformat()
