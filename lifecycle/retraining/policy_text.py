"""The complete policy as commented YAML, made from the fields and their docstrings. Pure."""

import textwrap
from collections.abc import Iterator
from types import UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from lifecycle.retraining.policy import RetrainingPolicy, Seconds

_WIDTH: Final = 116
_SHOWN: Final = {
    "rollout": "careful",
    "challenge.newest.undecided": "pass",
    "challenge.kept.undecided": "pass",
    "challenge.families.undecided": "pass",
}
"""Fields whose value in the example is not their default: what is unset, and what few labels take to replace a model at all."""


def commented_policy() -> str:
    """A policy with every field, what it is, and its default or what the example has in its place. All four strategies are in it."""
    return "\n".join(_lines(RetrainingPolicy, "", "")) + "\n"


def _lines(model: type[BaseModel], indent: str, path: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield from textwrap.wrap(field.description or "", _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
        part = _part_of(field.annotation)
        if part is not None:
            yield f"{indent}{name}:"
            yield from _lines(part, f"{indent}  ", f"{path}{name}.")
            continue
        value = _SHOWN.get(f"{path}{name}", field.default)
        yield f"{indent}{name}: {_written(value, is_duration=field.annotation is int and _is_seconds(field.metadata))}{_note(field)}"


def _part_of(annotation: Any) -> type[BaseModel] | None:
    """The model that a field holds, optional or not."""
    for one in get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,):
        if isinstance(one, type) and issubclass(one, BaseModel):
            return one
    return None


def _is_seconds(metadata: list[Any]) -> bool:
    return any(mark is part for part in get_args(Seconds)[1:] for mark in metadata)


def _note(field: Any) -> str:
    choices = [a for a in get_args(field.annotation) if get_origin(field.annotation) is Literal]
    return f"   # {' or '.join(map(str, choices))}" if choices else ""


def _written(value: Any, *, is_duration: bool) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    if is_duration:
        return _duration(int(value))
    if isinstance(value, str):
        return f'"{value}"' if " " in value else value
    return f"{value:g}" if isinstance(value, float) else str(value)


def _duration(seconds: int) -> str:
    """As a policy may write it: the largest unit that divides it."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
