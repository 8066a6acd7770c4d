"""A detector's data file as a stream of events: what a sensor would have sent, and in which order it would have come.

An event has the request's columns, the columns that windows are counted from, and when it was known. It comes when it was known, later
by the row's lag in its file: the newest start before it, less its own."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lifecycle.datasets.detector import Detector
from lifecycle.errors import DataError
from lifecycle.training.client_rows import sender
from lifecycle.training.example import EVENT_TIME

_AHEAD: Final = 6


@dataclass(frozen=True, slots=True)
class ClientEvent:
    """key: of the entity, as text. comes_s: seconds after the first event. row: its number in the file."""

    key: str
    body: dict[str, Any]
    comes_s: float
    row: int


def client_events(detector: Detector, frame: Any) -> Iterator[ClientEvent]:
    """Every row of a data frame with the source's columns, in the order in which the events come. Raises DataError."""
    if detector.entity is None or detector.event_time is None:
        raise DataError(f"detector {detector.name!r} has no entity or no event time, so its rows are no stream of events")
    columns, time = detector.source.columns, detector.event_time
    start = columns[time.column].source or time.column
    if start not in frame.columns:
        raise DataError(f"the file has no column {start!r}, the detector's event time; it has {list(frame.columns)}")
    send = sender(detector)
    more = {name: columns[name].source or name for name in _counted(detector) if name in columns}
    rows = frame.to_dict("records")
    sent = []
    for number, row in enumerate(rows):
        try:
            body = send({name: _plain(value) for name, value in row.items()})
        except ValueError as problem:
            raise DataError(f"row {number}: {problem}") from problem
        for name, source in more.items():
            body.setdefault(name, _plain(row[source]))
        sent.append(body)
    known = np.array([_micros(body[EVENT_TIME]) for body in sent], np.int64)
    begun = frame[start].to_numpy().astype("datetime64[us]").astype(np.int64)
    comes = known + lag_us(begun)
    order = np.argsort(comes, kind="stable")
    first = int(comes[order[0]]) if len(order) else 0
    key = detector.entity.key
    for at in order.tolist():
        body = sent[at]
        body[EVENT_TIME] = f"{np.datetime64(int(known[at]), 'us')}Z"
        yield ClientEvent(str(body[key]), body, (int(comes[at]) - first) / 1e6, at)


def lag_us(begun: NDArray[np.int64]) -> NDArray[np.int64]:
    """How late each row stands in its file: the newest start up to it, less its own. Same unit as `begun`.

    A row that stands a sixth of the file or more before its place in time is no measure of how far the file has come: a recorder may write
    some rows of the whole capture first.

    >>> lag_us(np.array([1, 5, 3, 6])).tolist()
    [0, 0, 2, 0]
    >>> lag_us(np.array([90, 1, 2, 3, 5, 4, 6, 7])).tolist()
    [0, 0, 0, 0, 0, 1, 0, 0]
    """
    rows = len(begun)
    if not rows:
        return begun
    place = np.empty(rows, np.int64)
    place[np.argsort(begun, kind="stable")] = np.arange(rows)
    is_ahead = place - np.arange(rows) > max(1, rows // _AHEAD)
    newest = np.maximum.accumulate(np.where(is_ahead, begun.min(), begun))
    return np.asarray(np.maximum(newest - begun, 0), np.int64)


def _counted(detector: Detector) -> list[str]:
    """Columns that the detector's windows are counted from."""
    aggregates = detector.features.aggregates if detector.features is not None else {}
    return [str(a.column) for a in aggregates.values() if a.column is not None]


def _micros(moment: datetime) -> int:
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _plain(value: Any) -> Any:
    """A value of a data frame as one of Python; a null as None."""
    if value is None or value != value:  # noqa: PLR0124 - NaN and NaT
        return None
    if hasattr(value, "to_pydatetime"):
        return value.to_pydatetime()
    return value.item() if hasattr(value, "item") else value
