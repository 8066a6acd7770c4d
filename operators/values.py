"""What every resource and spec of the control plane is made of: frozen values, durations, and what is wrong with one, in words.

Pure. Values exist only if they are valid; they are camelCase outside. The rules themselves are those of each spec."""

import json
import math
import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Annotated, Any, Final, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
)
from pydantic.alias_generators import to_camel

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
DURATION = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+$"
"""How a duration is written, as a regular expression."""


LONGEST: Final = timedelta(days=36500)
"""A duration is added to a date, and the calendar ends with the year 9999."""


def parse_duration(value: object) -> timedelta:
    """`1h30m`, `90s`, `250ms`, or a number of seconds. Raises ValueError."""
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
    elif isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf:
        seconds = float(value) if value <= LONGEST.total_seconds() else math.inf
    elif isinstance(value, str) and re.fullmatch(DURATION, value):
        seconds = sum(float(n) * _UNITS[u] for n, _, u in re.findall(r"([0-9]+(\.[0-9]+)?)(ms|s|m|h|d)", value))
    else:
        raise ValueError(f"is {value!r}, expected a duration; write e.g. 30s or 5m")
    if seconds > LONGEST.total_seconds():
        raise ValueError(f"is {value!r}, expected at most {format_duration(LONGEST)}; write e.g. 30s or 5m")
    return value if isinstance(value, timedelta) else timedelta(seconds=seconds)


def format_duration(value: timedelta) -> str:
    """The shortest text that `parse_duration` reads back."""
    seconds = value.total_seconds()
    if seconds != int(seconds):
        return f"{round(seconds * 1000)}ms"
    whole, parts = int(seconds), []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        if whole >= size:
            parts.append(f"{whole // size}{unit}")
            whole %= size
    return "".join(parts) or "0s"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": DURATION, "maxLength": 32}),
]


class RuleBroken(ValueError):
    """A rule that a value breaks: what is wrong, and the way out. path: the part to blame, below the value."""

    def __init__(self, message: str, *path: str | int) -> None:
        super().__init__(message)
        self.path = path


def explained(expected: str, way_out: str) -> WrapValidator:
    """Says what a field expects, and the way out, in place of pydantic's own message."""

    def check(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
        try:
            return read(value)
        except ValidationError as problem:
            given = f"{value:g}" if isinstance(value, float) else value
            raise RuleBroken(f"is {given}, expected {expected}; {way_out}") from problem

    return WrapValidator(check)


def quoted(names: Iterable[str]) -> str:
    """Names as the API server shows a list of them: `["a", "b"]`."""
    return json.dumps(list(names))


class Value(BaseModel):
    """A frozen value, camelCase outside."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,  # JSON has no such numbers: what is written could not be read again
    )

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with these fields changed. Raises TypeError for a name that is not a field, which pydantic would take in silence."""
        strangers = sorted((update or {}).keys() - type(self).model_fields.keys())
        if strangers:
            raise TypeError(f"{type(self).__name__} has no field {', '.join(strangers)}")
        return super().model_copy(update=update, deep=deep)


def blamed(error: Mapping[str, Any]) -> tuple[str | int, ...]:
    """The place of one of a ValidationError's errors: the value's, and the part that its rule blames."""
    rule = error.get("ctx", {}).get("error")
    return (*error["loc"], *(rule.path if isinstance(rule, RuleBroken) else ()))


def words(problem: ValidationError, root: str = "") -> list[str]:
    """A ValidationError as lines of `path: what; the way out`, in the words of the file that was written."""
    lines = []
    for error in problem.errors(include_url=False):
        path = root
        for part in blamed(error):
            path += f"[{part}]" if isinstance(part, int) else (f".{part}" if path else str(part))
        message = str(error["msg"]).removeprefix("Value error, ")
        given = error.get("input")
        shown = f" (is {given!r})" if isinstance(given, str | int | float | bool) and str(given) not in message else ""
        lines.append(f"{path or 'spec'}: {message}{shown}")
    return lines
