"""Replay: recompute the answers of records and say which are the same to the bit.

Pure, except that it runs models. A record made on this processor family must have the same scores to the bit. A record of another family
may differ by the tolerance that its bundle states. Verdicts are always compared exactly, with those that the recorded scores and the
revision's thresholds give."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lifecycle.governance.replay.recompute import (
    MODEL_WIDTHS,
    NotReplayable,
    Recomputed,
    batch_key,
    is_by_row,
    recompute,
    recompute_by_rules,
)
from lifecycle.governance.replay.revisions import RevisionBook, Unexplained
from serving.audit.encoding import decode_array, decode_record
from serving.audit.personal.redaction import is_redacted, reveal
from serving.audit.personal.subject_keys import SubjectKeys
from serving.audit.record import AuditRecord, SuppressedRow
from serving.models.build import DEFAULT_TOLERANCE
from serving.models.processor import processor_family
from serving.models.verdicts import VERDICTS, verdict_codes
from serving.scoring.loaded_revision import LoadedRevision
from serving.scoring.row_group import RULES
from serving.scoring.rules.raising import raised
from serving.scoring.rules.suppressing import changed
from serving.scoring.triage.outcomes import with_ended, words_of

BATCH_ROWS: Final = 1024
"""Rows in one run of the model."""
MOST_BATCHED_ROWS: Final = 64
"""A record of more rows runs alone."""
_NO_KEYS: Final = SubjectKeys(Path("no-such-folder"))

IDENTICAL: Final = "identical"
WITHIN_TOLERANCE: Final = "within tolerance"
DIFFERENT: Final = "different"
ERASED: Final = "erased"
NOT_REPLAYABLE: Final = "not replayable"
NO_RECORD: Final = "the line is no whole record; `vedette audit verify` says what was changed"
UNFIT: Final = "the values of the record cannot be computed with; `vedette audit verify` says whether they were changed"
_UNFIT: Final = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
"""What comes of a line that somebody changed: the fields of a record that hold arrays are of any type."""


@dataclass(frozen=True, slots=True)
class ReplayDifference:
    """One field that is not as it was recorded. row: of the record, from 0; None if the field is not of one row."""

    receipt: str
    row: int | None
    field: str
    recorded: object
    recomputed: object


@dataclass(slots=True)
class ReplayReport:
    """Records by outcome, and the differences. why_not: reason -> how many records could not be replayed for it."""

    outcomes: Counter[str] = field(default_factory=Counter)
    differences: list[ReplayDifference] = field(default_factory=list)
    why_not: Counter[str] = field(default_factory=Counter)
    other_processors: Counter[str] = field(default_factory=Counter)
    """Other processor family -> how many of its records are the same within the tolerance."""
    worst: float = 0.0
    """Largest difference of a score within the tolerance."""

    @property
    def is_same(self) -> bool:
        """Whether there were records, and none of them differs or could not be replayed. Erased records do not count against it."""
        return set(self.outcomes) <= {IDENTICAL, WITHIN_TOLERANCE, ERASED} and self.outcomes.total() > 0


class Replayer:
    """Replays records. subject_keys: decrypt personal values whose keys still exist. processor: the family of this machine's processor."""

    def __init__(
        self,
        book: RevisionBook,
        *,
        subject_keys: SubjectKeys | None = None,
        processor: str | None = None,
    ) -> None:
        self._book, self._subject_keys = book, subject_keys
        self._processor = processor or processor_family()
        self.report = ReplayReport()

    def replay(self, lines: Iterable[bytes], on_progress: Callable[[int], None] = lambda count: None) -> ReplayReport:
        """Replay every line. on_progress: called with how many records were just finished."""
        for revision, records in self._batches(lines, on_progress):
            self._replay_batch(revision, records)
            on_progress(len(records))
        return self.report

    def _batches(
        self, lines: Iterable[bytes], on_progress: Callable[[int], None]
    ) -> Iterator[tuple[LoadedRevision, list[AuditRecord]]]:
        waiting: dict[tuple[object, ...], list[AuditRecord]] = {}
        for line in lines:
            try:
                record, gone = self._open(line)
            except _UNFIT:  # it has the few fields by which records are chosen, and no more
                self._refuse(NO_RECORD)
                on_progress(1)
                continue
            if record.correlation is not None:
                self._refuse("it is the hit of a correlation, which is counted over the events of a stream")
                on_progress(1)
                continue
            if record.refusal is not None:  # nobody was answered, so nothing is to be replayed
                on_progress(1)
                continue
            revision = self._book.revision(record)
            if gone and not isinstance(revision, Unexplained) and is_needed(revision, record, gone):
                self.report.outcomes[ERASED] += 1
                on_progress(1)
            elif isinstance(revision, Unexplained):
                self._refuse(revision.reason)
                on_progress(1)
            elif (key := _batch_of(revision, record)) is None:
                yield revision, [record]
            else:
                batch = waiting.setdefault(key, [])
                batch.append(record)
                if sum(r.rows for r in batch) >= BATCH_ROWS:
                    yield revision, waiting.pop(key)
        for batch in waiting.values():
            revision = self._book.revision(batch[0])
            if not isinstance(revision, Unexplained):
                yield revision, batch

    def _open(self, line: bytes) -> tuple[AuditRecord, frozenset[str]]:
        """The record with its personal values decrypted if their keys exist, and the columns of which something is lost."""
        record = decode_record(line)
        if not is_redacted(line):
            return record, frozenset()
        return reveal(record, self._subject_keys or _NO_KEYS)

    def _replay_batch(self, revision: LoadedRevision, records: list[AuditRecord]) -> None:
        if len(records) > 1:
            try:
                found = recompute(revision, records)
                rest = [r for r, got in zip(records, found, strict=True) if differences(revision, r, got)]
            except (NotReplayable, *_UNFIT):  # one of them is enough: each is computed alone
                rest = records
            self.report.outcomes[IDENTICAL] += len(records) - len(rest)
        else:
            rest = records
        for record in rest:
            self._replay_one(revision, record)

    def _replay_one(self, revision: LoadedRevision, record: AuditRecord) -> None:
        closest: tuple[list[ReplayDifference], Recomputed] | None = None
        try:
            for got in _attempts(revision, record):
                found = differences(revision, record, got)
                if closest is None or len(found) < len(closest[0]):
                    closest = found, got
                if not found:
                    self.report.outcomes[IDENTICAL] += 1
                    return
        except NotReplayable as problem:
            self._refuse(str(problem))
            return
        except _UNFIT:
            self._refuse(UNFIT)
            return
        if closest is None:
            self._refuse("the record does not hold the outputs; records of this release do")
            return
        self._judge(revision, record, *closest)

    def _judge(self, revision: LoadedRevision, record: AuditRecord, found: list[ReplayDifference], got: Recomputed) -> None:
        """Count other bits as no difference if another processor answered and they are within the tolerance."""
        if record.processor != self._processor and {d.field for d in found} == {"scores"} and got.scores is not None:
            tolerance = revision.manifest.golden.tolerance if revision.manifest.golden is not None else DEFAULT_TOLERANCE
            recorded = _scores(record)
            if np.allclose(got.scores, recorded, rtol=tolerance, atol=tolerance, equal_nan=True):
                self.report.outcomes[WITHIN_TOLERANCE] += 1
                self.report.other_processors[record.processor] += 1
                self.report.worst = max(self.report.worst, float(np.nanmax(np.abs(got.scores - recorded))))
                return
        self.report.outcomes[DIFFERENT] += 1
        self.report.differences += found

    def _refuse(self, reason: str) -> None:
        self.report.outcomes[NOT_REPLAYABLE] += 1
        self.report.why_not[reason] += 1


