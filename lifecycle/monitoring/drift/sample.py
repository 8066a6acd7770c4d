"""The compared samples: the reference and the window, with scores, verdicts and labels as far as they are known."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class DriftSample:
    """Rows to compare. Arrays have shape (n,)."""

    words: str
    """What the rows are: "1,000 training rows of the bundle"."""
    columns: Mapping[str, NDArray[Any]]
    """Numbers as float64 with NaN for missing; text as objects, str or None."""
    scores: NDArray[np.float64] | None = None
    """NaN where a row has none."""
    verdicts: NDArray[np.object_] | None = None
    """Words."""
    attack: NDArray[np.float64] | None = None
    """Labels: 1 attack, 0 benign, NaN without a label."""
    covered: NDArray[np.float64] | None = None
    """Whether the row's conformal set holds its class: 1, 0, NaN without a label."""
    set_error: float | None = None
    """How often a conformal set may miss the class, as the bundle promises."""
    notes: tuple[str, ...] = field(default=())
    withheld: frozenset[str] = frozenset()
    """Columns whose values are not shown here, as the log holds them redacted; that they are missing says nothing."""
    labelled: "DriftSample | None" = None
    """Where the rows are drawn from more: all rows with a label, for what is asked of labels. They are not like the others."""
    unseen: "DriftSample | None" = None
    """Other rows, with scores, verdicts and labels but no columns, that answers are compared with instead: those of the model on rows that
    it was not fitted on."""

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def take(self, which: NDArray[Any]) -> "DriftSample":
        """Some of the rows, by mask or place."""
        arrays = {f.name: value[which] for f in fields(self) if isinstance(value := getattr(self, f.name), np.ndarray)}
        return replace(self, columns={name: column[which] for name, column in self.columns.items()}, **arrays)
