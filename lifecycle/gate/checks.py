"""What a check found, and what all of them come to. Pure.

A failed check fails the gate. A skipped one fails it where the policy requires it: what was not looked at is no pass."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Literal

CheckName = Literal[
    "schema", "golden", "budget", "performance", "families", "champion", "fairness", "drift", "lineage", "signature"
]
CHECKS: Final[Mapping[CheckName, str]] = {
    "schema": "the manifest and the graph are whole, and fit each other",
    "golden": "the golden outputs are reproduced",
    "budget": "latency and size are within bounds",
    "performance": "figures on rows that training has not seen",
    "families": "recall of attack types, left-out ones among them",
    "champion": "not worse than another bundle on the same rows",
    "fairness": "no segment has rates that differ beyond chance",
    "drift": "newer rows are like the rows of training",
    "lineage": "where the model and its data come from",
    "signature": "signed by a trusted key",
}
"""Every check in the order in which they are made, and what it asks."""


class Outcome(StrEnum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Check:
    """One check. words: what was found, or why it was not looked at. way_out: what to do about it; empty if it passed."""

    name: CheckName
    outcome: Outcome
    words: str
    way_out: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)


def passed(name: CheckName, words: str, **figures: Any) -> Check:
    """A check that found nothing wrong."""
    return Check(name, Outcome.PASSED, words, figures=figures)


def failed(name: CheckName, words: str, way_out: str, **figures: Any) -> Check:
    """A check that found something wrong."""
    return Check(name, Outcome.FAILED, words, way_out, figures)


def skipped(name: CheckName, why: str, way_out: str) -> Check:
    """A check that could not look."""
    return Check(name, Outcome.SKIPPED, why, way_out)


@dataclass(frozen=True, slots=True)
class GateReport:
    """The judgement of one bundle. required: checks that may not be skipped."""

    name: str
    version: str
    digest: str
    checks: tuple[Check, ...]
    required: frozenset[str]

    def counts_against(self, check: Check) -> bool:
        """Whether this check fails the gate."""
        return check.outcome is Outcome.FAILED or (check.outcome is Outcome.SKIPPED and check.name in self.required)

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that fail the gate."""
        return tuple(check for check in self.checks if self.counts_against(check))

    @property
    def is_passed(self) -> bool:
        """Whether the bundle may go on."""
        return not self.failures

    def as_record(self) -> dict[str, Any]:
        """The report for programs and for the log of acts."""
        checks = [
            {
                "name": c.name, "outcome": c.outcome.value, "required": c.name in self.required, "words": c.words,
                "way_out": c.way_out, "figures": dict(c.figures),
            }
            for c in self.checks
        ]  # fmt: skip
        bundle = {"name": self.name, "version": self.version, "digest": self.digest}
        return {"bundle": bundle, "is_passed": self.is_passed, "checks": checks}


def in_order(checks: Collection[Check]) -> tuple[Check, ...]:
    """The checks as CHECKS has them."""
    place = {name: at for at, name in enumerate(CHECKS)}
    return tuple(sorted(checks, key=lambda check: place[check.name]))
