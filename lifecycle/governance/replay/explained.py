"""Explains a recorded answer: its rows are explained again, from the record and the bundle that answered.

The explanation is of the recorded scores and verdicts. The log holds no explanations: a record says at most which method explained the
answer to the client. EntityPast counts what earlier records of the model say of an entity."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import orjson

from lifecycle.governance.archive.record_log import RecordChoice, RecordLog
from lifecycle.governance.replay.recompute import MODEL_WIDTHS, NotReplayable, group_of
from lifecycle.governance.replay.replay import is_needed
from lifecycle.governance.replay.revisions import RevisionBook, Unexplained
from serving.audit.encoding import decode_array, decode_record
from serving.audit.personal.redaction import is_redacted, reveal
from serving.audit.personal.subject_keys import SubjectKeys
from serving.audit.record import AuditRecord
from serving.errors import ServingError
from serving.models.errors import ModelError
from serving.models.verdicts import VerdictThresholds, scores_of
from serving.ports import JudgedRows
from serving.scoring.explained import TRIAGE_ENDED
from serving.scoring.loaded_revision import LoadedRevision
from serving.scoring.row_group import RULES
from serving.scoring.triage.outcomes import ENDED, OUTCOMES
from serving.scoring.variant_runner import runtime_feed, tensors_of

PAST_RECORDS: Final = 10_000
"""How many earlier records of the model are searched for the entity's past."""
MOST_EXPLAINED_ROWS: Final = 256
Hidden = frozenset[str]


