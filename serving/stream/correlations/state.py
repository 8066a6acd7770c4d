"""The correlations of one partition; a serving.stream.state.PartitionState."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec
import numpy as np

from serving.rules.correlation.engine import Correlator, GroupChange
from serving.rules.correlation.state import apply_delta, encode_delta, encode_snapshot, restore_part
from serving.rules.correlation.values import CorrelationLimits
from serving.rules.errors import RuleError
from serving.stream.correlations.plan import CorrelationPlan, level_of
from serving.stream.events import StreamEvents
from serving.stream.state import RuleHit

_DELTAS: Final = msgspec.msgpack.Decoder(list[bytes])
MOST_EVENTS: Final = 100
"""Ids of events that a hit names."""


class PartitionCorrelations:
    """Observes each counted event in the order in which it is scored. hits, partial: how many hits there were, and how many of them of
    groups that had forgotten events."""

    def __init__(self, plan: CorrelationPlan, *, lateness_us: int, limits: CorrelationLimits | None = None) -> None:
        self._lateness_us, self._limits = lateness_us, limits
        self._deltas: list[bytes] = []
        self.hits = self.partial = 0
        self._take(plan)

    def use(self, plan: CorrelationPlan) -> None:
        """Go on with the rules of another bundle. State of correlations that both have is kept."""
        self._pack()
        parts = list(encode_snapshot(self.engine))
        self._take(plan)
        for part in parts:
            restore_part(self.engine, part)

    def update(self, events: StreamEvents) -> Sequence[RuleHit]:
        """See PartitionState."""
        return list(self._hits(events))

    def take_delta(self) -> bytes | None:
        """See PartitionState."""
        self._pack()
        if not self._deltas:
            return None
        deltas, self._deltas = self._deltas, []
        return msgspec.msgpack.encode(deltas)

    def snapshot(self) -> Iterable[bytes]:
        """See PartitionState."""
        return encode_snapshot(self.engine)

    def restore(self, part: bytes) -> None:
        """See PartitionState."""
        restore_part(self.engine, part)

    def apply(self, delta: bytes) -> None:
        """See PartitionState."""
        try:
            deltas = _DELTAS.decode(delta)
        except msgspec.MsgspecError as problem:
            raise ValueError(f"a delta of correlations is not readable: {problem}") from problem
        self.engine.record(None)
        for one in deltas:
            apply_delta(self.engine, one)
        self.engine.record(self._changes)

    def _take(self, plan: CorrelationPlan) -> None:
        self._plan = plan
        self._changes: list[GroupChange] = []
        self.engine = Correlator(plan.rules, lateness_us=self._lateness_us, limits=self._limits, hidden=plan.hidden)
        self.engine.record(self._changes)

    def _pack(self) -> None:
        if self._changes:
            self._deltas.append(encode_delta(self.engine, self._changes))
            self._changes.clear()

    def _hits(self, events: StreamEvents) -> Iterator[RuleHit]:
        plan, engine, times = self._plan, self.engine, events.times_us.tolist()
        for row in np.flatnonzero(events.is_counted).tolist():
            try:
                fields, matched = plan.match(events.bodies[row])
            except RuleError:
                continue  # no rule can match an event that cannot be read
            if not matched:
                continue
            for hit in engine.observe(times[row], matched, fields, events.records[row].id):
                self.hits += 1
                self.partial += hit.is_partial
                rule = hit.rule
                ids = hit.events[-MOST_EVENTS:]
                yield RuleHit(row, rule.id, rule.title or rule.id, level_of(rule), plan.word(rule), rule.techniques, ids)
