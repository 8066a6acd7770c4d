"""A file of labelled entities: a column `harmful`, and a column for each kind of signal with its probability or nothing."""

from pathlib import Path

import numpy as np
import pandas as pd

from lifecycle.errors import DataError
from lifecycle.evaluation.risk_weights import LabelledEntities
from serving.risk.signal import KINDS

LABEL = "harmful"


def read_labelled(path: Path) -> LabelledEntities:
    """Read `.jsonl` or `.parquet`. Raises DataError for a file without labels or with probabilities outside of 0 to 1."""
    try:
        frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_json(path, lines=True)
    except (ValueError, pd.errors.ParserError) as problem:
        raise DataError(f"{path}: cannot be read: {problem}; expected .parquet, or JSON lines") from problem
    if LABEL not in frame or frame[LABEL].isna().any():
        raise DataError(f"{path}: expected a column {LABEL!r} with true or false in every row")
    found = {}
    for kind in KINDS:
        if kind not in frame:
            continue
        column = pd.to_numeric(frame[kind], errors="coerce").to_numpy(dtype=np.float64)
        unreadable = np.isnan(column) & frame[kind].notna().to_numpy()
        if unreadable.any() or ((column < 0) | (column > 1)).any():
            row = int(np.flatnonzero(unreadable | (column < 0) | (column > 1))[0])
            raise DataError(f"{path}: row {row}: {kind} is {frame[kind].iloc[row]}, expected a probability or nothing")
        found[kind] = column
    return LabelledEntities(found, frame[LABEL].astype(bool).to_numpy())
