"""Regular expressions in linear time by RE2, which only this module uses. Lookaround and back-references are refused.

A set of literals is searched for in one pass: its automaton costs a few microseconds a value, whether it holds ten literals or
thousands."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import re2

from serving.rules.errors import RuleError

_MEMORY_BYTES: Final = 8 * 1024 * 1024


def _options() -> re2.Options:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY_BYTES
    return options


_OPTIONS: Final = _options()


def escape(text: str) -> str:
    """A pattern that matches exactly this text."""
    return str(re2.escape(text))


def compile_pattern(expression: str) -> Any:
    """RE2's compiled expression. Raises re2.error."""
    return re2.compile(expression, _OPTIONS)


def check_pattern(expression: str) -> str:
    """The expression, if RE2 takes it. Raises ValueError."""
    try:
        compile_pattern(expression)
    except re2.error as problem:
        reason = problem.args[0] if problem.args else problem
        reason = reason.decode(errors="replace") if isinstance(reason, bytes) else reason
        raise ValueError(
            f"regular expression {expression!r} cannot be run in linear time by RE2 ({reason}); rewrite it without lookaround "
            "and back-references"
        ) from problem
    return expression


def searcher(expression: str) -> Callable[[str], object | None]:
    """A function that finds the expression in a text, or None. The expression has been checked."""
    return compile_pattern(expression).search  # type: ignore[no-any-return]


class LiteralSet:
    """Finds which of many literals stand in a text, at its start, at its end or as the whole of it."""

    def __init__(self, literals: Sequence[tuple[str, str]]) -> None:
        """literals: (how, text), see tree.How. Raises RuleError if RE2 cannot hold them."""
        self._set = re2.Set.SearchSet(_OPTIONS)
        for how, text in literals:
            left, right = (r"\A" if how in ("starts", "is") else ""), (r"\z" if how in ("ends", "is") else "")
            self._set.Add(f"(?s){left}{escape(text)}{right}")
        self._set.Compile()
        # With too little memory the automaton finds nothing and reports no error, so it is tried here. Once it works it goes on
        # working: RE2 empties its cache when it is full.
        for number, (_, text) in enumerate(literals):
            if number not in self.found(text):
                raise RuleError(f"RE2 cannot hold {len(literals)} literals; split the rule set")

    def found(self, text: str) -> Iterable[int]:
        """Numbers of the literals found."""
        return self._set.Match(text) or ()
