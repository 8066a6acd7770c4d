"""The columns of one record of the prediction log: name -> one value a row. Pure.

Text is `str`, everything else a number; None stands where a value is missing, redacted, or encrypted and not opened. A tensor of several
numbers a row becomes a column for each of them: `NAME[0]`, `NAME[1]`, ..."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from serving.audit.encoding import decode_array
from serving.audit.record import AuditRecord

MOST_TENSOR_COLUMNS: Final = 4096
"""A tensor with more numbers a row is an image or a text, not columns; it is left out."""
Value = float | str | None


def columns_of(record: AuditRecord) -> dict[str, list[Value]]:
    """Inputs and features, each with record.rows values. A field of another length has none. A feature precedes an input."""
    found: dict[str, list[Value]] = {}
    for name, field in (*record.inputs.items(), *record.features.items()):
        found.update(_columns(name, field, record.rows))
    return found


def scores_of_record(record: AuditRecord) -> list[float]:
    """The score of each row; NaN where there is none."""
    values = record.scores
    numbers = decode_array(values).tolist() if isinstance(values, Mapping) else list(values)
    found = [math.nan if value is None else float(value) for value in numbers]
    return found if len(found) == record.rows else [math.nan] * record.rows


def _columns(name: str, field: Any, rows: int) -> Iterator[tuple[str, list[Value]]]:
    is_tensor = isinstance(field, Mapping)
    if is_tensor and "redacted" in field:
        if math.prod(field["shape"]) == rows:
            yield name, [None] * rows
        return
    values = field.get("data") if is_tensor else field
    if values is None:
        values = decode_array(field).reshape(-1).tolist()
    width, rest = divmod(len(values), rows) if rows else (0, 1)
    if rest or not 1 <= width <= MOST_TENSOR_COLUMNS:
        return
    plain = [_value(value) for value in values]
    if width == 1:
        yield name, plain
        return
    for place in range(width):
        yield f"{name}[{place}]", plain[place::width]


def _value(value: Any) -> Value:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, Mapping):
        if "base64" not in value:
            return None  # encrypted
        bytes_of = decode_array([value])[0]
        return str(bytes_of.decode("utf-8", "replace"))
    return None if value is None else float(value)
