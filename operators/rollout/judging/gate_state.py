"""The state of one gate: its e-processes on live and mirrored evidence, and their shares of the gate's capital. Pure.

The capital starts at 1. Each part takes a share of what is left when it first has something to see, and they add up: the sum is an
e-process under any dependence between the parts. `worse` is the sum reaching its limit; One part alone decides `no_worse`, with its own
share: live evidence once the candidate has a weight, because clients meet it then; mirrored evidence before. A split that changes makes
replicas forget their entities: with unit `entity` each split has a part of its own."""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from operators.rollout.evidence import Tally
from operators.rollout.judging import gates, paired
from operators.rollout.judging.eprocess import Counts, TwoStream, log_sum
from operators.rollout.judging.paired import Pairs
from operators.rollout.judging.segment_streams import SegmentEvidence, SegmentStreams, totals_of
from operators.rollout.spec import Gate, GateName
from operators.values import Value

LIVE_SHARE = 0.98
"""Share of the remaining capital for live requests; the rest is reserved for mirrored evidence that may come later."""
SHARE = 0.5
"""For mirrored evidence, and for each split's entities."""


class CapitalShare(Value):
    """One e-process and the share of capital it plays with."""

    kind: Literal["live", "mirror"]
    log_share: float
    split: int = 0
    """Number of the split, for gates by entity."""
    base: tuple[Counts, Counts] = (Counts(), Counts())
    """Where stable's and the candidate's counts stood when it began."""
    stream: TwoStream | None = None
    pairs: Pairs | None = None
    segments: SegmentStreams | None = None

    def log_worse(self, gate: Gate) -> float:
        """log e-value against "no worse than the margin"."""
        if self.segments is not None:
            return self.segments.log_worse
        if self.stream is not None:
            return self.stream.log_worse
        p = self.pairs or Pairs()
        if _is_share(gate):
            return float(paired.log_e(p.differ, 0, p.same, gate.margin, 0.0))
        worse = paired.log_e_either if is_two_sided(gate) else paired.log_e
        return float(worse(p.up, p.down, p.same, gate.margin))

    def log_no_worse(self, gate: Gate) -> float:
        """log e-value against "worse than the margin"."""
        if self.segments is not None:
            return self.segments.log_no_worse
        if self.stream is not None:
            return self.stream.log_no_worse
        p = self.pairs or Pairs()
        if _is_share(gate):  # the same bets on "does not differ"
            return float(paired.log_e(p.same, 0, p.differ, 1 - gate.margin, 0.0))
        above, below = (float(paired.log_e(*c, p.same, -gate.margin)) for c in ((p.down, p.up), (p.up, p.down)))
        return min(above, below) if is_two_sided(gate) else above

    def log_better(self, gate: Gate) -> float:
        """log e-value against "no better than stable"; one-sided gates only."""
        if self.stream is not None:
            return self.stream.log_better
        p = self.pairs or Pairs()
        has_none = is_two_sided(gate) or gate.name in (GateName.FLIPS, GateName.FAIRNESS)
        return -math.inf if has_none else float(paired.log_e(p.down, p.up, p.same, 0.0))


def _is_share(gate: Gate) -> bool:
    """Whether it is judged by the share of pairs that differ, not by which way they do."""
    return gate.name is GateName.FLIPS and gate.margin > 0


def is_two_sided(gate: Gate) -> bool:
    """Flips without a margin are judged by which way they go, and either way counts."""
    return gate.is_two_sided or (gate.name is GateName.FLIPS and gate.margin == 0)


