"""The suppressions of a revision, compiled against its bundle's columns: known causes of false alarms. Core.

serving.spec.SuppressionSpec is one entry; serving.scoring.rules.suppressing applies them to verdicts."""

from collections.abc import Mapping, Sequence
from typing import Final

from serving.ports import Columns
from serving.rules.thresholds import ThresholdDeclaration, ThresholdRules
from serving.spec import SuppressionSpec

_INVESTIGATE, _ALERT = 1, 2
_EVALUATIONS_AT_ONCE: Final = 200
"""Expressions times rows; one takes 5 to 20 microseconds."""
_CODES: Final[Mapping[str, int]] = {"benign": 0, "investigate": _INVESTIGATE}


class SuppressionRules:
    """Implements ports.Suppressions."""

    def __init__(self, entries: Sequence[SuppressionSpec], datatypes: Mapping[str, str]) -> None:
        """datatypes: of every column an entry may name. Raises RuleError for an entry that does not hold."""
        declared = [ThresholdDeclaration(e.id, e.id, e.when, "informational", e.reason) for e in entries]
        self._rules = ThresholdRules(declared, datatypes, "suppression")
        self._columns = frozenset[str]().union(*(rule.columns for rule in self._rules.rules))
        self._entries = tuple(entries)
        self._ends_us = [entry.expires_us for entry in entries]

    @property
    def columns(self) -> frozenset[str]:
        """The columns that entries name."""
        return self._columns

    @property
    def rows_at_once(self) -> int:
        """How many rows to judge before the loop may turn to others: a few milliseconds."""
        return max(1, _EVALUATIONS_AT_ONCE // len(self._entries))

    def lowers(self, code: int, at_us: int) -> bool:
        """Whether some entry may change this verdict at this time."""
        return bool(self._places(at_us).get(code))

    def judge(self, columns: Columns, codes: Sequence[int], at_us: int) -> list[tuple[str, int] | None]:
        """For each row the first entry that holds, has not expired and lowers its verdict: its id and the new code; None without one."""
        places = self._places(at_us)
        none: list[int] = []
        held = self._rules.first(columns, [places.get(code, none) for code in codes])
        return [None if at is None else (self._entries[at].id, _CODES[self._entries[at].becomes]) for at in held]

    def _places(self, at_us: int) -> dict[int, list[int]]:
        """By code of the verdict, which entries may change it."""
        live = [at for at, end_us in enumerate(self._ends_us) if at_us < end_us]
        return {_ALERT: live, _INVESTIGATE: [at for at in live if self._entries[at].becomes == "benign"]}
