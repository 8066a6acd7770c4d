"""Reads documents that this project wrote itself, perhaps in a newer release: a status, served.json.

Fields that this release does not know are left out, with one line in the log. Everything else is checked as strictly as usual. Documents
that people write are not read like this: there an unknown field is a mistake."""

import functools
import logging
from collections.abc import Callable
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)
_MOST_NAMED: Final = 8
_log = logging.getLogger("vedette.read")


def read_back(kind: type[M], kept: object) -> M:
    """The value. Raises ValidationError if more than unknown fields is wrong."""
    try:
        return kind.model_validate(kept)
    except ValidationError as problem:
        return without_unknown_fields(kind.__name__, problem, lambda: kind.model_validate(kept, extra="ignore"))


def read_back_json(kind: type[M], body: str | bytes) -> M:
    """As `read_back`, from JSON text."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as problem:
        return without_unknown_fields(kind.__name__, problem, lambda: kind.model_validate_json(body, extra="ignore"))


def without_unknown_fields(what: str, problem: ValidationError, again: Callable[[], T]) -> T:
    """The result of `again`, which reads without unknown fields. what: its name for the log. Raises `problem` if more is wrong."""
    errors = problem.errors(include_url=False, include_context=False, include_input=False)
    unknown = {".".join(p for p in e["loc"] if isinstance(p, str)) for e in errors if e["type"] == "extra_forbidden"}
    if not unknown:
        raise problem
    try:
        found = again()
    except ValidationError:
        raise problem from None
    named = sorted(unknown)
    more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    _log_once(what, ", ".join(named[:_MOST_NAMED]) + more)
    return found


@functools.lru_cache(maxsize=256)
def _log_once(what: str, fields: str) -> None:
    _log.warning("%s: another release wrote fields that this one does not know; they are left out: %s", what, fields)
