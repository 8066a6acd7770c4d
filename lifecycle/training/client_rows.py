"""A row of a detector's own source, as a client would send it: renamed, with defaults, with the time of its event. Pure.

Training does the same for whole files (data.py); this is for scoring rows as they come."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from feature_repo.transforms import parse_port
from lifecycle.datasets.detector import Detector
from lifecycle.training.example import EVENT_TIME

Row = Mapping[str, Any]


def sender(detector: Detector) -> Callable[[Row], dict[str, Any]]:
    """A function from a source row to request columns (keys, request fields, event_time where features are used).

    It raises ValueError for a row whose time cannot be read; the reader of columns refuses other wrong values."""
    columns = detector.source.columns
    names = [*([detector.entity.key] if detector.entity else []), *detector.request_fields]
    source = {name: columns[name].source or name for name in names}
    ports = {name for name in names if columns[name].type == "port"}
    defaults = {name: f.default for name, f in detector.request_fields.items()}

    def send(row: Row) -> dict[str, Any]:
        sent = {}
        for name in names:
            value = row.get(source[name])
            if name in ports:
                value = parse_port(None if value is None else str(value))
            sent[name] = defaults.get(name) if value is None else value
        moment = _moment(detector, row)
        return sent if moment is None else {**sent, EVENT_TIME: moment}

    return send


def is_source_row(detector: Detector, row: Row) -> bool:
    """Whether a row has the source's column names where they differ from the request's; a row may lack some of them."""
    columns = detector.source.columns
    renamed = {name: source for name in detector.request_fields if (source := columns[name].source) is not None}
    found = sum(source in row for source in renamed.values())
    return found > 0 and (found == len(renamed) or not any(name in row for name in renamed))


def _moment(detector: Detector, row: Row) -> datetime | None:
    spec = detector.event_time
    if spec is None or detector.features is None:
        return None
    column = detector.source.columns[spec.column].source or spec.column
    value = row.get(column)
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        moment = None
    if not isinstance(moment, datetime):
        raise ValueError(f"column {column!r} is {value!r:.60}, expected a time")
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=ZoneInfo(spec.timezone))
    if spec.duration is not None:
        duration_s = row.get(detector.source.columns[spec.duration].source or spec.duration)
        if isinstance(duration_s, bool) or not isinstance(duration_s, int | float):
            raise ValueError(f"column {spec.duration!r} is {duration_s!r:.60}, expected seconds")
        try:
            moment = moment.astimezone(UTC) + timedelta(seconds=duration_s)
        except (ValueError, OverflowError) as problem:
            raise ValueError(f"column {spec.duration!r} is {duration_s!r:.60}: no such time ({problem})") from problem
    return moment
