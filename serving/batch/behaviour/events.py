"""Rows of an input as the events of one window."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.batch.behaviour.features import Events
from serving.batch.behaviour.spec import Roles
from serving.batch.data.columns import TypedRows
from serving.batch.scoring.windows import matches


def events_of(
    rows: TypedRows, at_us: NDArray[np.int64], roles: Roles, is_good: NDArray[np.bool_], known: NDArray[np.bool_] | None = None
) -> tuple[Events, NDArray[Any]]:
    """The good events, and the entities' keys by their codes. known: of the good ones, whether the pair was seen before."""
    column: Mapping[str, Any] = rows.columns
    entity, codes = column[roles.entity].numbered()
    keys = np.empty(len(codes), dtype=object)
    for key, code in codes.items():
        keys[code] = key
    peer, port = (_codes(column[name])[is_good] for name in (roles.peer, roles.port))
    events = Events(
        entity[is_good],
        peer,
        port,
        at_us[is_good],
        column[roles.bytes].values[is_good].astype(np.float64),
        column[roles.sent].values[is_good].astype(np.float64),
        matches(column[roles.state].values[is_good], roles.failed),
        known,
    )
    return events, keys


def _codes(typed: Any) -> NDArray[np.int64]:
    codes: NDArray[np.int64] = typed.codes if typed.codes is not None else np.unique(typed.values, return_inverse=True)[1]
    return codes
