"""Reads the few families that are ours from Prometheus' text exposition. Pure.

A page of a busy node is thousands of lines, and the same lines come back at every look with other numbers: so a line is cut at its value,
and the rest (name and labels) is parsed once and remembered as long as the page has it. operators.backends.evidence interprets the
numbers."""

import re
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from sys import intern
from typing import Final

_LABEL: Final = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*,?\s*')
_ESCAPE: Final = re.compile(r"\\(.)")
_PREFIX: Final = "vedette_"

Series = tuple[str, Mapping[str, str]]
"""A metric's name as exposed (with `_total`, `_bucket`) and its labels."""


@dataclass(frozen=True, slots=True)
class ReplicaPage:
    """What one address gave: its page, or why there is none."""

    address: str
    text: str | None = None
    problem: str | None = None


class ExpositionError(ValueError):
    """A page is not in Prometheus' text format; says the line."""


def samples(page: str) -> Iterator[tuple[str, float]]:
    """The page's samples of our families, each as (series text, value). Raises ExpositionError.

    >>> list(samples('# HELP x y\\nup 1\\nvedette_a{b="1 2"} 3 1700000000000\\n'))
    [('vedette_a{b="1 2"}', 3.0)]
    """
    for line in page.split("\n"):
        if not line.startswith(_PREFIX):
            continue
        brace = line.rfind("}")
        cut = brace + 1 if brace >= 0 else line.find(" ")
        try:
            yield line[:cut], float(line[cut:].split(None, 1)[0])
        except (ValueError, IndexError):
            raise ExpositionError(f"{line[:200]!r} is not a sample of Prometheus' text format") from None


class PageReader:
    """Reads one page again and again, and remembers the series of the last reading. wanted: names of the series it gives; the rest of a
    page is skipped unread; None: all of ours."""

    def __init__(self, wanted: Container[str] | None = None) -> None:
        self._wanted = wanted
        self._known: dict[str, Series] = {}

    def read(self, page: str) -> list[tuple[Series, float]]:
        """Its samples. Raises ExpositionError."""
        known: dict[str, Series] = {}
        found = []
        for text, value in samples(page):
            if self._wanted is None or text.partition("{")[0] in self._wanted:
                one = known[text] = self._known.get(text) or series(text)
                found.append((one, value))
        self._known = known
        return found


def series(text: str) -> Series:
    """Take a series' text apart. Raises ExpositionError.

    >>> series('vedette_a{b="1",c="x\\\\"y"}')
    ('vedette_a', {'b': '1', 'c': 'x"y'})
    """
    name, brace, rest = text.partition("{")
    if not brace:
        return intern(name), {}
    labels, position, end = {}, 0, len(rest) - 1
    while position < end:
        found = _LABEL.match(rest, position)
        if found is None:
            raise ExpositionError(f"{text[:200]!r} has labels that are not Prometheus' text format")
        value = found[2]
        value = _ESCAPE.sub(lambda m: "\n" if m[1] == "n" else m[1], value) if "\\" in value else value
        labels[intern(found[1])] = intern(value)  # a page of thousands of series has few different labels
        position = found.end()
    return intern(name), labels
