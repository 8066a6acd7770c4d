"""Answers of several classes against the truth: a confusion matrix, figures of each class, macro and micro averages. Pure.

A figure of one class is undefined where nothing was counted. An average counts it as 0, as scikit-learn does."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lifecycle.arrays import Floats
from lifecycle.metrics.intervals import Interval, wilson


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """One class. support: rows that are of it; answers: rows that were said to be. Intervals take rows as independent."""

    name: str
    support: int
    answers: int
    hits: int

    @property
    def precision(self) -> Interval:
        """Share of the answers that are right."""
        return wilson(self.hits, self.answers)

    @property
    def recall(self) -> Interval:
        """Share of the class that is found."""
        return wilson(self.hits, self.support)

    @property
    def f1(self) -> float | None:
        """Harmonic mean of the two."""
        whole = self.support + self.answers
        return 2 * self.hits / whole if whole else None


@dataclass(frozen=True, slots=True)
class Averages:
    """Precision, recall and F1 over several classes; of one class they may be undefined."""

    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True, slots=True)
class ConfusionMatrix:
    """counts[i, j]: rows of class i that were answered as class j. classes: names in order."""

    classes: tuple[str, ...]
    counts: NDArray[np.int64]

    def figures(self) -> tuple[ClassFigures, ...]:
        """Of every class."""
        return tuple(
            ClassFigures(name, int(self.counts[i].sum()), int(self.counts[:, i].sum()), int(self.counts[i, i]))
            for i, name in enumerate(self.classes)
        )

    def accuracy(self) -> Interval:
        """Share of the rows that were answered right."""
        return wilson(int(np.trace(self.counts)), int(self.counts.sum()))

    def macro(self, of: Sequence[str] | None = None) -> Averages:
        """Every class counts the same. of: over these classes only."""
        return Averages(*averages(self.counts[None].astype(np.float64), self._places(of))[0][0].tolist())

    def micro(self, of: Sequence[str] | None = None) -> Averages:
        """Every row counts the same. of: over these classes only; over all of them it is the accuracy."""
        return Averages(*averages(self.counts[None].astype(np.float64), self._places(of))[1][0].tolist())

    def _places(self, of: Sequence[str] | None) -> list[int]:
        return [i for i, name in enumerate(self.classes) if of is None or name in of]


def averages(counts: Floats, of: Sequence[int]) -> tuple[Floats, Floats]:
    """(macro, micro) precision, recall and F1 of many matrices. counts: shape (b, k, k); of: places of classes; each result (b, 3)."""
    places = list(of)
    hits = np.diagonal(counts, axis1=1, axis2=2)[:, places]
    answers, support = counts.sum(axis=1)[:, places], counts.sum(axis=2)[:, places]
    macro = [_or_zero(hits, answers), _or_zero(hits, support), _or_zero(2 * hits, answers + support)]
    hits, answers, support = (values.sum(axis=1) for values in (hits, answers, support))
    micro = [_or_zero(hits, answers), _or_zero(hits, support), _or_zero(2 * hits, answers + support)]
    return np.stack([m.mean(axis=1) for m in macro], axis=1), np.stack(micro, axis=1)


def _or_zero(part: Floats, whole: Floats) -> Floats:
    return np.asarray(np.divide(part, whole, out=np.zeros_like(part), where=whole > 0), dtype=np.float64)


def confusion_matrix(truth: NDArray[np.object_], answer: NDArray[np.object_], classes: Sequence[str]) -> ConfusionMatrix:
    """Count. truth, answer: names, shape (n,). Raises ValueError for a name that is no class."""
    place = {name: i for i, name in enumerate(classes)}
    if strange := sorted({*truth.tolist(), *answer.tolist()} - place.keys()):
        raise ValueError(f"{strange} are not among the classes {list(classes)}")
    rows, columns = (np.array([place[v] for v in values.tolist()], dtype=np.int64) for values in (truth, answer))
    counts = np.bincount(rows * len(place) + columns, minlength=len(place) ** 2).reshape(len(place), len(place))
    return ConfusionMatrix(tuple(classes), counts.astype(np.int64))
