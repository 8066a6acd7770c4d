"""Answered rows with what analysts said of them. Pure.

A row counts if its label is sure enough and says attack or benign, if it was answered whole, and if the log has every column that the
model takes. The others are counted by reason, never guessed."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from lifecycle.arrays import Floats, Mask
from lifecycle.labels.label import Label
from lifecycle.monitoring.windows.answered import AnsweredRows
from serving.models.manifest import Manifest
from serving.models.verdicts import VERDICTS

ALERT: Final = VERDICTS.index("alert")
UNSURE: Final = "the label is not sure"
DEGRADED: Final = "answered degraded"
INCOMPLETE: Final = "a column of the model is missing in the record"
NO_ANSWER: Final = "no record of the answer is kept"


@dataclass(frozen=True, slots=True)
class LabelledAnswers:
    """Labelled rows in order of their answers, arrays of shape (n,). columns: those of the model, of its entity and of its segments.

    family: what the analyst calls the attack, "" where it is not said. inclusion: NaN where it is not known. was_alert: the model alerted.
    given_us: when the label was given. left_out: why labels are not among the rows, and how many."""

    events: NDArray[np.object_]
    times_us: NDArray[np.int64]
    given_us: NDArray[np.int64]
    attack: Mask
    family: NDArray[np.object_]
    inclusion: Floats
    was_alert: Mask
    columns: Mapping[str, NDArray[Any]]
    left_out: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.events)

    def take(self, rows: NDArray[Any]) -> Self:
        """Some of the rows, by mask or place."""
        return replace(
            self, events=self.events[rows], times_us=self.times_us[rows], given_us=self.given_us[rows], attack=self.attack[rows],
            family=self.family[rows], inclusion=self.inclusion[rows], was_alert=self.was_alert[rows],
            columns={name: values[rows] for name, values in self.columns.items()},
        )  # fmt: skip


def labelled_rows(
    answers: AnsweredRows,
    labels: Mapping[str, Label],
    manifest: Manifest,
    *,
    min_sureness: float,
    since_us: int,
    most_rows: int,
    optional: Sequence[str] = (),
) -> LabelledAnswers:
    """The rows that labels speak of. since_us: the oldest answer that counts. most_rows: the newest are taken.

    optional: further columns that are kept where the log has them, such as the entity's key."""
    needed = sorted({column for part in manifest.assembly for column in part.columns})
    columns = _columns(answers, manifest)
    first = _first_answer(answers, labels)
    left_out = Counter({NO_ANSWER: len(labels) - len(first)})
    kept = []
    for row in sorted(first.values()):
        label = labels[answers.events[row]]
        if answers.times_us[row] < since_us:
            continue
        if label.verdict == "unsure" or label.sureness < min_sureness:
            left_out[UNSURE] += 1
        elif answers.degraded[row]:
            left_out[DEGRADED] += 1
        elif not all(_is_there(columns.get(name), row) for name in needed):
            left_out[INCOMPLETE] += 1
        else:
            kept.append(row)
    rows = np.array(kept[-most_rows:], dtype=np.int64)
    given = [labels[answers.events[row]] for row in rows.tolist()]
    names = [*needed, *(name for name in optional if name in columns and name not in needed)]
    return LabelledAnswers(
        events=answers.events[rows],
        times_us=answers.times_us[rows],
        given_us=np.array([label.time_us for label in given], dtype=np.int64),
        attack=np.array([label.verdict == "attack" for label in given], dtype=np.bool_),
        family=_objects([label.family or "" for label in given]),
        inclusion=np.array([np.nan if label.inclusion is None else label.inclusion for label in given], dtype=np.float64),
        was_alert=answers.verdicts[rows] == ALERT,
        columns={name: columns[name][rows] for name in names},
        left_out={why: count for why, count in left_out.items() if count},
    )


def _first_answer(answers: AnsweredRows, labels: Mapping[str, Label]) -> dict[str, int]:
    """Event -> its row. Where several variants answered, that of stable: clients had its answer."""
    found: dict[str, int] = {}
    for row, event in enumerate(answers.events.tolist()):
        if event in labels and (event not in found or answers.variants[row] == "stable"):
            found[event] = row
    return found


def _columns(answers: AnsweredRows, manifest: Manifest) -> dict[str, NDArray[Any]]:
    """Columns by name; those that a client sent as whole tensors, by the bundle's assembly."""
    found = dict(answers.columns)
    for part in manifest.assembly:
        for place, column in enumerate(part.columns):
            sent = answers.columns.get(part.tensor if len(part.columns) == 1 else f"{part.tensor}[{place}]")
            if sent is None or part.tensor == column:
                continue
            found[column] = sent if column not in found else _filled(found[column], sent)
    return found


def _filled(values: NDArray[Any], others: NDArray[Any]) -> NDArray[Any]:
    """values; where one is missing, the other's."""
    if values.dtype != others.dtype:
        return values
    missing = np.array([v is None for v in values.tolist()]) if values.dtype == object else np.isnan(values)
    return np.where(missing, others, values)


def _is_there(column: NDArray[Any] | None, row: int) -> bool:
    if column is None:
        return False
    value = column[row]
    return value is not None and (isinstance(value, str) or bool(np.isfinite(value)))


def _objects(values: Sequence[str]) -> NDArray[np.object_]:
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found
