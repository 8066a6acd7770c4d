"""YAML texts of people and of other programs: read with bounds, and one kind of error for every fault of a text.

libyaml calls itself for each level, and a text that is nested without end would end the process. A few lines of aliases can stand for
billions of values, and aliases of mappings that are merged (`<<`) become that many."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

import yaml

MOST_DEPTH: Final = 100
"""Levels of lists and mappings, with those that aliases stand for. Files that people write have about ten."""
MOST_REPEATED: Final = 1_000_000
"""Values that the aliases of a document stand for, all together. A mapping of 200,000 entities to a few segments has about 600,000."""
_NO_VALUE: Final = (ValueError, LookupError, AttributeError, ArithmeticError, TypeError, RecursionError)
"""Errors of the loaders for valid YAML with an invalid value: e.g. the date 2026-99-99, `!!bool maybe`, `!!int ''`, a number with too
many parts, a list as a key."""
_WAY_OUT: Final = "correct it, or quote it to make it text"

_Size = tuple[int, int]
"""Of a value, aliases spelled out: how many values it has, and how many levels."""


def read_yaml(text: str | bytes, loader: Any = yaml.CSafeLoader) -> Any:
    """What a text holds. loader: a safe one. Raises yaml.YAMLError whatever is wrong with the text; it says where if that is known."""
    with yaml_errors():
        check_bounds(text)
        return yaml.load(text, Loader=placing(loader))  # noqa: S506  # nosec B506  # a safe loader


def read_documents(text: str | bytes, loader: Any = yaml.CSafeLoader) -> list[Any]:
    """The documents of a text, as `read_yaml`."""
    with yaml_errors():
        check_bounds(text)
        return list(yaml.load_all(text, Loader=placing(loader)))  # nosec B506  # a safe loader


@contextmanager
def yaml_errors() -> Iterator[None]:
    """Whatever a loader raises within is a yaml.YAMLError."""
    try:
        yield
    except _NO_VALUE as problem:
        raise yaml.YAMLError(_words(problem)) from problem


@cache
def placing(loader: Any) -> Any:
    """A loader as the given one, whose errors say where the value stands that is none."""

    class Placing(loader):  # type: ignore[misc]  # a class that is given
        def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
            try:
                return super().construct_object(node, deep)
            except _NO_VALUE as problem:
                raise yaml.MarkedYAMLError(problem=f"{_words(problem)}; {_WAY_OUT}", problem_mark=node.start_mark) from problem

    return Placing


def check_bounds(text: str | bytes, most_repeated: float = MOST_REPEATED) -> None:
    """Raises yaml.YAMLError if the text is not YAML, is nested deeper than MOST_DEPTH, or has aliases that stand for more than
    `most_repeated` values, or for a value that they lie in. Reads events only, which needs no recursion."""
    sizes = _Sizes(most_repeated)
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.ScalarEvent):
            sizes.scalar(event)
        elif isinstance(event, yaml.CollectionStartEvent):
            sizes.begin(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            sizes.end()
        elif isinstance(event, yaml.AliasEvent):
            sizes.alias(event)
        elif isinstance(event, yaml.DocumentStartEvent):
            sizes = _Sizes(most_repeated)


class _Sizes:
    """How large the values of a document are, aliases spelled out."""

    def __init__(self, most_repeated: float) -> None:
        self._most, self._repeated = most_repeated, 0
        self._anchors: dict[str, _Size | None] = {}
        """None: of a value that has not ended."""
        self._above: list[tuple[str | None, int, int]] = []
        """The lists and mappings that have not ended: their anchor, and their size so far."""

    def scalar(self, event: Any) -> None:
        if event.anchor is not None:
            self._anchors[event.anchor] = 1, 0
        self._add(1, 0)

    def begin(self, event: Any) -> None:
        if len(self._above) >= MOST_DEPTH:
            raise _refused(f"it is nested deeper than {MOST_DEPTH} levels", event)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        self._above.append((event.anchor, 1, 1))

    def end(self) -> None:
        anchor, count, levels = self._above.pop()
        if anchor is not None:
            self._anchors[anchor] = count, levels
        self._add(count, levels)

    def alias(self, event: Any) -> None:
        found = self._anchors.get(event.anchor, (1, 0))  # one of nothing is left to the loader
        if found is None:
            raise _refused(f"the alias *{event.anchor} stands for what it lies in, without end", event)
        count, levels = found
        self._repeated += count
        if self._repeated > self._most:
            raise _refused(f"its aliases stand for more than {self._most:,} values; write fewer", event)
        if len(self._above) + levels > MOST_DEPTH:
            raise _refused(f"it is nested deeper than {MOST_DEPTH} levels by its aliases", event)
        self._add(count, levels)

    def _add(self, count: int, levels: int) -> None:
        if self._above:
            anchor, so_far, deepest = self._above[-1]
            self._above[-1] = anchor, so_far + count, max(deepest, levels + 1)


def _refused(what: str, event: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=what, problem_mark=event.start_mark)


def _words(problem: Exception) -> str:
    """Those of Python, if they are of the value and not of the loader's code."""
    words = str(problem) if isinstance(problem, ValueError | ArithmeticError | RecursionError) else ""
    return words or "this is no value of its type"