def is_needed(revision: LoadedRevision, record: AuditRecord, gone: frozenset[str]) -> bool:
    """Whether the answer depends on a lost column. A model depends on its own columns and tensors, rules on any column."""
    columns = {column for part in revision.assembly for column in part.columns} | revision.inputs.tensors.keys()
    columns |= {revision.unknown.group} if revision.unknown is not None and revision.unknown.group is not None else set()
    if revision.suppressions is not None and not gone.isdisjoint(revision.suppressions.columns):
        return True
    asks_rules = record.source == RULES or (revision.rules is not None and revision.rules.use == "verdict")
    return asks_rules or not gone.isdisjoint(columns)


def differences(revision: LoadedRevision, record: AuditRecord, got: Recomputed) -> list[ReplayDifference]:
    """Where a record and its recomputation differ. Scores are compared by their bits, verdicts with those that the recorded scores give."""
    found: list[ReplayDifference] = []
    if got.outputs is not None:
        pairs = [(name, record.outputs.get(name), digest) for name, digest in got.outputs.items()]
        return [ReplayDifference(record.receipt, None, f"outputs.{name}", old, new) for name, old, new in pairs if old != new]
    if got.scores is None or got.codes is None:
        return found
    recorded, point = _scores(record), record.operating_point
    if recorded.shape != got.scores.shape or len(record.verdicts) != len(got.codes) or point is None:
        recorded_sizes = {"rows": record.rows, "scores": len(recorded), "verdicts": len(record.verdicts)}
        return [ReplayDifference(record.receipt, None, "rows", recorded_sizes, len(got.scores))]
    differ = (recorded.view(np.uint32) != got.scores.view(np.uint32)) & ~(np.isnan(recorded) & np.isnan(got.scores))
    for row in np.flatnonzero(differ).tolist():
        found += [ReplayDifference(record.receipt, row, "scores", float(recorded[row]), float(got.scores[row]))]
    codes = got.codes if record.source == RULES else verdict_codes(recorded, revision.points[point])
    codes = with_ended(codes, got.triage)
    if got.triage is not None and (told := words_of(got.triage)) != list(record.triage):
        found.append(ReplayDifference(record.receipt, None, "triage", list(record.triage), told))
    if revision.unknown is not None and record.source != RULES:
        codes = revision.unknown.codes(codes, recorded, None if got.groups is None else list(got.groups))
    if got.beside is not None:
        codes = raised(codes, got.beside)
    changes = got.suppress(codes)
    suppressed = [SuppressedRow(row, name, VERDICTS[codes[row]]) for row, name, _ in changes]
    codes = changed(codes, changes)
    if suppressed != list(record.suppressed):
        found.append(ReplayDifference(record.receipt, None, "suppressed", *_told(record.suppressed, suppressed)))
    for row, (word, code) in enumerate(zip(record.verdicts, codes.tolist(), strict=True)):
        if word != VERDICTS[code]:
            found.append(ReplayDifference(record.receipt, row, "verdicts", word, VERDICTS[code]))
    matched = [list(ids) for ids in got.matched]
    if record.source != RULES and not any(matched):
        matched = []  # as it is recorded where rules beside a model match nothing
    if matched != record.rules and (record.source == RULES or got.beside is not None):
        none: list[list[str]] = [[]] * record.rows
        rows = zip(record.rules or none, got.matched or none, strict=False)
        found += [ReplayDifference(record.receipt, r, "rules", a, list(b)) for r, (a, b) in enumerate(rows) if a != list(b)]
    return found


