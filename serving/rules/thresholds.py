"""Threshold rules: CEL expressions over the columns of a request. Only this module of the data plane uses CEL.

Compiled once; an evaluation takes a few microseconds a rule and row, so many rows are judged in pieces (see
serving.scoring.variant_runner)."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

from numpy.typing import NDArray

from serving.rules.errors import RuleError

_COMMAND_LINE: Final = "cel.cli"


@contextmanager
def _no_command_line() -> Iterator[None]:
    """While this is open, `import cel` finds an empty module for its command line, whose terminal prompt is nine tenths of the import.

    Each probe of a bundle and each replica imports CEL. A later import of `cel.cli` gets the real module."""
    if "cel" in sys.modules:
        yield
        return
    sys.modules[_COMMAND_LINE] = ModuleType(_COMMAND_LINE)
    try:
        yield
    finally:
        del sys.modules[_COMMAND_LINE]


with _no_command_line():
    import cel

MAX_RULES: Final = 200
MAX_LETTERS: Final = 2_000
_TEXT: Final = "BYTES"
_SAMPLES: Final[tuple[tuple[float, str], ...]] = ((0.0, ""), (1.0, "a"), (-1.0, "0"), (1e6, "10.0.0.1"))
"""Values that a rule is tried on when it is compiled: for numbers and for text."""


@dataclass(frozen=True, slots=True)
class ThresholdDeclaration:
    """A threshold rule as its file has it."""

    id: str
    title: str
    when: str
    severity: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Threshold:
    """One rule, compiled. columns: those it asks for."""

    declared: ThresholdDeclaration
    program: cel.Program
    columns: frozenset[str]


class ThresholdRules:
    """The threshold rules of a bundle."""

    def __init__(
        self, rules: Sequence[ThresholdDeclaration], datatypes: Mapping[str, str], noun: str = "threshold rule"
    ) -> None:
        """datatypes: of every column a rule may name. noun: what messages call a rule. Raises RuleError for a rule that does not hold."""
        if len(rules) > MAX_RULES:
            raise RuleError(
                f"there are {len(rules)} {noun}s, at most {MAX_RULES} are allowed; choose those that matter for this model"
            )
        repeated = sorted({r.id for r in rules if sum(o.id == r.id for o in rules) > 1})
        if repeated:
            raise RuleError(f"{noun}s {repeated} occur more than once; give each its own id")
        self.rules = tuple(_compile(rule, datatypes, noun) for rule in rules)

    def judge(self, columns: Mapping[str, NDArray[Any]], rows: int) -> list[list[ThresholdDeclaration]]:
        """The rules that match each row. A rule is skipped if one of its columns is missing."""
        rules = [rule for rule in self.rules if rule.columns <= columns.keys()]
        found: list[list[ThresholdDeclaration]] = [[] for _ in range(rows)]
        if not rules:
            return found
        names = sorted(frozenset[str]().union(*(rule.columns for rule in rules)))
        values = [_values(columns[name]) for name in names]
        for row in range(rows):
            context = dict(zip(names, [column[row] for column in values], strict=True))
            for rule in rules:
                if _holds(rule, context):
                    found[row].append(rule.declared)
        return found

    def first(self, columns: Mapping[str, NDArray[Any]], places: Sequence[Sequence[int]]) -> list[int | None]:
        """For each row the place of the first rule that matches it. places: of the rules to try, by row, in order."""
        usable = [rule.columns <= columns.keys() for rule in self.rules]
        names = sorted(
            frozenset[str]().union(*(rule.columns for rule, is_usable in zip(self.rules, usable, strict=True) if is_usable))
        )
        values = [_values(columns[name]) for name in names]
        found: list[int | None] = []
        for row, tried in enumerate(places):
            context = dict(zip(names, [column[row] for column in values], strict=True))
            found.append(next((at for at in tried if usable[at] and _holds(self.rules[at], context)), None))
        return found

    def applies(self, columns: frozenset[str]) -> bool:
        """Whether any rule can be evaluated with these columns."""
        return any(rule.columns <= columns for rule in self.rules)


def _holds(rule: Threshold, context: Mapping[str, Any]) -> bool:
    try:
        return rule.program.execute(dict(context)) is True
    except (ArithmeticError, TypeError, ValueError, RuntimeError):
        return False  # e.g. a division by zero: the rule does not match this row


def _values(column: NDArray[Any]) -> list[Any]:
    if column.dtype == object:
        return [v.decode(errors="replace") if isinstance(v, bytes) else str(v) for v in column.tolist()]
    return [float(v) for v in column.tolist()]


def columns_named(identity: str, when: str) -> frozenset[str]:
    """The columns an expression uses. Raises RuleError if it is not CEL."""
    return frozenset(_parsed(f"threshold rule {identity!r}", when).variables())


def _parsed(where: str, when: str) -> cel.Program:
    if len(when) > MAX_LETTERS:
        raise RuleError(f"{where}: `when` has {len(when)} characters, at most {MAX_LETTERS} are allowed; split the rule")
    try:
        return cel.compile(when)
    except ValueError as problem:
        raise RuleError(f"{where}: {when!r} is not valid CEL: {_brief(problem)}") from problem


def _compile(rule: ThresholdDeclaration, datatypes: Mapping[str, str], noun: str) -> Threshold:
    where = f"{noun} {rule.id!r}"
    program = _parsed(where, rule.when)
    columns = frozenset(program.variables())
    unknown = sorted(columns - set(datatypes))
    if unknown:
        raise RuleError(f"{where}: there is no column {unknown}; a rule may name {sorted(datatypes)}")
    if not columns:
        raise RuleError(f"{where}: {rule.when!r} uses no column, so it gives every row the same answer; name a column")
    _try_out(where, rule, program, {name: datatypes[name] for name in columns})
    return Threshold(rule, program, columns)


def _try_out(where: str, rule: ThresholdDeclaration, program: cel.Program, datatypes: Mapping[str, str]) -> None:
    """Check that it gives true or false on some sample and never another value."""
    problem: Exception | None = None
    is_evaluated = False
    for number, text in _SAMPLES:
        try:
            answer = program.execute({name: text if datatype == _TEXT else number for name, datatype in datatypes.items()})
        except (ArithmeticError, TypeError, ValueError, RuntimeError) as why:
            problem = why
            continue
        if not isinstance(answer, bool):
            raise RuleError(f"{where}: {rule.when!r} is {answer!r}, expected true or false; compare it with something")
        is_evaluated = True
    if not is_evaluated:
        raise RuleError(
            f"{where}: {rule.when!r} cannot be evaluated: {_brief(problem)}; write numbers as doubles (2.0) "
            "and compare text only with text"
        )


def _brief(problem: Exception | None) -> str:
    return " ".join(str(problem).split())[:300]
