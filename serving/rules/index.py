"""Finds the rules that can match an event in one pass over each of its fields.

A rule has a *guard* if possible: texts in certain fields, of which at least one is present whenever the rule matches. All guard texts of
a field form one set of literals. A rule whose guard is found is a candidate and is then evaluated in full; a rule without a guard is
always a candidate. Case is ignored."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from serving.rules import tree
from serving.rules.events import Event, Value, texts_of
from serving.rules.patterns import LiteralSet

MAX_LITERAL: Final = 64
"""Longer literals are cut; the first characters are enough to tell rules apart."""


@dataclass(frozen=True, slots=True)
class Atom:
    """A text that a field equals, contains, starts or ends with."""

    field: str | None
    how: tree.How
    text: str


LiteralGuard = frozenset[Atom]


def guard_of(node: tree.Node) -> LiteralGuard | None:
    """Atoms of which at least one holds whenever the node holds; None if there are none."""
    if isinstance(node, tree.Text):
        return frozenset((_cut(Atom(node.field, node.how, node.value.lower())),)) if node.value else None
    if isinstance(node, tree.Pattern):
        longest = max(node.literals, key=len, default="")
        return frozenset((_cut(Atom(node.field, "contains", longest)),)) if longest else None
    if isinstance(node, tree.AllOf):
        guards = [g for g in map(guard_of, node.parts) if g is not None]
        return min(guards, key=_likelihood, default=None)
    if isinstance(node, tree.AnyOf):
        parts = [guard_of(part) for part in node.parts]
        found = [g for g in parts if g is not None]
        return frozenset().union(*found) if len(found) == len(parts) else None
    return None  # numbers, networks, absence and negation imply no text


def _cut(atom: Atom) -> Atom:
    if len(atom.text) <= MAX_LITERAL:
        return atom
    if atom.how == "ends":
        return Atom(atom.field, "ends", atom.text[-MAX_LITERAL:])
    return Atom(atom.field, "starts" if atom.how in ("is", "starts") else "contains", atom.text[:MAX_LITERAL])


def _likelihood(guard: LiteralGuard) -> float:
    """Estimate how often events meet a guard without matching the rule: less for longer texts, more for more texts."""
    return math.fsum((0.1 if atom.how == "is" else 1.0) * 0.6 ** len(atom.text) for atom in guard)


class Index:
    """Finds candidates among rules; rules are known by their number."""

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
            value: Value | None = event.all_values() if field is None else lowered.get(field)
            if value is None:
                continue
            for text in (value,) if isinstance(value, str) else texts_of(value):
                for literal in literals.found(text):
                    found.update(owners[literal])
        return found
