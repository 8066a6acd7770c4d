"""Which values of a column a rule means: what lifecycle.datasets.data.matches says of the same values. Pure."""

from collections.abc import Callable
from math import isnan
from typing import Any

from numpy.typing import NDArray

from serving.features.windows.spec import ValueKind, ValueMatch

ValueTest = Callable[[NDArray[Any]], list[bool]]
"""A column of shape (n,) -> whether each value matches."""


def matcher(rule: ValueMatch, kind: ValueKind) -> ValueTest:
    """The rule over columns of this kind. Text comes as `bytes`; a value that is None or NaN never matches."""
    if rule.contains is not None:
        return _containing(rule.contains, kind)
    listed = rule.equals if rule.equals is not None else rule.not_equals or ()
    wanted = frozenset(_comparable(value, kind) for value in listed) - {None}
    if rule.equals is not None:
        return lambda column: [value in wanted for value in column.tolist()]
    return lambda column: [value is not None and not _is_nan(value) and value not in wanted for value in column.tolist()]


def _comparable(value: object, kind: ValueKind) -> object:
    """The value as the column holds it; None: no value of the column is equal to it."""
    if kind == "string":
        return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else None
    return None if isinstance(value, str) else value


def _containing(part: str, kind: ValueKind) -> ValueTest:
    if kind == "string":
        raw = part.encode("utf-8", "surrogatepass")
        return lambda column: [value is not None and raw in value for value in column.tolist()]
    return lambda column: [not _is_nan(value) and part in str(value) for value in column.tolist()]


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and isnan(value)
