"""How often the same thing may be recorded: the first time at once, repeats as one record with their number. Pure.

A client that reaches the port can cause refusals without end. So refusals of strangers have a bound of their own: beyond it refusals are
counted together, and one record a minute says how many there were. People who are signed in have another bound, which strangers cannot
use up."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

WINDOW_S: Final = 60.0
"""Repeats within this time are one record."""
SEVERAL: Final = "several"
"""The actor of a record that counts what was not recorded one by one."""


@dataclass(frozen=True, slots=True)
class ConsoleAct:
    """Something that was done or refused. Those that are equal are repeats of one another. is_known: whether a signed-in person caused it.

    times: how often; 0: this is the first."""

    action: str
    actor: str
    subject: str
    reason: str
    is_refused: bool = False
    is_known: bool = True
    times: int = 0


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many different things are recorded one by one: `burst` at once, and one more every `each_s` seconds."""

    burst: int
    each_s: float


OF_STRANGERS: Final = Allowance(30, 60.0)
OF_PEOPLE: Final = Allowance(100, 10.0)


class Repeats:
    """What was seen lately. Bounded by the allowances: each thing that is recorded has at most one record of its repeats."""

    def __init__(self, now_s: float, *, strangers: Allowance = OF_STRANGERS, people: Allowance = OF_PEOPLE) -> None:
        self._allowances = {False: strangers, True: people}
        self._left: dict[bool, tuple[float, float]] = {known: (one.burst, now_s) for known, one in self._allowances.items()}
        self._until: dict[ConsoleAct, float] = {}
        self._counts: dict[ConsoleAct, int] = {}

    @property
    def is_counting(self) -> bool:
        """Whether there are repeats that no record tells yet."""
        return bool(self._counts)

    def see(self, act: ConsoleAct, now_s: float) -> ConsoleAct | None:
        """What to record now; None: it is counted, and `due` gives it later."""
        self._until = {one: until_s for one, until_s in self._until.items() if until_s > now_s or one in self._counts}
        if act in self._until:
            self._counts[act] = self._counts.get(act, 0) + 1
            return None
        if self._take(act.is_known, now_s):
            self._until[act] = now_s + WINDOW_S
            return act
        others = replace(act, actor=SEVERAL, subject="console/several", reason="there were too many to be recorded one by one")
        self._until.setdefault(others, now_s + WINDOW_S)
        self._counts[others] = self._counts.get(others, 0) + 1
        return None

    def due(self, now_s: float) -> list[ConsoleAct]:
        """Repeats whose time is over, as records; they are forgotten. `now_s` infinite: all."""
        over = [one for one in self._counts if self._until[one] <= now_s]
        found = [replace(one, times=self._counts.pop(one)) for one in over]
        for one in over:
            del self._until[one]
        return found

    def _take(self, is_known: bool, now_s: float) -> bool:
        allowance = self._allowances[is_known]
        left, at_s = self._left[is_known]
        left = min(allowance.burst, left + (now_s - at_s) / allowance.each_s)
        self._left[is_known] = (left - 1 if left >= 1 else left), now_s
        return left >= 1


def evidence_of(act: ConsoleAct) -> Mapping[str, int]:
    """What the record holds beside the words. repeats: how often it happened again within WINDOW_S, this record not counted."""
    return {"repeats": act.times} if act.times else {}
