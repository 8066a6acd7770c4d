"""YAML texts of people and of other programs: a bound on how deep they are nested, and one kind of error.

libyaml calls itself for each level, and a text that is nested without end would end the process."""

from typing import Any, Final

import yaml

MOST_DEPTH: Final = 100
"""Levels of lists and mappings. Files that people write have about ten."""
_NO_VALUE: Final = (ValueError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""What the loaders raise for what is YAML and no value: a date that there is not (2026-99-99), `!!bool maybe`, `!!int ''`, a number
with too many parts, merges (`<<`) that lead to one another a thousand times."""


def read_yaml(text: str | bytes, loader: Any = yaml.CSafeLoader) -> Any:
    """What a text holds. loader: a safe one. Raises yaml.YAMLError whatever is wrong with the text."""
    try:
        check_depth(text)
        return yaml.load(text, Loader=loader)  # noqa: S506  # nosec B506  # a safe loader
    except _NO_VALUE as problem:
        raise yaml.YAMLError(str(problem) or type(problem).__name__) from problem


def check_depth(text: str | bytes) -> None:
    """Raises yaml.YAMLError if the text is nested deeper than MOST_DEPTH, or is not YAML. Reads events only, which needs no recursion."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MOST_DEPTH:
                raise yaml.YAMLError(f"it is nested deeper than {MOST_DEPTH} levels{event.start_mark}")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