def _told(*entries: Sequence[SuppressedRow]) -> list[dict[str, str]]:
    """Suppressed rows in words: row -> id of the suppression and the verdict before it."""
    return [{str(entry.row): f"{entry.id} ({entry.before})" for entry in some} for some in entries]


def _attempts(revision: LoadedRevision, record: AuditRecord) -> Iterator[Recomputed]:
    """Every way in which the record may have been answered. It does not say whether rules saw features, nor which datatype those had."""
    has_fractions = any(_has_fraction(column) for column in record.features.values())
    for width in MODEL_WIDTHS if has_fractions else MODEL_WIDTHS[:1]:
        if record.source == RULES:
            yield recompute_by_rules(revision, record, width, has_features=False)
            if record.features:
                yield recompute_by_rules(revision, record, width, has_features=True)
        elif revision.manifest.score is not None or record.outputs:
            yield from recompute(revision, [record], width)


def _batch_of(revision: LoadedRevision, record: AuditRecord) -> tuple[object, ...] | None:
    """The batch that a record may run in (see `batch_key`); None if it has to be computed alone."""
    if not is_by_row(revision) or record.source == RULES or record.rows > MOST_BATCHED_ROWS:
        return None
    try:
        key = batch_key(record)
        hash(key)
    except _UNFIT:
        return None
    return key


def _has_fraction(column: Any) -> bool:
    return isinstance(column, Sequence) and any(isinstance(value, float) for value in column)


def _scores(record: AuditRecord) -> NDArray[np.float32]:
    return decode_array(record.scores).astype(np.float32) if record.scores else np.zeros(0, np.float32)