class GateState(Value):
    """One gate's e-processes and the capital they share. `look` gives the next state."""

    gate: Gate
    log_left: float | None = 0.0
    """log of the capital that no part has taken; None: nothing is left."""
    log_retired: float | None = None
    """log of the capital that ended parts had reached."""
    parts: tuple[CapitalShare, ...] = ()
    last: tuple[Counts, Counts] = (Counts(), Counts())
    """Live counts of stable and candidate at the last look."""

    def look(self, stable: Tally, candidate: Tally, split: int, replicas: int, segments: Sequence[str] = ()) -> "GateState":
        """After a look at which the totals stood like this. split: number of the split that stands. replicas: how many count
        entities; replicas count the same entities, so the joint evidence is the geometric mean of the replicas' evidence.
        segments: those that replicas tell."""
        state = self
        if self.gate.unit == "entity":
            state = state._retire(split)
        if self.gate.name is GateName.FAIRNESS:
            return state._segments(stable, candidate, split, replicas, segments)
        live, at_stable = gates.live(candidate, self.gate), gates.live(stable, self.gate)
        mirrored, pairs = gates.mirrored(candidate, self.gate), gates.pairs(candidate, self.gate)
        state = state._stream("live", at_stable, live, split, replicas if self.gate.unit == "entity" else 1)
        if not gates.is_paired(self.gate):
            state = state._stream("mirror", at_stable, mirrored, 0, 1)
        elif pairs.n:
            state = state._paired(pairs)
        return state.model_copy(update={"last": (at_stable, live)})

    def part(self, kind: str) -> CapitalShare | None:
        """The part in play."""
        return next((p for p in self.parts if p.kind == kind), None)

    @property
    def log_worse(self) -> float:
        """log of the gate's e-value against "no worse than the margin"."""
        logs = [p.log_share + p.log_worse(self.gate) for p in self.parts]
        logs += [v for v in (self.log_left, self.log_retired) if v is not None]
        return float(log_sum(np.asarray(logs)))

    def _take(self, share: float) -> tuple["GateState", float]:
        left = self.log_left if self.log_left is not None else -math.inf
        return self.model_copy(update={"log_left": left + math.log1p(-share)}), left + math.log(share)

    def _retire(self, split: int) -> "GateState":
        ended = [p for p in self.parts if p.split != split]
        if not ended:
            return self
        logs = [p.log_share + p.log_worse(self.gate) for p in ended]
        logs += [] if self.log_retired is None else [self.log_retired]
        return self.model_copy(
            update={"log_retired": float(log_sum(np.asarray(logs))), "parts": tuple(p for p in self.parts if p.split == split)}
        )

    def _stream(
        self, kind: Literal["live", "mirror"], stable: Counts, candidate: Counts, split: int, replicas: int
    ) -> "GateState":
        state, part = self, self.part(kind)
        if part is None:
            is_by_entity = self.gate.unit == "entity"
            base = self.last if is_by_entity else (Counts(), Counts())
            if candidate.n == base[1].n:
                return self
            state, log_share = self._take(LIVE_SHARE if kind == "live" and not is_by_entity else SHARE)
            stream = TwoStream.start(self.gate.margin, is_two_sided=self.gate.is_two_sided)
            if not is_by_entity:
                stream = stream.model_copy(
                    update={"stable": self.last[0]}
                )  # stable's history teaches the bets, and is no evidence
            part = CapitalShare(kind=kind, log_share=log_share, split=split, base=base, stream=stream)
        assert part.stream is not None  # noqa: S101  # nosec B101  # for the type
        seen = part.stream
        grown = seen.look(_new(stable, part.base[0], seen.stable), _new(candidate, part.base[1], seen.candidate), replicas)
        return state._with(part.model_copy(update={"stream": grown}))

    def _segments(self, stable: Tally, candidate: Tally, split: int, replicas: int, names: Sequence[str]) -> "GateState":
        """Live evidence (rows, or entities) and mirrored rows, each from the first look at which the candidate has some."""
        state, is_by_entity = self, self.gate.unit == "entity"
        live: SegmentEvidence = "entity" if is_by_entity else "live"
        kinds: list[tuple[Literal["live", "mirror"], SegmentEvidence]] = [("live", live), ("mirror", "mirror")]
        for kind, evidence in kinds[:1] if is_by_entity else kinds:
            part = state.part(kind)
            known = names if part is None or part.segments is None else tuple(part.segments.states)
            totals = totals_of(stable, candidate, evidence, known)
            if part is not None and part.segments is not None:
                copies = replicas if is_by_entity else 1
                grown = part.segments.look(totals, self.gate.margin, copies)
                state = state._with(part.model_copy(update={"segments": grown}))
            elif any(now.n[2] + now.n[3] for now in totals.values()):
                state, log_share = state._take(LIVE_SHARE if kind == "live" and not is_by_entity else SHARE)
                begun = SegmentStreams.start(totals, is_two_sided=self.gate.is_two_sided)
                state = state._with(CapitalShare(kind=kind, log_share=log_share, split=split, segments=begun))
        return state

    def _paired(self, pairs: Pairs) -> "GateState":
        state, part = self, self.part("mirror")
        if part is None:
            state, log_share = self._take(SHARE)
            part = CapitalShare(kind="mirror", log_share=log_share)
        return state._with(part.model_copy(update={"pairs": pairs}))

    def _with(self, part: CapitalShare) -> "GateState":
        others = tuple(p for p in self.parts if p.kind != part.kind)
        return self.model_copy(update={"parts": (*others, part)})


def _new(total: Counts, base: Counts, seen: Counts) -> Counts:
    """What is not yet in the e-process; a bad event whose observation is not counted yet waits for it."""
    n = total.n - base.n - seen.n
    return Counts(n=n, k=min(n, total.k - base.k - seen.k))
