"""A request that a newcomer can send: the last events of a few entities, attacks and benign, as the protocol's JSON. Pure."""

import json
from typing import Any, Final

import numpy as np

from lifecycle.training.data import Dataset
from lifecycle.training.detector import Detector
from lifecycle.training.features import DATATYPES

EVENT_TIME: Final = "event_time"
"""The optional input that says when the event happened; without it features are judged as of now."""
ROWS: Final = 4
SECOND_US: Final = 1_000_000


def example_request(detector: Detector, data: Dataset) -> bytes:
    """Half of the rows are attacks. With an event time, features are read as of that time, not as of now."""
    rows = _last_of_entities(detector, data)
    fields = [*([detector.entity.key] if detector.entity and detector.features else []), *detector.request_fields]
    types = detector.source.columns
    inputs = [_tensor(name, DATATYPES[types[name].type], data.frame[name].iloc[rows].tolist()) for name in fields]
    if data.at_us is not None and detector.features:
        ticks = -(-data.at_us[rows] // SECOND_US) * SECOND_US  # by then the entity's newest features are in the store
        inputs.append(_tensor(EVENT_TIME, "INT64", [int(t) for t in ticks]))
    return (json.dumps({"inputs": inputs}, indent=1) + "\n").encode()


def _tensor(name: str, datatype: str, values: list[Any]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": [len(values)], "data": values}


def _last_of_entities(detector: Detector, data: Dataset) -> list[int]:
    """The online store holds an entity's newest features, so its last event is the one they are right for."""
    last = np.ones(len(data), dtype=bool)
    if detector.entity:
        last = ~data.frame[detector.entity.key].duplicated(keep="last").to_numpy()
    of_class = [np.flatnonzero(last & mask)[-ROWS // 2 :] for mask in (data.attack, data.verified & ~data.attack)]
    return [int(row) for rows in of_class for row in rows]
