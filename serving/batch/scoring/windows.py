"""The features of entities, counted over the data itself: by the same definition as training's windows (serving.features.windows)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.batch.data.columns import TypedRows
from serving.batch.data.source import SourceAggregate, SourceMatch, SourceWindows
from serving.features.windows.aggregates import Measure, aggregate_by_entity
from serving.features.windows.as_of import AsOfRows


def count_windows(
    rows: TypedRows, at_us: NDArray[np.int64], windows: SourceWindows, is_good: NDArray[np.bool_], after_us: int | None
) -> AsOfRows:
    """Rows of all views, of the events that are good. at_us, is_good: (n,). after_us: earlier rows are not needed."""
    who, codes = rows.columns[windows.key].numbered()
    measures = {name: _measure(rows, spec, is_good) for name, spec in windows.aggregates.items()}
    ticks = aggregate_by_entity(who[is_good], at_us[is_good], measures, windows.views, after_us=after_us)
    return AsOfRows(codes, ticks)


def _measure(rows: TypedRows, spec: SourceAggregate, is_good: NDArray[np.bool_]) -> Measure:
    if spec.column is None:
        return Measure("count", np.zeros(int(is_good.sum())))
    column = rows.columns[spec.column]
    if spec.op == "distinct":
        codes = column.codes if column.codes is not None else np.unique(column.values, return_inverse=True)[1]
        return Measure("distinct", codes[is_good])
    if spec.where is not None:
        return Measure("mean", matches(column.values[is_good], spec.where))
    return Measure(spec.op, column.values[is_good].astype(np.float64))


def matches(values: NDArray[Any], where: SourceMatch) -> NDArray[np.bool_]:
    """Which values a rule means. values: as the model takes them, text as bytes."""
    if values.dtype != object:
        listed = where.equals if where.equals is not None else where.not_equals
        found = np.isin(values, np.array(listed)) if listed is not None else np.zeros(len(values), dtype=np.bool_)
        return ~found if where.not_equals is not None else found
    if where.contains is not None:
        part = where.contains.encode()
        known = {value: part in value for value in set(values.tolist())}
    else:
        texts = {str(value).encode() for value in (where.equals or where.not_equals or ())}
        known = {value: (value in texts) == (where.equals is not None) for value in set(values.tolist())}
    return np.fromiter((known[value] for value in values.tolist()), np.bool_, len(values))