@dataclass(slots=True)
class EntityPast:
    """What earlier records say of a row's entity.

    looked_at: how many answers were read. answers: rows of the entity in them. first_us, last_us, last_alert_us: microseconds since the
    epoch. columns: column -> its numbers, newest last."""

    entity: str
    looked_at: int = 0
    answers: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    first_us: int | None = None
    last_us: int | None = None
    last_alert_us: int | None = None
    columns: dict[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExplainedRow:
    """One explained row. row: its number in the request, from 0. explanation: as a client gets it. past: of its entity; None if the
    request names no entity that can be read."""

    row: int
    explanation: Mapping[str, Any]
    past: EntityPast | None


@dataclass(frozen=True, slots=True)
class ExplainedAnswer:
    """One record with its explained rows. is_same: whether the model gave the recorded scores again, to the bit."""

    record: AuditRecord
    rows: tuple[ExplainedRow, ...]
    is_same: bool


def explain_receipt(
    log: RecordLog,
    book: RevisionBook,
    receipt: str,
    method: str,
    *,
    keys: SubjectKeys,
    row: int | None = None,
    budget_s: float = 60.0,
) -> list[ExplainedAnswer]:
    """Explain every record of a receipt. Raises NotReplayable if there is none, or one cannot be explained.

    method: of the explanation, as a client names it. keys: decrypt personal values. row: only this row of the request, from 0. budget_s:
    how long the explanation of one record may take."""
    lines = list(log.chosen(RecordChoice(receipt=receipt)))
    if not lines:
        raise NotReplayable(
            f"receipt {receipt!r} is not in a record of {log.folder} or of its archive; `vedette audit tail` shows receipts"
        )
    found = []
    for line in lines:
        answer = _explain_line(book, line, method, keys, row, budget_s, log)
        if answer is not None:
            found.append(answer)
    if not found:
        raise NotReplayable(f"receipt {receipt!r} has no row {row}; rows are counted from 0")
    return found


def explain_record(
    book: RevisionBook, line: bytes, method: str, *, keys: SubjectKeys, row: int | None = None, budget_s: float = 60.0
) -> ExplainedAnswer | None:
    """Explain one record, given as its line, without the past of its entities; None if it has no such row. Raises NotReplayable if it
    cannot be explained. The arguments are those of `explain_receipt`."""
    return _explain_line(book, line, method, keys, row, budget_s, None)


def _explain_line(
    book: RevisionBook, line: bytes, method: str, keys: SubjectKeys, row: int | None, budget_s: float, log: RecordLog | None
) -> ExplainedAnswer | None:
    """log: where the past of the entities is looked up; None: nowhere."""
    record, gone = _opened(line, keys)
    numbers = _row_numbers(record)
    wanted = [at for at, number in enumerate(numbers) if row in (None, number)]
    if not wanted:
        return None
    if len(wanted) > MOST_EXPLAINED_ROWS:
        raise NotReplayable(
            f"the record has {len(wanted)} rows, at most {MOST_EXPLAINED_ROWS} are explained at once; choose one with --row"
        )
    bodies, is_same = _explained(book, record, gone, method, wanted, budget_s)
    pasts = _pasts(log, book, record, gone, wanted, keys) if log is not None else {}
    rows = [ExplainedRow(numbers[at], body, pasts.get(at)) for at, body in zip(wanted, bodies, strict=True)]
    return ExplainedAnswer(record, tuple(rows), is_same)


def _explained(
    book: RevisionBook, record: AuditRecord, gone: Hidden, method: str, wanted: Sequence[int], budget_s: float
) -> tuple[list[dict[str, Any]], bool]:
    if record.source == RULES:
        rules = record.rules or [[]] * record.rows
        return [{"method": "rules_answered", "verdict": record.verdicts[at], "rules": list(rules[at])} for at in wanted], True
    revision = book.revision(record)
    if isinstance(revision, Unexplained):
        raise NotReplayable(revision.reason)
    if revision.explainer is None or record.operating_point is None:
        raise NotReplayable(f"model {record.model!r} has no score, so there is no verdict to explain")
    if gone and is_needed(revision, record, gone):
        raise NotReplayable(
            f"receipt {record.receipt!r} cannot be explained: {', '.join(sorted(gone))} of the record is redacted, or its person was "
            "erased, and the model needs it"
        )
    ended = [at for at in wanted if at < len(record.triage) and record.triage[at] == OUTCOMES[ENDED]]
    told = {at: _ended(record, at) for at in ended}
    kept = [at for at in wanted if at not in told]
    if not kept:
        return [told[at] for at in wanted], True
    rows, is_same = _judged(revision, record, kept)
    try:
        found = [orjson.loads(line) for line in revision.explainer.explain(method, rows, budget_s)]
        told |= dict(zip(kept, found, strict=True))
        return [told[at] for at in wanted], is_same
    except ServingError as problem:
        raise NotReplayable(problem.message) from problem


def _ended(record: AuditRecord, at: int) -> dict[str, Any]:
    """The explanation of a row that triage ended: the model did not run, so there are no contributions."""
    return {"method": TRIAGE_ENDED, "verdict": record.verdicts[at], "rules": list(record.rules[at]) if record.rules else []}


def _judged(revision: LoadedRevision, record: AuditRecord, wanted: Sequence[int]) -> tuple[JudgedRows, bool]:
    """The rows as the model saw them, with the recorded scores and verdicts; and whether the model gave the same scores again."""
    recorded, spec = decode_array(record.scores).astype(np.float32), revision.manifest.score
    point = record.operating_point
    if spec is None or point is None:
        raise NotReplayable(f"model {record.model!r} has no score")
    closest: dict[str, Any] = {}
    for width in MODEL_WIDTHS:
        try:
            feed = runtime_feed(tensors_of(group_of(revision, [record], width)))
            scores = scores_of(revision.model.run(feed, [spec.output]), spec, record.rows)
        except (ModelError, ServingError, KeyError, ValueError) as problem:
            raise NotReplayable(f"the bundle does not accept the values of the record: {problem}") from problem
        is_judged = np.array([word != OUTCOMES[ENDED] for word in record.triage] or [True] * record.rows)
        if np.array_equal(scores[is_judged], recorded[is_judged], equal_nan=True):
            return _rows_of(revision, record, point, feed, recorded, wanted), True
        closest = closest or feed
    return _rows_of(revision, record, point, closest, recorded, wanted), False


def _rows_of(
    revision: LoadedRevision, record: AuditRecord, point: str, feed: Mapping[str, Any], scores: Any, wanted: Sequence[int]
) -> JudgedRows:
    thresholds, index = VerdictThresholds.of(revision.points[point]), list(wanted)
    whole = revision.inputs.non_row_inputs
    tensors = {name: tensor if name in whole or not tensor.ndim else tensor[index] for name, tensor in feed.items()}
    verdicts = [record.verdicts[at] for at in index]
    return JudgedRows(tensors, scores[index], verdicts, point, thresholds.investigate, thresholds.alert)


def _opened(line: bytes, keys: SubjectKeys) -> tuple[AuditRecord, Hidden]:
    """A record with what can be decrypted, and the columns of which something is gone."""
    record = decode_record(line)
    return reveal(record, keys) if is_redacted(line) else (record, frozenset())


def _row_numbers(record: AuditRecord) -> list[int]:
    if record.row_numbers is None:
        return list(range(record.rows))
    return [int(number) for number in decode_array(record.row_numbers).tolist()]


def _pasts(
    log: RecordLog, book: RevisionBook, record: AuditRecord, gone: Hidden, wanted: Sequence[int], keys: SubjectKeys
) -> dict[int, EntityPast]:
    """What earlier records say of the entities of these rows. Empty if the request names no entity that can be read."""
    revision = book.revision(record)
    names = [] if isinstance(revision, Unexplained) else [key.name for key in revision.manifest.entity_keys]
    entities = _entities(record, names, gone)
    known = [at for at in wanted if at < len(entities) and entities[at] is not None]
    if not known:
        return {}
    pasts: dict[tuple[Any, ...] | None, EntityPast] = {
        entities[at]: EntityPast(", ".join(map(_text, entities[at] or ()))) for at in known
    }
    lines = log.newest(PAST_RECORDS, RecordChoice(model=record.model, to_us=record.time_us, is_answer=True))
    for line in lines:
        before, hidden = _opened(line, keys)
        _count(pasts, before, _entities(before, names, hidden), hidden)
    for past in pasts.values():
        past.looked_at = len(lines)
    return {at: pasts[entities[at]] for at in known}


def _entities(record: AuditRecord, names: Sequence[str], gone: Hidden) -> list[tuple[Any, ...] | None]:
    """The entity of each row: its key values as they were sent, or None if one is hidden. Empty if the request does not name the keys."""
    if not names or any(name not in record.inputs for name in names):
        return []
    columns = [decode_array(record.inputs[name]).reshape(-1).tolist() for name in names]
    hidden = [name in gone for name in names]  # a value that is gone is read as empty text or 0
    rows = zip(*columns, strict=True)
    return [None if any(is_hidden and not key for is_hidden, key in zip(hidden, row, strict=True)) else row for row in rows]


def _count(
    pasts: Mapping[tuple[Any, ...] | None, EntityPast],
    record: AuditRecord,
    entities: Iterable[tuple[Any, ...] | None],
    gone: Hidden,
) -> None:
    for at, entity in enumerate(entities):
        past = pasts.get(entity)
        if past is None or at >= record.rows:
            continue
        verdict = record.verdicts[at] if at < len(record.verdicts) else "answered"
        past.answers += 1
        past.verdicts[verdict] += 1
        past.first_us = record.time_us if past.first_us is None else past.first_us
        past.last_us = record.time_us
        if verdict == "alert":
            past.last_alert_us = record.time_us
        for name, values in {**record.features, **record.inputs}.items():
            if name not in gone:
                _keep_number(past, name, values, at)


def _keep_number(past: EntityPast, name: str, values: Any, at: int) -> None:
    column = decode_array(values).reshape(-1) if not isinstance(values, list) else values
    value = column[at] if at < len(column) else None
    if isinstance(value, int | float | np.number) and not isinstance(value, bool) and np.isfinite(value):
        past.columns.setdefault(name, []).append(float(value))


def _text(value: Any) -> str:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
