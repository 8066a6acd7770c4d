"""Symbolic values of one row while a graph is run on symbols, and their arithmetic. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Output = tuple[int, int]
"""One output of the trees: (number of the ensemble, target)."""


class Symbol:
    """A number of which something is known. What numpy's arithmetic on arrays of objects asks for is here, by way of `affine`."""

    __slots__ = ()

    def columns(self) -> frozenset[int]:
        """The columns it is computed from, as far as they are told apart; empty for what comes out of trees."""
        return frozenset()


@dataclass(frozen=True, slots=True)
class Mixed(Symbol):
    """Some function of these columns."""

    of: frozenset[int]

    def columns(self) -> frozenset[int]:
        """The columns."""
        return self.of


@dataclass(frozen=True, slots=True)
class Unknown(Symbol):
    """Computed from trees in a way that is not read."""


@dataclass(frozen=True, slots=True)
class Term(Symbol):
    """link(bias + sum of weight * output of the trees)."""

    link: Literal["identity", "exp", "one_plus_exp", "logistic"]
    weights: Mapping[Output, float]
    bias: float

    def scaled(self, by: float) -> "Term":
        """The inner sum times a number."""
        return Term(self.link, {k: w * by for k, w in self.weights.items()}, self.bias * by)

    def linked(self, link: Literal["identity", "exp", "one_plus_exp", "logistic"]) -> "Term":
        """The same sum under another link."""
        return Term(link, self.weights, self.bias)


def joined(*parts: Any) -> Any:
    """What is known of an unread function of these."""
    if any(isinstance(p, (Term, Unknown)) for p in parts):
        return Unknown()
    columns = frozenset[int]().union(*(p.columns() for p in parts if isinstance(p, Symbol)))
    return Mixed(columns)


def add(a: Any, b: Any) -> Any:
    """a + b."""
    if isinstance(b, Term) and not isinstance(a, Term):
        a, b = b, a
    if isinstance(a, Term):
        if a.link == "identity" and isinstance(b, Term) and b.link == "identity":
            weights = dict(a.weights)
            for key, weight in b.weights.items():
                weights[key] = weights.get(key, 0.0) + weight
            return Term("identity", weights, a.bias + b.bias)
        if isinstance(b, Symbol):
            return Unknown()
        if b == 0:
            return a
        if a.link == "identity":
            return Term("identity", a.weights, a.bias + float(b))
        return a.linked("one_plus_exp") if a.link == "exp" and b == 1 else Unknown()
    return joined(a, b) if isinstance(a, Symbol) or isinstance(b, Symbol) else a + b


def subtract(a: Any, b: Any) -> Any:
    """a - b."""
    if isinstance(b, Term) and b.link == "logistic" and not isinstance(a, Symbol) and a == 1:
        return b.scaled(-1)
    return add(a, negative(b))


def negative(a: Any) -> Any:
    """-a."""
    if isinstance(a, Term):
        return a.scaled(-1) if a.link == "identity" else Unknown()
    return a if isinstance(a, Symbol) else -a


def multiply(a: Any, b: Any) -> Any:
    """a * b."""
    if isinstance(b, Term):
        a, b = b, a
    if isinstance(a, Term):
        if isinstance(b, Symbol):
            return Unknown()
        if b == 1:
            return a
        return a.scaled(float(b)) if a.link == "identity" else Unknown()
    return joined(a, b) if isinstance(a, Symbol) or isinstance(b, Symbol) else a * b


def divide(a: Any, b: Any) -> Any:
    """a / b."""
    if isinstance(b, Term):
        return reciprocal(b) if not isinstance(a, Symbol) and a == 1 else Unknown()
    if isinstance(b, Symbol):
        return joined(a, b)
    if not isinstance(a, Symbol):
        return a / b
    return multiply(a, 1.0 / float(b)) if b != 0 else joined(a)


def reciprocal(a: Any) -> Any:
    """1 / a."""
    if isinstance(a, Term):
        return a.linked("logistic").scaled(-1) if a.link == "one_plus_exp" else Unknown()
    return a if isinstance(a, Symbol) else 1.0 / a


def exponential(a: Any) -> Any:
    """exp(a)."""
    if isinstance(a, Term):
        return a.linked("exp") if a.link == "identity" else Unknown()
    return a if isinstance(a, Symbol) else math.exp(a)


def logistic(a: Any) -> Any:
    """1 / (1 + exp(-a))."""
    if isinstance(a, Term):
        return a.linked("logistic") if a.link == "identity" else Unknown()
    return a if isinstance(a, Symbol) else 1.0 / (1.0 + math.exp(-a))


def softmax(parts: list[Any]) -> list[Any]:
    """The softmax of numbers; of two it is the logistic function of their difference."""
    if len(parts) == 2:
        return [logistic(subtract(parts[0], parts[1])), logistic(subtract(parts[1], parts[0]))]
    return [joined(*parts)] * len(parts)
