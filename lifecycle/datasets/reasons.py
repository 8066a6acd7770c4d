"""Words for explanations, as a detector file declares them, and the templates that its bundle carries.

Filling the templates in is serving.explanations.words.reasons'."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from lifecycle.errors import DetectorError
from serving.models.manifest import ExplainSpec, ReasonTemplate

_SECONDS: Final = "{seconds}"
_WINDOW: Final = "{window}"


def _as_texts(value: Any) -> Any:
    return {str(key): word for key, word in value.items()} if isinstance(value, Mapping) else value


Words = Annotated[Mapping[str, str], BeforeValidator(_as_texts)]


class ReasonDeclaration(BaseModel):
    """What an analyst reads of a column, or of one column in every window (`host_*s__flows`)."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    code: Annotated[str, Field(min_length=1, max_length=64)]
    """For programs: capitals, digits and `_`. `{seconds}` is the window's length."""
    text: Annotated[str, Field(min_length=1, max_length=400)]
    """A sentence without its full stop. `{value}`, `{unit}`, `{percentile}` and `{column}` are filled in when an answer is explained,
    `{window}` (`60 s`, `10 min`) is the window. How the value compares with the training rows is added, unless the text has
    `{percentile}`."""
    unit: str = ""
    """What the value counts, e.g. `bytes`; with `share` a value of 0..1 is written as a percentage."""
    words: Words = {}
    """Value -> word, for a column of codes: `1: tcp`."""
    bits: Words = {}
    """Bit -> word, for a column of flags: `1: FIN, 2: SYN`."""

    @model_validator(mode="after")
    def _fillable(self) -> "ReasonDeclaration":
        try:
            _template(self, 60)
        except ValidationError as problem:
            raise ValueError("; ".join(str(e["msg"]).removeprefix("Value error, ") for e in problem.errors())) from problem
        return self


def explain_spec(declared: Mapping[str, ReasonDeclaration], columns: Sequence[str]) -> ExplainSpec | None:
    """The templates of a model's columns; None if nothing is declared. A column's own name goes before a pattern that fits it.

    Raises DetectorError for a name or pattern that fits no column."""
    if not declared:
        return None
    reasons: dict[str, ReasonTemplate] = {}
    for name, reason in sorted(declared.items(), key=lambda item: "*" in item[0]):
        found = {column: seconds for column in columns if (seconds := _seconds(name, column)) is not None}
        if not found:
            raise DetectorError(
                f"reasons names column {name!r}, which is not an input of the model; it has {', '.join(columns)}"
            )
        for column, seconds in found.items():
            reasons.setdefault(column, _template(reason, seconds))
    return ExplainSpec(reasons=reasons)


def _seconds(name: str, column: str) -> int | None:
    """The window's seconds if the name or pattern is of this column, 0 for a name; None if it is not."""
    before, star, after = name.partition("*")
    if not star:
        return 0 if name == column else None
    found = re.fullmatch(f"{re.escape(before)}([0-9]+){re.escape(after)}", column)
    return None if found is None else int(found[1])


def _template(reason: ReasonDeclaration, seconds: int) -> ReasonTemplate:
    code, text = reason.code.replace(_SECONDS, str(seconds)), reason.text.replace(_WINDOW, _span(seconds))
    return ReasonTemplate(code=code, text=text, unit=reason.unit, words=reason.words, bits=reason.bits)


def _span(seconds: int) -> str:
    """A length of time in words.

    >>> [_span(60), _span(600), _span(7200), _span(86400)]
    ['60 s', '10 min', '2 h', '24 h']
    """
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds % size == 0 and seconds > size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
