"""When the events of an Arrow table are known, vectorised."""

from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from serving.batch.data.source import SourceTime
from serving.batch.errors import BatchInputError

NO_TIME: Final = np.iinfo(np.int64).min
"""Stands for a time that is null, text that is no time, or out of range together with its duration."""
_LONGEST_S: Final = 1e9
_FIRST_US: Final = -62_135_596_800_000_000
_END_US: Final = 253_402_300_800_000_000
"""The years 1 to 9999: folders are named by dates. Other times are none."""
_NAIVE: Final = pa.timestamp("us")
_ZONED: Final = pa.timestamp("us", "UTC")
_OFFSET: Final = r"(Z|[+-]\d\d:?\d\d)$"


def event_times_us(table: Any, spec: SourceTime) -> NDArray[np.int64]:
    """Microseconds UTC, shape (n,); NO_TIME where a row has none. table: a pyarrow Table or RecordBatch.

    A column of whole numbers is microseconds since the epoch. Raises BatchInputError for a column of another type."""
    micros = _micros(table[spec.column], spec)
    if spec.duration is not None:
        seconds = _floats(table[spec.duration], spec.duration)
        is_wrong = ~((seconds >= 0) & (seconds <= _LONGEST_S)) | (micros == NO_TIME)
        added = np.round(np.where(is_wrong, 0.0, seconds) * 1e6).astype(np.int64)
        micros = np.where(is_wrong | (micros + added >= _END_US), NO_TIME, micros + added)
    return micros


def _micros(column: Any, spec: SourceTime) -> NDArray[np.int64]:
    kind = column.type
    try:
        if pa.types.is_integer(kind):
            stamps = column.cast(pa.int64())
        else:
            if pa.types.is_string(kind) or pa.types.is_large_string(kind):
                column = _of_text(column, spec)
            elif not pa.types.is_timestamp(kind):
                raise BatchInputError(f"column {spec.column!r} is {kind}, expected timestamps")
            stamps = _in_utc(column, spec).cast(pa.int64())
    except pa.ArrowInvalid as problem:
        raise BatchInputError(f"column {spec.column!r}: {problem}; expected timestamps") from problem
    values = stamps.fill_null(NO_TIME).to_numpy()
    return np.where((values >= _FIRST_US) & (values < _END_US), values, NO_TIME)


def _in_utc(column: Any, spec: SourceTime) -> Any:
    if column.type.tz is None:
        column = pc.assume_timezone(
            column.cast(_NAIVE, safe=False), spec.timezone, ambiguous="earliest", nonexistent="earliest"
        )
    return column.cast(_ZONED, safe=False)


def _of_text(column: Any, spec: SourceTime) -> Any:
    """Timestamps of text, with an offset or without one; text that is no time becomes null and spoils no other."""
    first = column.drop_null()[:1]
    has_offset = len(first) > 0 and bool(pc.match_substring_regex(first, _OFFSET)[0].as_py())
    try:
        return column.cast(_ZONED if has_offset else _NAIVE)
    except pa.ArrowInvalid:
        encoded = pc.dictionary_encode(column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column)
        texts = encoded.dictionary
        is_zoned, nothing = pc.match_substring_regex(texts, _OFFSET), pa.scalar(None, texts.type)
        zoned = _read_times(pc.if_else(is_zoned, texts, nothing), _ZONED)
        naive = _read_times(pc.if_else(is_zoned, nothing, texts), _NAIVE)
        return pc.coalesce(zoned, _in_utc(naive, spec)).take(encoded.indices)


def _read_times(texts: Any, kind: Any) -> Any:
    """Halves of what cannot be read are tried, down to the single values."""
    try:
        return texts.cast(kind)
    except pa.ArrowInvalid:
        half = len(texts) // 2
        return (
            pa.concat_arrays([_read_times(texts[:half], kind), _read_times(texts[half:], kind)]) if half else pa.nulls(1, kind)
        )


def _floats(column: Any, name: str) -> NDArray[np.float64]:
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise BatchInputError(f"column {name!r} is {column.type}, expected seconds")
    values: NDArray[np.float64] = column.cast(pa.float64()).fill_null(np.nan).to_numpy()
    return values
