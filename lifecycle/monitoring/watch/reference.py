"""The reference of a model's rows: its bundle's sample of training rows, in bins. Reads files of a verified bundle; otherwise pure."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from lifecycle.arrays import Floats
from lifecycle.monitoring.sequential.binning import Bins, NumberBins, TextBins
from lifecycle.monitoring.windows.answered import AnsweredRows
from serving.models.bundle import Bundle
from serving.models.manifest import OperatingPoint
from serving.models.verdicts import verdict_codes

SubjectKind = Literal["number", "text", "score", "verdict"]
FindBundle = Callable[[str, str], Bundle]
"""The bundle of a model and version. Raises NoReference."""
SCORE: Final = "score"
VERDICT: Final = "verdict"
_VERDICTS: Final = 3


class NoReference(Exception):
    """A bundle has nothing to compare with; the message says why, and the way out."""


@dataclass(frozen=True, slots=True)
class VerdictBins:
    """The verdict that the default operating point gives a score: one bin each, and one without a score."""

    point: OperatingPoint

    @property
    def count(self) -> int:
        """How many bins there are."""
        return _VERDICTS + 1

    def bins_of(self, column: NDArray[Any]) -> Bins:
        """The bin of each score, shape (n,)."""
        with np.errstate(over="ignore"):
            scores = column.astype(np.float32)
        return np.where(np.isnan(scores), _VERDICTS, verdict_codes(scores, self.point)).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Subject:
    """One thing that is watched: a column, the score, or the verdict."""

    name: str
    kind: SubjectKind
    bins: NumberBins | TextBins | VerdictBins

    @property
    def is_answer(self) -> bool:
        """Whether it is what the model answers, not what it is asked."""
        return self.kind in ("score", "verdict")


@dataclass(frozen=True, slots=True)
class ModelReference:
    """Subjects of one model, and the counts of their bins in the sample: shape (subjects, bins)."""

    subjects: tuple[Subject, ...]
    counts: NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, int]:
        """(subjects, bins of the one that has most)."""
        return (len(self.subjects), self.counts.shape[1])

    @property
    def is_text(self) -> NDArray[np.bool_]:
        """Which subjects have bins without an order, shape (subjects,)."""
        return np.array([subject.kind in ("text", "verdict") for subject in self.subjects], dtype=bool)

    def bins_of(self, rows: AnsweredRows) -> Bins:
        """The bin of each row and subject, shape (rows, subjects). A column that the rows lack is missing."""
        missing = np.full(len(rows), np.nan)
        found = [
            subject.bins.bins_of(rows.scores if subject.is_answer else rows.columns.get(subject.name, missing))
            for subject in self.subjects
        ]
        return np.stack(found, axis=1) if found else np.zeros((len(rows), 0), dtype=np.int64)


def reference_of(bundle: Bundle) -> ModelReference:
    """The reference of a bundle. Personal columns are left out: the log holds them redacted. Raises NoReference."""
    folder, manifest = bundle.folder / "reference", bundle.manifest
    try:
        sample = json.loads((folder / "sample.json").read_bytes())
        summary = json.loads((folder / "summary.json").read_bytes()) if (folder / "summary.json").exists() else {}
        point = manifest.operating_points.get(manifest.default_operating_point or "")
        return build_reference(sample, summary, point, hidden=manifest.personal)
    except FileNotFoundError:
        raise NoReference(
            f"bundle {manifest.name} version {manifest.version} has no reference/sample.json; train it with `vedette train`, "
            "or compare with its first rows (--baseline ROWS)"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise NoReference(
            f"bundle {manifest.name} version {manifest.version}: its reference cannot be read ({problem}); train it again"
        ) from problem


def build_reference(
    sample: Mapping[str, Any],
    summary: Mapping[str, Any],
    point: OperatingPoint | None,
    *,
    hidden: Mapping[str, Any] | None = None,
) -> ModelReference:
    """The reference of a sample, in bins by the summary of all training rows where there is one.

    sample: {columns: {name: values}, score: values}; summary: {numbers: {name: quantiles}, text: {name: {value: rows}}, score: quantiles},
    both as training writes them. Raises ValueError, KeyError and TypeError where they are not."""
    numbers, texts = summary.get("numbers", {}), summary.get("text", {})
    subjects: list[Subject] = []
    values: list[NDArray[Any]] = []
    for name, column in sample["columns"].items():
        if hidden is not None and name in hidden:
            continue
        if any(isinstance(value, str) for value in column):
            counts = texts.get(name)
            bins: NumberBins | TextBins = TextBins.of(counts) if counts else TextBins.of_sample([str(v) for v in column])
            subjects.append(Subject(name, "text", bins))
            values.append(_objects(column))
        else:
            array = np.array(column, dtype=np.float64)
            subjects.append(Subject(name, "number", _number_bins(numbers.get(name), array)))
            values.append(array)
    scores = np.array(sample.get("score", ()), dtype=np.float64)
    if len(scores):
        subjects.append(Subject(SCORE, "score", _number_bins(summary.get("score"), scores)))
        values.append(scores)
        if point is not None:
            subjects.append(Subject(VERDICT, "verdict", VerdictBins(point)))
            values.append(scores)
    most = max((subject.bins.count for subject in subjects), default=1)
    counted = [np.bincount(s.bins.bins_of(v), minlength=most) for s, v in zip(subjects, values, strict=True)]
    return ModelReference(tuple(subjects), np.array(counted, dtype=np.int64).reshape(len(subjects), most))


def _number_bins(quantiles: Sequence[float] | None, values: Floats) -> NumberBins:
    return NumberBins.of(quantiles) if quantiles else NumberBins.of_sample(values)


def _objects(values: Sequence[Any]) -> NDArray[np.object_]:
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found
