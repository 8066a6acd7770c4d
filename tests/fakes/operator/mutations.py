"""Mutants of a module's functions: each with one condition taken away or turned, to show that some test misses it. In-process: a
mutant's code is put in place of the function's own and taken out again.

Kinds: a guard that never holds (or always does), an operand of and/or dropped, a comparison at its boundary or turned, a
statement `require(...)` left out."""

import ast
import copy
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice, product
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

import pytest

_BOUNDARY: dict[type[ast.cmpop], type[ast.cmpop]] = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}
_TURNED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}


@dataclass(frozen=True)
class Mutant:
    """name: `function: what was changed`. function: what it replaces; code: with what, compiled when asked."""

    name: str
    function: FunctionType
    code: Callable[[], CodeType]


def mutants(module: ModuleType) -> Iterator[Mutant]:
    """Every mutant of the module's own functions and methods."""
    for name, function in _functions(module):
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
        for place, node in enumerate(ast.walk(tree)):
            for said, change in _changes(node):
                yield Mutant(
                    f"{module.__name__.removeprefix('operators.rollout.')}.{name}: {said}",
                    function,
                    _coder(tree, place, change, function),
                )


def _coder(tree: ast.Module, place: int, change: Callable[[Any], None], function: FunctionType) -> Callable[[], CodeType]:
    """The code of the function with its place-th node changed."""

    def code() -> CodeType:
        whole = copy.deepcopy(tree)
        change(next(islice(ast.walk(whole), place, None)))
        return _code(whole, function)

    return code


def _functions(module: ModuleType) -> Iterator[tuple[str, FunctionType]]:
    for name, value in vars(module).items():
        if isinstance(value, FunctionType) and value.__module__ == module.__name__:
            yield name, value
        elif isinstance(value, type) and value.__module__ == module.__name__:
            for inner, member in vars(value).items():
                function = member.fget if isinstance(member, property) else member
                is_own = isinstance(function, FunctionType) and function.__qualname__ == f"{name}.{inner}"
                if is_own and not inner.startswith("__"):
                    yield f"{name}.{inner}", function


def _changes(node: ast.AST) -> Iterator[tuple[str, Callable[[Any], None]]]:
    """What can be changed at a node: in words, and how."""
    if _is_wording(node):
        return
    if isinstance(node, ast.If | ast.IfExp):
        for value in (False, True):
            yield f"`{ast.unparse(node.test)}` is {value}", partial(_set_test, value)
    if isinstance(node, ast.BoolOp):
        for index, operand in enumerate(node.values):
            yield f"`{ast.unparse(node)}` without `{ast.unparse(operand)}`", partial(_drop_operand, index)
    if isinstance(node, ast.Compare):
        for index, op in enumerate(node.ops):
            other = _BOUNDARY.get(type(op)) or _TURNED.get(type(op))
            if other is not None:
                turned = copy.deepcopy(node)
                _turn(index, other, turned)
                yield f"`{ast.unparse(node)}` is `{ast.unparse(turned)}`", partial(_turn, index, other)
    if (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Call)
        and getattr(node.value.func, "id", "") in ("require", "_require_loaded")
    ):
        yield f"`{ast.unparse(node)}` is left out", _leave_out


def _set_test(value: bool, node: Any) -> None:
    node.test = ast.Constant(value)


def _drop_operand(index: int, node: Any) -> None:
    node.values[index] = ast.Constant(isinstance(node.op, ast.And))


def _turn(index: int, other: type[ast.cmpop], node: Any) -> None:
    node.ops[index] = other()


def _leave_out(node: Any) -> None:
    node.value = ast.Constant(None)


def _is_wording(node: ast.AST) -> bool:
    """`x or "text"`, `x or 0`, `"text" if x else "other"`: a default or what people read, not what is decided."""
    if isinstance(node, ast.BoolOp):
        return any(isinstance(v, ast.JoinedStr | ast.Constant) for v in node.values)
    return isinstance(node, ast.IfExp) and any(
        isinstance(v, ast.JoinedStr) or (isinstance(v, ast.Constant) and isinstance(v.value, str))
        for v in (node.body, node.orelse)
    )


def _code(tree: ast.Module, function: FunctionType) -> CodeType:
    """The code of the mutated function."""
    [definition] = tree.body
    assert isinstance(definition, ast.FunctionDef)
    definition.decorator_list = []
    module = compile(ast.fix_missing_locations(tree), "<mutant>", "exec")
    return next(c for c in module.co_consts if isinstance(c, CodeType) and c.co_name == function.__name__)


@contextmanager
def applied(mutant: Mutant) -> Iterator[None]:
    """The function behaves as its mutant, meanwhile."""
    own = mutant.function.__code__
    mutant.function.__code__ = mutant.code()
    try:
        yield
    finally:
        mutant.function.__code__ = own


def cases(module: ModuleType) -> list[Callable[[], object]]:
    """The module's tests as plain calls, one for each set of parameters; without those that need fixtures or hypothesis."""
    found: list[Callable[[], object]] = []
    for name, test in vars(module).items():
        if not name.startswith("test_") or hasattr(test, "hypothesis"):
            continue
        marks = [m for m in getattr(test, "pytestmark", []) if m.name == "parametrize"]
        names = [_names(m.args[0]) for m in marks]
        if set(inspect.signature(test).parameters) != {n for group in names for n in group}:
            continue
        for chosen in product(*(m.args[1] for m in marks)):
            given = {
                n: v for group, one in zip(names, chosen, strict=True) for n, v in zip(group, _values(one, group), strict=True)
            }
            found.append(lambda test=test, given=given: test(**given))  # type: ignore[misc]
    return found


def _names(said: str | Sequence[str]) -> list[str]:
    return [n.strip() for n in said.split(",")] if isinstance(said, str) else list(said)


def _values(one: Any, group: list[str]) -> Sequence[Any]:
    if hasattr(one, "values") and hasattr(one, "marks"):
        return tuple(one.values)
    return (one,) if len(group) == 1 else tuple(one)


def reached(call: Callable[[], object]) -> frozenset[CodeType]:
    """The code of every function that a call runs. A mutant of another cannot make it fail."""
    found: set[CodeType] = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            found.add(frame.f_code)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(before)
    return frozenset(found)


def is_missed(calls: list[Callable[[], object]]) -> bool:
    """Whether some call fails. The one that does goes first next time: neighbouring mutants are missed by the same."""
    for place, call in enumerate(calls):
        try:
            call()
        except (Exception, pytest.fail.Exception):
            calls.insert(0, calls.pop(place))
            return True
    return False
