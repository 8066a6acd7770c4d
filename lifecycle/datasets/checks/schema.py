"""The pandera schema of a detector, and what of a typed frame does not keep to it. The one user of pandera, which takes a second to import.

Types are parsed before, by column_values.py, which training uses too. Here are nulls, ranges, categories, times, lateness, duplicates."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lifecycle.datasets.checks.bad_rows import Rule, cut
from lifecycle.datasets.checks.column_values import FP32, LONGEST_S
from lifecycle.datasets.columns import ColumnSpec
from lifecycle.datasets.detector import Detector

os.environ.setdefault("DISABLE_PANDERA_IMPORT_WARNING", "True")
import pandera.pandas as pa

EVENT_TIME: Final = "(event time)"
"""Column of the event times in a frame that is judged: when a row counts, microseconds UTC, null where it has no time."""
_DUPLICATE: Final = "multiple_fields_uniqueness"
_NULL: Final = "not_nullable"


@dataclass(frozen=True, slots=True)
class Failure:
    """One value, or one row, that does not keep to the schema. position: of the row in the frame. column: as the detector calls it."""

    position: int
    column: str | None
    rule: Rule
    words: str


def schema_of(detector: Detector) -> Any:
    """The pandera schema (DataFrameSchema) of a detector's typed rows."""
    columns = {name: _column(detector, name, spec) for name, spec in detector.source.columns.items()}
    if detector.event_time is not None:
        late = detector.checks.max_lateness_s
        lateness = [] if late is None else [pa.Check(lambda at: _lag_s(at) <= late, name="late", error=_late(late))]
        columns[EVENT_TIME] = pa.Column(None, lateness, nullable=True, required=False)
    names = list(detector.source.columns)
    unique = names if detector.checks.duplicates == "bad" else None
    return pa.DataFrameSchema(columns, unique=unique, report_duplicates="exclude_first", strict=False)


def needs_value(detector: Detector) -> frozenset[str]:
    """Columns in which a null is a fault: the label, the entity's key, the times, request fields without a default."""
    needed = {name for name, field in detector.request_fields.items() if field.default is None} | {detector.label.column}
    if detector.entity:
        needed.add(detector.entity.key)
    if detector.event_time:
        needed |= {detector.event_time.column, *filter(None, [detector.event_time.duration])}
    return frozenset(needed)


def failures(detector: Detector, frame: Any) -> Iterator[Failure]:
    """What of a frame does not keep to the schema. frame: typed columns by the detector's names, index 0..n-1."""
    try:
        schema_of(detector).validate(frame, lazy=True)
    except pa.errors.SchemaErrors as found:
        repeated: set[int] = set()
        cases = found.failure_cases
        for column, check, value, index in zip(
            cases["column"], cases["check"], cases["failure_case"], cases["index"], strict=True
        ):
            if index is None or pd.isna(index):
                raise RuntimeError(f"detector {detector.name!r}: column {column!r}: {check}") from found
            position = int(index)
            if check == _DUPLICATE:
                if position not in repeated:
                    repeated.add(position)
                    yield Failure(position, None, "duplicate", "the row is equal to an earlier one")
            elif check == _NULL:
                yield Failure(position, column, "null", f"column {column!r} has no value")
            else:
                rule, _, words = str(check).partition(": ")
                name = detector.event_time.column if column == EVENT_TIME and detector.event_time else column
                yield Failure(position, name, _RULES[rule], _describe(name, words, value, is_time=column == EVENT_TIME))


_RULES: Final[dict[str, Rule]] = {"range": "range", "category": "category", "late": "late"}


def _describe(column: str, words: str, value: object, *, is_time: bool) -> str:
    return f"column {column!r}: {words}" if is_time else f"column {column!r}: {cut(str(value))!r} {words}"


def _column(detector: Detector, name: str, spec: ColumnSpec) -> Any:
    checks = list(_range_checks(detector, name, spec))
    if spec.values is not None:
        allowed = [str(v) for v in spec.values] if spec.type == "string" else list(spec.values)
        shown = ", ".join(map(str, allowed[:12])) + (", ..." if len(allowed) > 12 else "")
        checks.append(pa.Check.isin(allowed, name="category", error=f"category: is not one of {shown}"))
    return pa.Column(None, checks, nullable=name not in needs_value(detector))


def _range_checks(detector: Detector, name: str, spec: ColumnSpec) -> Iterator[Any]:
    if spec.min is not None:
        yield pa.Check.ge(spec.min, name="range", error=f"range: is below {spec.min:g}")
    if spec.max is not None:
        yield pa.Check.le(spec.max, name="range", error=f"range: is above {spec.max:g}")
    if detector.event_time is not None and name == detector.event_time.duration:
        yield pa.Check.in_range(0, LONGEST_S, error=f"range: is not a duration in seconds (0 to {LONGEST_S:.0e})")
    if spec.type == "float" and name in detector.request_fields:
        yield pa.Check.in_range(
            -FP32, FP32, error=f"range: is infinite or beyond FP32 ({FP32:.3g}), which the model cannot take"
        )


def event_times(detector: Detector, frame: Any) -> Any:
    """When each row counts, float64 microseconds UTC with NaN where its local time does not exist or exists twice; None without times."""
    spec = detector.event_time
    if spec is None:
        return None
    times = frame[spec.column]
    if times.dt.tz is None:
        times = times.dt.tz_localize(ZoneInfo(spec.timezone), ambiguous="NaT", nonexistent="NaT")
    clock = times.dt.tz_convert("UTC").dt.tz_localize(None)
    micros = clock.to_numpy().astype("datetime64[us]").astype(np.int64).astype(np.float64)
    micros[clock.isna().to_numpy()] = np.nan
    if spec.duration is not None:
        micros = micros + pd.to_numeric(frame[spec.duration]).to_numpy(dtype=np.float64) * 1e6
    return pd.Series(micros, index=frame.index)


def _lag_s(at: Any) -> Any:
    """Seconds that each row lies behind the newest event time before it; 0 for the newest."""
    micros: NDArray[np.float64] = at.to_numpy(dtype=np.float64)
    return pd.Series((np.maximum.accumulate(micros) - micros) / 1e6, index=at.index)


def _late(limit_s: float) -> str:
    return f"late: the event is more than {limit_s:g} s behind the newest one before it"
