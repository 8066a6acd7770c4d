"""The rows of the prediction log that fairness is judged on: entity, verdict, and the label if an analyst gave one."""

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lifecycle.arrays import Mask
from lifecycle.evaluation.fairness.disparity import SegmentedRows
from lifecycle.evaluation.fairness.segment_rows import segments_of
from serving.audit.encoding import decode_array, decode_record
from serving.audit.personal.redaction import reveal
from serving.audit.personal.subject_keys import SubjectKeys
from serving.audit.record import AuditRecord
from serving.segments.mapping import SegmentMap

_ROW: Final = re.compile(r"[0-9]{1,9}")
_NOBODY: Final = "\x00"
"""First character of the name of an unknown entity. No key contains it, so no mapping does."""


class LabelError(ValueError):
    """A file of labels is not valid; the message says which line, and what is expected."""


Labels = Mapping[tuple[str, int], bool]
"""(receipt, row of the request) -> whether it was an attack."""


@dataclass(frozen=True, slots=True)
class SegmentedAnswers:
    """The rows that got a verdict, as arrays of shape (n,).

    entity: names, str. alert: the verdict was alert. labelled: the row has a label. attack: its label says attack. without_entity: how
    many rows name no entity, or one that cannot be read."""

    entity: NDArray[np.object_]
    alert: Mask
    labelled: Mask
    attack: Mask
    without_entity: int

    def segmented(self, mapping: SegmentMap) -> SegmentedRows:
        """The rows with the segments that the mapping gives their entities."""
        benign = self.labelled & ~self.attack
        return SegmentedRows(self.alert, benign, self.labelled & self.attack, self.entity, segments_of(mapping, self.entity))


def read_labels(path: Path) -> Labels:
    """Read analysts' labels: CSV with the columns receipt, row (from 0) and label (attack or benign). Raises LabelError, OSError."""
    found: dict[tuple[str, int], bool] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            for number, line in enumerate(csv.DictReader(lines), 2):
                receipt, row, label = (line.get(name) for name in ("receipt", "row", "label"))
                if not receipt or label not in ("attack", "benign") or not _ROW.fullmatch(row or "0"):
                    raise LabelError(
                        f"{path}, line {number}: is not a label; "
                        "write `receipt,row,label` above and e.g. `a1b2-3f,0,benign` (attack or benign)"
                    )
                found[receipt, int(row or 0)] = label == "attack"
    except (UnicodeDecodeError, csv.Error) as problem:
        raise LabelError(
            f"{path}: is not CSV in UTF-8 ({problem}); write the header `receipt,row,label` and one label per line"
        ) from problem
    return found


def answered_rows(lines: Iterable[bytes], key: str | None, keys: SubjectKeys, labels: Labels) -> SegmentedAnswers:
    """Every row that got a verdict.

    lines: of the log. key: the column of the entity, or None. keys: decrypt personal values. A line that is not a whole record is
    skipped: verification names it."""
    entities: list[str] = []
    alerts: list[bool] = []
    known: list[bool | None] = []
    without = 0
    for line in lines:
        try:
            record = decode_record(line)
            names = _entities(record, key, keys) if record.verdicts else None
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
        rows = len(record.verdicts) if record.is_answer else 0
        numbers = range(rows) if record.row_numbers is None else decode_array(record.row_numbers).tolist()
        if not rows or len(numbers) != rows or (names is not None and len(names) != rows):
            continue
        if names is None:
            without += rows
            names = [f"{_NOBODY}{record.receipt}/{i}" for i in range(rows)]
        entities += names
        alerts += [verdict == "alert" for verdict in record.verdicts]
        known += [labels.get((record.receipt, int(number))) for number in numbers]
    return SegmentedAnswers(
        np.array(entities, dtype=object),
        np.array(alerts, dtype=bool),
        np.array([k is not None for k in known], dtype=bool),
        np.array([bool(k) for k in known], dtype=bool),
        without,
    )


def _entities(record: AuditRecord, key: str | None, keys: SubjectKeys) -> list[str] | None:
    """The entity of each row; None if the record does not name them or they cannot be read."""
    if key is None or key not in record.inputs:
        return None
    shown, gone = reveal(record, keys)
    if key in gone:
        return None
    values = decode_array(shown.inputs[key]).reshape(-1).tolist()
    return [v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in values]
