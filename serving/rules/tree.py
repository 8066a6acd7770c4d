"""A SIGMA rule as values: the conditions on an event. Made by parse, evaluated by predicates, indexed by index.

Text is compared without regard to case unless `cased`. field None is a keyword: any value of the event will do."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Final, Literal

How = Literal["is", "contains", "starts", "ends"]
Relation = Literal["<", "<=", ">", ">=", "==", "!="]


@dataclass(frozen=True, slots=True)
class Text:
    """A value equals, contains, starts or ends with a text."""

    field: str | None
    how: How
    value: str
    cased: bool = False


@dataclass(frozen=True, slots=True)
class Pattern:
    """A value meets a regular expression (RE2). cased: it sees the value as it is, else in lower case.

    literals: texts in lower case that every value that meets it contains."""

    field: str | None
    expression: str
    cased: bool
    literals: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Number:
    """A value is a number and stands in this relation to another. part: of the moment the value names (minute, hour, ...)."""

    field: str
    relation: Relation
    number: float
    part: str | None = None


@dataclass(frozen=True, slots=True)
class InNetwork:
    """A value is an address of the network."""

    field: str
    network: IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Exists:
    """The field is there with a value that is not null (or is not)."""

    field: str
    there: bool


@dataclass(frozen=True, slots=True)
class SameAs:
    """A value stands in this relation to the value of another field of the event."""

    field: str
    how: How
    other: str


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every part holds."""

    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one part holds."""

    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not hold."""

    part: "Node"


Leaf = Text | Pattern | Number | InNetwork | Exists | SameAs
Node = AllOf | AnyOf | Not | Leaf


@dataclass(frozen=True, slots=True)
class LogSource:
    """What a rule is about, as it says; None: any."""

    product: str | None
    category: str | None
    service: str | None

    def __str__(self) -> str:
        named = (("product", self.product), ("category", self.category), ("service", self.service))
        return ", ".join(f"{name} {value}" for name, value in named if value is not None)


@dataclass(frozen=True, slots=True)
class SigmaRule:
    """One rule. level: informational, low, medium, high or critical. techniques: MITRE ATT&CK ids. name: what correlations may call it."""

    id: str
    title: str
    level: str
    source: LogSource
    when: Node
    path: str
    techniques: tuple[str, ...] = ()
    name: str | None = None


@dataclass(frozen=True, slots=True)
class UnsupportedRule:
    """A rule that is not matched, and why."""

    id: str
    title: str
    path: str
    reason: str


_TECHNIQUE: Final = re.compile(r"attack\.(t\d{4}(?:\.\d{3})?)", re.IGNORECASE)


def techniques_of(tags: Iterable[object]) -> tuple[str, ...]:
    """MITRE ATT&CK techniques among a rule's tags; tactics, groups and other tags are left out.

    >>> techniques_of(["attack.execution", "attack.t1059.001", "cve.2021-44228"])
    ('T1059.001',)
    """
    found = (_TECHNIQUE.fullmatch(str(tag)) for tag in tags)
    return tuple(dict.fromkeys(match[1].upper() for match in found if match))
