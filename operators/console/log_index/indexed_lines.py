"""From a line of the prediction log to what the index keeps of it. Pure.

Every record is kept in short. Of its rows only those are kept whose verdict is not benign. A name that the record holds encrypted stays
encrypted in the index: it is read when it is shown, so an erased person is erased here too."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from lifecycle.monitoring.windows.answered import event_key
from serving.audit.encoding import decode_array
from serving.audit.record import RecordedHit
from serving.risk.signal import entity_text

VERDICTS_SHOWN: Final = ("alert", "investigate", "unknown")
"""Verdicts of rows that people look at, the most urgent first."""
_MOST_TEXT: Final = 300
PERSON: Final = "~"
"""What the index has in place of an encrypted name: this, and the id of the person's key."""


@dataclass(frozen=True, slots=True)
class EntityKeys:
    """The columns that name the entity of a model's rows.

    names_person: whether the only key is the column that the keys of people follow."""

    names: tuple[str, ...] = ()
    names_person: bool = False


NO_KEYS: Final = EntityKeys()
KeysOf = Callable[[str, str], EntityKeys]
"""The entity keys of a model's version."""


@dataclass(frozen=True, slots=True)
class IndexedEntity:
    """text: how it is looked up; empty if the record does not name it. sealed: JSON by key, where a value is encrypted. subject: id of the
    key that it is encrypted with."""

    text: str = ""
    sealed: bytes | None = None
    subject: str | None = None


NOBODY: Final = IndexedEntity()


@dataclass(frozen=True, slots=True)
class IndexedAlert:
    """One row that is not benign. event: its name in labels. place: which row of the record. row: which row of the request."""

    event: str
    place: int
    row: int
    verdict: str
    score: float | None
    is_degraded: bool
    rules: str
    entity: IndexedEntity


@dataclass(frozen=True, slots=True)
class IndexedAnswer:
    """One record in short. verdict: the most urgent of its rows; empty if it has none. entity: if all its rows are of one."""

    time_us: int
    receipt: str
    model: str
    version: str
    revision: str
    variant: str
    door: str
    source: str
    caller: str
    tenant: str
    rows: int
    verdict: str
    entity: IndexedEntity
    alerts: tuple[IndexedAlert, ...]


class _Line(msgspec.Struct, frozen=True, gc=False):
    time_us: int
    receipt: str
    model: str
    version: str = ""
    revision: str = ""
    variant: str = ""
    door: str = ""
    source: str = ""
    rows: int = 1
    inputs: msgspec.Raw = msgspec.Raw(b"{}")
    scores: list[float | None] | dict[str, Any] = []
    verdicts: list[str] = []
    degraded: list[bool] | dict[str, Any] = []
    row_numbers: list[int] | dict[str, Any] | None = None
    rules: list[list[str]] = []
    caller: str = ""
    tenant: str = ""
    correlation: RecordedHit | None = None


_DECODER: Final = msgspec.json.Decoder(_Line)
_INPUTS: Final = msgspec.json.Decoder(dict[str, Any])
_LATEST_US: Final = 2**62


class NotIndexed(ValueError):
    """A line is not a record; the message says why."""


def indexed(line: bytes, keys_of: KeysOf) -> IndexedAnswer:
    """What the index keeps of a line. Raises NotIndexed."""
    try:
        record = _DECODER.decode(line)
        return _answer(record, keys_of(record.model, record.version))
    except (ValueError, KeyError, TypeError, IndexError, OverflowError, RecursionError) as problem:
        raise NotIndexed(f"is not a record: {problem}") from problem


def _answer(record: _Line, keys: EntityKeys) -> IndexedAnswer:
    if not 0 <= record.time_us < _LATEST_US or not 0 <= record.rows <= 1 << 30:
        raise ValueError(f"time_us {record.time_us}, rows {record.rows}")
    shown = [place for place, verdict in enumerate(record.verdicts) if verdict in VERDICTS_SHOWN]
    is_of_one = record.rows == 1
    entities = _entities(record, keys, shown if not is_of_one else [0]) if keys.names else {}
    numbers = _listed(record.row_numbers) if record.row_numbers is not None else range(record.rows)
    if not all(0 <= numbers[place] < _LATEST_US for place in shown):
        raise ValueError("a row number is out of range")
    scores, flags = (_listed(record.scores), _listed(record.degraded)) if shown else ([], [])
    alone = is_of_one and record.row_numbers is None
    alerts = tuple(
        IndexedAlert(
            event=event_key(record.receipt, numbers[place], is_alone=alone),
            place=place,
            row=numbers[place],
            verdict=record.verdicts[place],
            score=_finite(scores[place]) if place < len(scores) else None,
            is_degraded=bool(flags[place]) if place < len(flags) else False,
            rules=_rules(record, place),
            entity=entities.get(place, NOBODY),
        )
        for place in shown
    )
    found = {alert.verdict for alert in alerts}
    worst = next((word for word in VERDICTS_SHOWN if word in found), record.verdicts[0] if record.verdicts else "")
    return IndexedAnswer(
        time_us=record.time_us,
        receipt=record.receipt[:_MOST_TEXT],
        model=record.model[:_MOST_TEXT],
        version=record.version[:_MOST_TEXT],
        revision=record.revision[:_MOST_TEXT],
        variant=record.variant[:_MOST_TEXT],
        door=record.door[:_MOST_TEXT],
        source=record.source[:_MOST_TEXT],
        caller=record.caller[:_MOST_TEXT],
        tenant=record.tenant[:_MOST_TEXT],
        rows=record.rows,
        verdict=worst[:_MOST_TEXT],
        entity=entities.get(0, NOBODY) if is_of_one else NOBODY,
        alerts=alerts,
    )


def _rules(record: _Line, place: int) -> str:
    if record.correlation is not None:
        return record.correlation.title or record.correlation.rule
    return ", ".join(record.rules[place])[:_MOST_TEXT] if place < len(record.rules) else ""


def _listed(value: Sequence[Any] | Mapping[str, Any]) -> Sequence[Any]:
    """An array of the log; of many rows it is written raw."""
    return decode_array(value).tolist() if isinstance(value, Mapping) else value  # type: ignore[no-any-return]


def _finite(score: float | None) -> float | None:
    return score if score is not None and abs(score) < float("inf") else None


def _entities(record: _Line, keys: EntityKeys, places: Iterable[int]) -> dict[int, IndexedEntity]:
    inputs = _INPUTS.decode(record.inputs)
    columns: dict[str, Sequence[Any]] = {}
    for name in keys.names:
        column = inputs.get(name)
        if not isinstance(column, dict):
            return {}
        if "data" in column:
            columns[name] = column["data"]
        elif "raw" in column:
            columns[name] = decode_array(column).reshape(-1).tolist()
        else:
            return {}  # it was dropped
    return {place: _entity({name: column[place] for name, column in columns.items()}, keys) for place in places}


def _entity(values: Mapping[str, Any], keys: EntityKeys) -> IndexedEntity:
    subjects = {str(v["subject"]) for v in values.values() if isinstance(v, Mapping) and "subject" in v}
    if not subjects:
        return IndexedEntity(entity_text({name: _plain(value) for name, value in values.items()}))
    subject = min(subjects)
    text = PERSON + subject if len(values) == 1 and keys.names_person else ""
    return IndexedEntity(text, msgspec.json.encode(values), subject)


def _plain(value: Any) -> str | int:
    if isinstance(value, Mapping):
        return str(value.get("base64", ""))
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return value if isinstance(value, int) and not isinstance(value, bool) else str(value)
