"""Texts that are no YAML of a value, each wrong in its own way. A reader refuses them with its own error."""

from typing import Final

import pytest

from serving.files.safe_yaml import MOST_DEPTH

_CHAIN = ", ".join(["&m0 {a: 1}", *(f"&m{number} {{<<: *m{number - 1}}}" for number in range(1, 1500))])


def _ninefold(first: str, rest: str) -> str:
    """Nine lines, each nine times as large as the one before once its aliases are spelled out."""
    lines = (rest % (n, n, ",".join([f"*l{n - 1}"] * 9)) for n in range(1, 9))
    return "\n".join([f"l0: &l0 {first}", *lines])


TEXTS: Final = {
    "text as a date": "a: !!timestamp soon",
    "text as yes or no": "a: !!bool maybe",
    "nested too deep": "[" * (MOST_DEPTH + 1),
    "nested deeper than any stack": "a: " + "[" * 100_000 + "]" * 100_000,
    "half YAML": "a: [",
    "merges that lead to one another a thousand times": f"first: [[{_CHAIN}]]\nsecond: *m1499\n",
    "merges of merges of merges": _ninefold("{a: 1}", "l%d: &l%d {<<: [%s]}"),
    "aliases of aliases of aliases": _ninefold("[x]", "l%d: &l%d [%s]"),
    "a list in itself": "a: &a [*a]",
    "a mapping in itself": "&a {b: *a}",
    "a mapping that is merged into itself": "&a {<<: *a, b: 1}",
    "a list as a key": "? [a, b]\n: 1",
    "an alias of nothing": "a: *b",
    "a control character": "a: \0",
    "a tag of our own": "a: !ours 1",
}
"""By what is wrong. In all kinds of YAML."""
NUMBERS: Final = {
    "a date that there is not": "a: 2026-99-99",
    "nothing as a number": "a: !!int ''",
    "a number beyond all floats": "a: 1" + ":59" * 200 + ".5",
    "a number of too many digits": "a: " + "9" * 5000,
}
"""In YAML 1.1, whose scalars have types."""
WRONG: Final = [pytest.param(text, id=name) for name, text in {**TEXTS, **NUMBERS}.items()]
