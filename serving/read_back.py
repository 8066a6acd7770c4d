"""What this project wrote itself and reads again, perhaps by an older release than the one that wrote it: a status, served.json.

A field that this release does not know is left out, and one line in the log says so, once; everything else is judged as strictly as
ever. What people write is never read like this: there an unknown field is a slip of the pen."""

import functools
import logging
from collections.abc import Callable
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)
_NAMED: Final = 8
_log = logging.getLogger("vedette.read")


def read_back(kind: type[M], kept: object) -> M:
    """The value. Raises ValidationError if more than unknown fields is wrong."""
    try:
        return kind.model_validate(kept)
    except ValidationError as problem:
        return without_strangers(kind.__name__, problem, lambda: kind.model_validate(kept, extra="ignore"))


def read_back_json(kind: type[M], body: str | bytes) -> M:
    """The same of JSON text."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as problem:
        return without_strangers(kind.__name__, problem, lambda: kind.model_validate_json(body, extra="ignore"))


def without_strangers(what: str, problem: ValidationError, again: Callable[[], T]) -> T:
    """What reading `again`, unknown fields left out, gives. what: how the log calls it. Raises `problem` if that is not all that
    is wrong."""
    errors = problem.errors(include_url=False, include_context=False, include_input=False)
    strangers = {".".join(p for p in e["loc"] if isinstance(p, str)) for e in errors if e["type"] == "extra_forbidden"}
    if not strangers:
        raise problem
    try:
        found = again()
    except ValidationError:
        raise problem from None
    named = sorted(strangers)
    more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    _say_once(what, ", ".join(named[:_NAMED]) + more)
    return found


@functools.lru_cache(maxsize=256)
def _say_once(what: str, fields: str) -> None:
    _log.warning("%s: written by another release, with fields that are not known here and are left out: %s", what, fields)
