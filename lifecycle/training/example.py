"""An example request for newcomers: events of a few entities, attacks and benign, as the protocol's JSON. Pure."""

import json
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lifecycle.datasets.data import Dataset
from lifecycle.datasets.datatypes import DATATYPES
from lifecycle.datasets.detector import Detector

EVENT_TIME: Final = "event_time"
"""The optional input that says when the event happened; without it features are read as of now."""
ROWS: Final = 4
SECOND_US: Final = 1_000_000
RECENT_US: Final = 60 * SECOND_US


def example_request(detector: Detector, data: Dataset, scores: NDArray[np.float32]) -> bytes:
    """Half of the rows are attacks, if possible of different entities. scores: of every row, shape (n,).

    The online store holds an entity's newest features only, so an event from its last minute is asked about, as of its end."""
    rows, ends = _telling_rows(detector, data, scores)
    fields = [*([detector.entity.key] if detector.entity and detector.features else []), *detector.request_fields]
    types = detector.source.columns
    inputs = [_tensor(name, DATATYPES[types[name].type], data.frame[name].iloc[rows].tolist()) for name in fields]
    if data.at_us is not None and detector.features:
        ticks = -(-ends // SECOND_US) * SECOND_US  # by then the entity's newest features are in the store
        inputs.append(_tensor(EVENT_TIME, "INT64", [int(t) for t in ticks]))
    return (json.dumps({"inputs": inputs}, indent=1) + "\n").encode()


def _tensor(name: str, datatype: str, values: list[Any]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": [len(values)], "data": values}


def _telling_rows(detector: Detector, data: Dataset, scores: NDArray[np.float32]) -> tuple[list[int], NDArray[np.int64]]:
    """The clearest attacks and the clearest verified benign rows, and when the last event of each one's entity was."""
    n = len(data)
    owner = (
        data.frame[detector.entity.key].astype(str).to_numpy(dtype=object) if detector.entity else np.arange(n).astype(object)
    )
    _, which = np.unique(owner.astype(str), return_inverse=True)
    at = data.at_us if data.at_us is not None else np.zeros(n, dtype=np.int64)
    end = np.full(which.max() + 1, np.iinfo(np.int64).min)
    np.maximum.at(end, which, at)
    recent = at > end[which] - RECENT_US
    chosen: list[int] = []
    for mask, sign in ((data.attack, -1.0), (data.verified & ~data.attack, 1.0)):
        candidates = np.flatnonzero(mask & recent)
        ranked = candidates[np.argsort(sign * scores[candidates], kind="stable")]
        first = ranked[np.sort(np.unique(which[ranked], return_index=True)[1])]  # one row of an entity
        chosen += [int(row) for row in first[: ROWS // 2]]
    return chosen, np.asarray(end[which[chosen]], dtype=np.int64)
