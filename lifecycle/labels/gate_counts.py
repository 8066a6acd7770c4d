"""Labels as evidence for rollouts: of each variant, how many labelled alerts were false, how many labelled attacks were missed. Pure.

Only labels that say nothing by how they were selected are counted, so that they grow to the same whatever analysts look at first:

- Where samples were drawn (lifecycle.labels.draw): events of the samples, in the order of their times, up to the first without a word. So
  an analyst who leaves out hard cases, or labels attacks first, holds the count up and does not bend it. Precision counts alerts of both
  samples, recall attacks of the audit sample alone: it does not ask whether there was an alert.
- Where no sample was drawn: all alerts, in the same way, for precision.
- Besides, labels that bring their own probability (`inclusion`, of samples drawn elsewhere), thinned to one probability, that of the first.

The first word on an event that is not unsure counts and stays: a gate has bet on it, and a bet is not taken back. An event with unsure
words only is not counted and holds nothing up."""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Final

from lifecycle.labels.draw import Draw
from lifecycle.labels.events import AnsweredEvent
from lifecycle.labels.label import Label
from lifecycle.labels.queue.samples import ranks

PRECISION: Final = "precision"
RECALL: Final = "recall"
GateCount = tuple[int, int]
"""Observations, and the bad ones among them: false alerts, or missed attacks."""


@dataclass(frozen=True, slots=True)
class LabelCounts:
    """of: by `variant@revision` and gate. waiting_for: by gate, the event whose word the count waits for, if it waits."""

    of: Mapping[str, Mapping[str, GateCount]] = field(default_factory=dict)
    waiting_for: Mapping[str, str] = field(default_factory=dict)


def drawn_since(draws: Sequence[Draw], since_us: int) -> list[Draw]:
    """The draws that cover time after a moment."""
    return [draw for draw in draws if draw.is_of_a_slice and draw.until_us > since_us]


def count_drawn(
    draws: Sequence[Draw], answers: Mapping[str, AnsweredEvent], words: Mapping[str, Label], since_us: int
) -> LabelCounts:
    """Count the events of samples. answers: what was answered, of every event of the samples that is still in the log. words: the first."""
    audit = {event for draw in draws for event in draw.audit}
    alert = audit | {event for draw in draws for event in draw.alert}
    known = [answers[event] for event in alert if event in answers and answers[event].time_us >= since_us]
    return _prefixes((one for one in known if one.verdict == "alert"), (one for one in known if one.event in audit), words)


def count_alerts(
    alerts: Iterable[AnsweredEvent], answers: Mapping[str, AnsweredEvent], words: Mapping[str, Label], own: Mapping[str, Label]
) -> LabelCounts:
    """Count all alerts up to the first without a word, and beyond it those that bring their own probability. answers: of the latter."""
    weighted = _kept(own, answers, PRECISION)
    every = {one.event: one for one in alerts} | {one.event: one for one in weighted if one.verdict == "alert"}
    return _prefixes(every.values(), (), words, frozenset(one.event for one in weighted))


def count_weighted(
    answers: Mapping[str, AnsweredEvent], own: Mapping[str, Label], gates: Sequence[str] = (PRECISION, RECALL)
) -> LabelCounts:
    """Count labels that bring their own probability; those of audit samples for both gates, those of alerts for precision."""
    tally = _Tally()
    for gate in gates:
        for one in _kept(own, answers, gate):
            tally.add(gate, one, own[one.event])
    return LabelCounts(tally.counts())


def together(*counts: LabelCounts) -> LabelCounts:
    """The sum of counts of different events."""
    total = _Tally()
    waiting: dict[str, str] = {}
    for one in counts:
        for variant, gates in one.of.items():
            for gate, (n, k) in gates.items():
                total.plus(gate, variant, n, k)
        waiting |= one.waiting_for
    return LabelCounts(total.counts(), waiting)


def _prefixes(
    alerts: Iterable[AnsweredEvent],
    audited: Iterable[AnsweredEvent],
    words: Mapping[str, Label],
    beyond: Set[str] = frozenset(),
) -> LabelCounts:
    """Count in the order of time up to the first event without a word; after it only the events of `beyond`."""
    tally = _Tally()
    waiting: dict[str, str] = {}
    for gate, events in ((PRECISION, alerts), (RECALL, audited)):
        for one in sorted(events, key=lambda event: (event.time_us, event.event)):
            word = words.get(one.event)
            if word is None:
                waiting.setdefault(gate, one.event)
                if not beyond:
                    break
            elif gate not in waiting or one.event in beyond:
                tally.add(gate, one, word)
    return LabelCounts(tally.counts(), waiting)


def _kept(own: Mapping[str, Label], answers: Mapping[str, AnsweredEvent], gate: str) -> list[AnsweredEvent]:
    """The events of labels with a probability that a sample with the probability of the first would have too. A smaller one cannot be
    thinned to it: such labels are left out."""
    selections = ("audit", "alert") if gate == PRECISION else ("audit",)
    events = [event for event, word in own.items() if word.selection in selections and word.inclusion and event in answers]
    if not events:
        return []
    inclusions = [own[event].inclusion or 1.0 for event in events]
    least = inclusions[0]
    rank = ranks(events, 0, f"thin/{gate}")
    return [answers[event] for event, at, p in zip(events, rank, inclusions, strict=True) if p >= least > at * p]


class _Tally:
    """Sums while they grow."""

    def __init__(self) -> None:
        self._found: dict[str, dict[str, GateCount]] = {}

    def add(self, gate: str, one: AnsweredEvent, word: Label) -> None:
        """Count one event with its word."""
        is_alert, is_attack = one.verdict == "alert", word.verdict == "attack"
        is_counted = is_alert if gate == PRECISION else is_attack
        if word.verdict == "unsure" or not is_counted:
            return
        is_bad = not is_attack if gate == PRECISION else not is_alert
        self.plus(gate, f"{one.variant}@{one.revision}", 1, int(is_bad))

    def plus(self, gate: str, variant: str, n: int, k: int) -> None:
        """Add to one count."""
        of = self._found.setdefault(variant, {})
        before = of.get(gate, (0, 0))
        of[gate] = before[0] + n, before[1] + k

    def counts(self) -> Mapping[str, Mapping[str, GateCount]]:
        """All of it."""
        return self._found


def events_of(draws: Iterable[Draw]) -> Set[str]:
    """Every event of the samples."""
    return {event for draw in draws for event in (*draw.audit, *draw.alert)}
