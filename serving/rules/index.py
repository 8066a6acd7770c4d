"""Which rules of a set can match an event at all: found in one pass over each of its fields.

Every rule that can be indexed has a *guard*: a few texts of which at least one must stand in a certain field if the rule matches.
All guards of a field are one set of literals. What is found is a candidate and is then judged in full; a rule without a guard is
always a candidate. Case plays no part here."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from serving.rules import tree
from serving.rules.events import Event, Value, texts_of
from serving.rules.patterns import LiteralSet

MAX_LITERAL: Final = 64
"""Longer literals are cut: they tell rules apart long before."""


@dataclass(frozen=True, slots=True)
class Atom:
    """A text that stands in a field in some way."""

    field: str | None
    how: tree.How
    text: str


LiteralGuard = frozenset[Atom]


def guard_of(node: tree.Node) -> LiteralGuard | None:
    """Atoms of which at least one is true wherever the node holds; None if there are none such."""
    if isinstance(node, tree.Text):
        return frozenset((_cut(Atom(node.field, node.how, node.value.lower())),)) if node.value else None
    if isinstance(node, tree.Pattern):
        longest = max(node.literals, key=len, default="")
        return frozenset((_cut(Atom(node.field, "contains", longest)),)) if longest else None
    if isinstance(node, tree.All):
        guards = [g for g in map(guard_of, node.parts) if g is not None]
        return min(guards, key=_likelihood, default=None)
    if isinstance(node, tree.Any):
        parts = [guard_of(part) for part in node.parts]
        found = [g for g in parts if g is not None]
        return frozenset().union(*found) if len(found) == len(parts) else None
    return None  # numbers, networks, absence and negation promise no text


def _cut(atom: Atom) -> Atom:
    if len(atom.text) <= MAX_LITERAL:
        return atom
    if atom.how == "ends":
        return Atom(atom.field, "ends", atom.text[-MAX_LITERAL:])
    return Atom(atom.field, "starts" if atom.how in ("is", "starts") else "contains", atom.text[:MAX_LITERAL])


def _likelihood(guard: LiteralGuard) -> float:
    """How often a guard will be met by events that do not match: longer texts are met less often, more texts more often."""
    return math.fsum((0.1 if atom.how == "is" else 1.0) * 0.6 ** len(atom.text) for atom in guard)


class Index:
    """Candidates among rules, by their number."""

    def __init__(self, guards: Sequence[LiteralGuard | None]) -> None:
        self.always: frozenset[int] = frozenset(n for n, guard in enumerate(guards) if guard is None)
        owners: dict[str | None, dict[tuple[str, str], list[int]]] = {}
        for number, guard in enumerate(guards):
            for atom in guard or ():
                owners.setdefault(atom.field, {}).setdefault((atom.how, atom.text), []).append(number)
        self._fields = [(field, LiteralSet(list(of)), [tuple(n) for n in of.values()]) for field, of in owners.items()]

    def candidates(self, event: Event) -> set[int]:
        """Numbers of the rules that may match."""
        found = set(self.always)
        lowered = event.lowered
        for field, literals, owners in self._fields:
            value: Value | None = event.everything() if field is None else lowered.get(field)
            if value is None:
                continue
            for text in (value,) if isinstance(value, str) else texts_of(value):
                for literal in literals.found(text):
                    found.update(owners[literal])
        return found
