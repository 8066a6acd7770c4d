"""Rows that no bundle of a detector was trained on: its test file, or the part that its declared split takes off."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from lifecycle.datasets.data import Dataset
from lifecycle.datasets.detector import Detector
from lifecycle.datasets.split import split
from lifecycle.errors import EvaluationError
from lifecycle.training.features import FeatureStore, with_features


@dataclass(frozen=True, slots=True)
class HeldOutRows:
    """Rows and their columns, features joined. source: `test file` or `split`. data_digest: of the rows that were split; None of a file."""

    rows: Dataset
    frame: Any
    source: str
    data_digest: str | None


def judged_rows(detector: Detector, test: Dataset) -> Dataset:
    """The rows of a test file that are judged: all, or those that are verified where the detector ignores the others."""
    return test if detector.label.others == "unverified" else test.take(test.verified)


def held_out(detector: Detector, data: Dataset | None, test: Dataset | None, store: FeatureStore) -> HeldOutRows:
    """The rows. data: what was trained on, needed without a test file. Raises TrainingError, EvaluationError."""
    if test is not None:
        rows = judged_rows(detector, test)
        return HeldOutRows(rows, with_features(detector, rows, store)[0], "test file", None)
    if data is None:
        raise EvaluationError(f"detector {detector.name!r} has neither rows to split nor a test file; give --data or --test")
    detector = detector.for_generated_rows() if data.is_generated else detector  # as in training
    chosen = split(detector, data, with_test=True).test
    if not chosen.any():
        raise EvaluationError(
            f"the split of detector {detector.name!r} sets no test rows aside (split.test is 0); give --test FILE"
        )
    frame = with_features(detector, data, store)[0].iloc[np.flatnonzero(chosen)]
    return HeldOutRows(data.take(chosen), frame, "split", data.digest)
