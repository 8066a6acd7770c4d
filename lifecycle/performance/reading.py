"""Reads what this room needs of a model's answers, with their labels: few columns of many rows. Shell."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from lifecycle.governance.archive.place import ArchivePlace
from lifecycle.governance.archive.record_log import RecordChoice, RecordLog
from lifecycle.labels.label import Label, split_event
from lifecycle.monitoring.sequential.binning import text_of
from lifecycle.monitoring.windows.answered import NO_VERDICT, AnsweredRows
from lifecycle.performance.delays import DAY_US
from lifecycle.performance.labelled_rows import RowsWithLabels, labelled_rows, together
from lifecycle.performance.last_words import LastWord, last_words
from serving.audit.encoding import decode_record
from serving.audit.record import AuditRecord

STABLE: Final = "stable"
HISTORY_US: Final = 30 * DAY_US
"""Labels of so long a time say how long labels take."""
BATCH_RECORDS: Final = 2_000


@dataclass(frozen=True, slots=True)
class PerformanceRows:
    """Rows that got a verdict, with their labels. versions, revisions, segments: str of each row, shape (n,); segments: "" without a
    column."""

    rows: RowsWithLabels
    versions: NDArray[np.object_]
    revisions: NDArray[np.object_]
    segments: NDArray[np.object_]

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, which: NDArray[Any]) -> Self:
        """Some of the rows, by mask or place."""
        return type(self)(self.rows.take(which), self.versions[which], self.revisions[which], self.segments[which])


class PerformanceReader:
    """Reads one model's answers and labels. labels: in the order of their log. until_us: what was said later is not known; None: all.

    segment: column whose values are segments. variant: whose answers; the labels of a candidate's rows say nothing of stable."""

    def __init__(
        self,
        log: Path,
        model: str,
        labels: list[Label],
        *,
        archive: ArchivePlace | None = None,
        until_us: int | None = None,
        segment: str | None = None,
        variant: str = STABLE,
    ) -> None:
        self._log, self._model, self._segment, self._variant = RecordLog(log, archive), model, segment, variant
        self._words: Mapping[str, LastWord] = last_words(labels, model, until_us=until_us)
        self._receipts = {split_event(event)[0] for event in self._words}

    def read(self, since_us: int | None, until_us: int | None, *, only_labelled: bool = False) -> PerformanceRows:
        """Rows that were answered in this time (from inclusive, to exclusive), in order of time. Raises OSError, ArchiveError.

        only_labelled: rows with a definite label only, which is many times faster where few are labelled."""
        parts = [self._joined(batch) for batch in self._batches(since_us, until_us, only_labelled=only_labelled)]
        found = self._together(parts)
        order = np.argsort(found.rows.times_us, kind="stable")
        found = found.take(order)
        return found.take(found.rows.is_definite) if only_labelled else found

    def _batches(self, since_us: int | None, until_us: int | None, *, only_labelled: bool) -> Iterator[AnsweredRows]:
        batch: list[AuditRecord] = []
        for line in self._log.chosen(RecordChoice(self._model, None, since_us, until_us)):
            if only_labelled and not self._is_labelled(line):
                continue
            try:
                record = decode_record(line)
            except (ValueError, RecursionError):  # verification names it
                continue
            if record.variant == self._variant and record.is_answer:
                batch.append(record)
            if len(batch) == BATCH_RECORDS:
                yield AnsweredRows.of(self._model, batch)
                batch = []
        yield AnsweredRows.of(self._model, batch)

    def _is_labelled(self, line: bytes) -> bool:
        """By the receipt, which is the first text after its name; a line of another form is decoded."""
        _, found, rest = line.partition(b'"receipt":"')
        receipt, quoted, _ = rest.partition(b'"')
        return not (found and quoted) or receipt.decode("utf-8", "replace") in self._receipts

    def _joined(self, answers: AnsweredRows) -> PerformanceRows:
        has_verdict = answers.verdicts != NO_VERDICT
        answers = answers.take(has_verdict)
        column = answers.columns.get(self._segment) if self._segment is not None else None
        segments = np.full(len(answers), "", dtype=object)
        if column is not None:
            segments[:] = [_segment_name(value) for value in column.tolist()]
        return PerformanceRows(labelled_rows(answers, self._words), answers.versions, answers.revisions, segments)

    def _together(self, parts: list[PerformanceRows]) -> PerformanceRows:
        names = ("versions", "revisions", "segments")
        return PerformanceRows(
            together([part.rows for part in parts]),
            **{name: np.concatenate([getattr(part, name) for part in parts]) for name in names},
        )


def _segment_name(value: object) -> str:
    if isinstance(value, float):
        return "" if isnan(value) else text_of(value)
    return "" if value is None else str(value)
