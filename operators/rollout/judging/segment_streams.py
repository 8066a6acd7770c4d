"""The fairness gate's evidence: one e-process state for each segment, kept between looks. Pure.

What is bet and why it is valid is segment_process.py's. Whatever was counted before a part of the gate's evidence began teaches the
bets and is no evidence. Which segments there are is fixed then: all that the replicas tell, also those that nobody was in so far."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from operators.rollout.evidence import Observation, ReplicaEvidence, Tally
from operators.rollout.judging.eprocess import Floats
from operators.rollout.judging.segment_process import BETS, LEAST, growth, log_gains, log_no_worse, log_worse
from operators.rollout.spec import Analysis, Gate, GateName
from operators.values import Value
from serving.telemetry.segments import EVERYBODY

LEAST_SHARE: Final = 0.01
"""A segment with a smaller share of the candidate's rows is not waited for: it may say worse, and no worse is said without it."""
_MICRO: Final = 1e6
SEGMENT_MAPS: Final = (
    "segment_rows",
    "segment_alerts",
    "segment_entities",
    "segment_entity_alerts",
    "mirrored_segment_rows",
    "mirrored_segment_alerts",
)
"""The counters of a tally that are by segment."""
SegmentEvidence = Literal["live", "mirror", "entity"]


@dataclass(frozen=True, slots=True)
class SegmentGap:
    """One segment, for people: (n, k) of stable's rest, stable's segment, candidate's rest, candidate's segment."""

    segment: str
    streams: tuple[tuple[int, int], ...]
    log_worse: float
    log_no_worse: float
    is_waited_for: bool

    @property
    def rates(self) -> tuple[float, ...]:
        """Of the four streams; 0 where nothing was seen."""
        return tuple(k / n if n else 0.0 for n, k in self.streams)

    @property
    def gaps(self) -> tuple[float, float]:
        """Stable's and the candidate's."""
        a_r, a_s, b_r, b_s = self.rates
        return a_s - a_r, b_s - b_r


class SegmentState(Value):
    """One segment's totals that were bet on so far, and each bet's log capital in millionths, rounded down."""

    n: tuple[int, int, int, int]
    k: tuple[int, int, int, int]
    logs: tuple[int, ...] = ()


class SegmentStreams(Value):
    """Every segment of one kind of evidence. A frozen value: `look` gives the next."""

    states: Mapping[str, SegmentState] = {}
    two_sided: bool = True

    @classmethod
    def start(cls, totals: Mapping[str, "Streams"], *, is_two_sided: bool) -> "SegmentStreams":
        """Begin: nothing that was counted so far is evidence."""
        return cls(states={name: SegmentState(n=now.n, k=now.k) for name, now in totals.items()}, two_sided=is_two_sided)

    def look(self, totals: Mapping[str, "Streams"], margin: float, copies: int = 1) -> "SegmentStreams":
        """After a look at which the totals stood like this. copies: as in TwoStream.look."""
        ready: list[tuple[str, SegmentState, Floats, Floats]] = []
        for name, state in self.states.items():
            now = totals.get(name)
            if now is None:
                continue
            n = np.subtract(now.n, state.n).astype(np.float64)
            k = np.clip(np.subtract(now.k, state.k).astype(np.float64), 0, np.maximum(n, 0))
            if (n >= LEAST).all():
                ready.append((name, state, n, k))
        if not ready:
            return self
        new_n, new_k = np.stack([n for _, _, n, _ in ready], axis=1), np.stack([k for _, _, _, k in ready], axis=1)
        past_n, past_k = (np.array([getattr(s, what) for _, s, _, _ in ready], dtype=np.float64).T for what in ("n", "k"))
        gains = log_gains(new_n, new_k, past_n, past_k, margin) / copies
        states = dict(self.states)
        for place, (name, state, n, k) in enumerate(ready):
            before = np.asarray(state.logs or (0,) * BETS)
            logs = tuple(int(v) for v in np.floor(before + gains[:, place] * _MICRO))
            states[name] = SegmentState(n=_added(state.n, n), k=_added(state.k, k), logs=logs)
        return self.model_copy(update={"states": states})

    @property
    def log_worse(self) -> float:
        """log of the mean of all segments' e-values: an e-value whatever they have to do with each other."""
        each = log_worse(self._logs(), is_two_sided=self.two_sided)
        return float(each.max() + np.log(np.exp(each - each.max()).mean())) if len(each) else 0.0

    @property
    def log_no_worse(self) -> float:
        """The least of all segments that are waited for; -infinity if there is none."""
        return min((gap.log_no_worse for gap in self.gaps() if gap.is_waited_for), default=-math.inf)

    def gaps(self) -> list[SegmentGap]:
        """Every segment, the most suspicious first."""
        logs = self._logs()
        worse = log_worse(logs, is_two_sided=self.two_sided)
        no_worse = log_no_worse(logs, is_two_sided=self.two_sided)
        found = [
            SegmentGap(
                name,
                tuple(zip(state.n, state.k, strict=True)),
                float(worse[place]),
                float(no_worse[place]),
                state.n[3] > 0 and state.n[3] >= LEAST_SHARE * (state.n[2] + state.n[3]),
            )
            for place, (name, state) in enumerate(self.states.items())
        ]
        return sorted(found, key=lambda gap: (-gap.log_worse, gap.segment))

    def growth(self, segment: str, margin: float) -> tuple[float, float]:
        """(towards worse, towards no worse): nats of as many observations again as were seen, if rates are what was seen."""
        state = self.states[segment]
        counted = np.array([state.n], dtype=np.float64).T
        worse, within = growth(counted, np.array([state.k], dtype=np.float64).T, margin, is_two_sided=self.two_sided)
        return float(worse[0]), float(within[0])

    def _logs(self) -> Floats:
        return np.array([s.logs or (0,) * BETS for s in self.states.values()], dtype=np.float64).reshape(-1, BETS).T / _MICRO


class Streams(Value):
    """Totals (n, k) of four streams: stable and candidate (a, b), each for the segment and for the rest (s, r)."""

    n: tuple[int, int, int, int]
    k: tuple[int, int, int, int]


def totals_of(stable: Tally, candidate: Tally, kind: SegmentEvidence, segments: Sequence[str]) -> dict[str, Streams]:
    """Each segment's four streams. The rest is everybody's rows less the segment's; k never exceeds n."""
    (n_a, k_a), (n_b, k_b) = _maps(stable, kind), _maps(candidate, kind)
    found = {}
    for name in segments:
        n, k = [0] * 4, [0] * 4
        for place, (rows, alerts) in ((0, (n_a, k_a)), (2, (n_b, k_b))):
            n[place + 1], k[place + 1] = rows.get(name, 0), alerts.get(name, 0)
            n[place] = max(0, rows.get(EVERYBODY, 0) - n[place + 1])
            k[place] = max(0, alerts.get(EVERYBODY, 0) - k[place + 1])
        n4 = (n[0], n[1], n[2], n[3])
        found[name] = Streams(n=n4, k=(min(k[0], n[0]), min(k[1], n[1]), min(k[2], n[2]), min(k[3], n[3])))
    return found


def segments_told(observation: Observation, analysis: Analysis) -> tuple[str, ...]:
    """The segments that the fairness gate looks at, of all that any replica tells; sorted. Empty without such a gate."""
    gate = _fairness(analysis)
    if gate is None:
        return ()
    told = {name for replica in observation.replicas for tally in replica.tallies.values() for name in tally.segment_rows}
    return tuple(sorted(name for name in told if _is_of(name, gate)))


def only_wanted(observation: Observation, analysis: Analysis) -> Observation:
    """Without the counters of segments that no gate looks at, and without those that are 0: a ledger has little room."""
    gate = _fairness(analysis)
    if not any(t.segment_rows for r in observation.replicas for t in r.tallies.values()):
        return observation
    return observation.model_copy(update={"replicas": tuple(_only_wanted(r, gate) for r in observation.replicas)})


def without_segments(totals: Mapping[str, Tally]) -> dict[str, Tally]:
    """Totals without what is by segment: the ledger keeps that, and a status has little room."""
    return {name: tally.model_copy(update={what: {} for what in SEGMENT_MAPS}) for name, tally in totals.items()}


def _only_wanted(replica: ReplicaEvidence, gate: Gate | None) -> ReplicaEvidence:
    tallies = {}
    for name, tally in replica.tallies.items():
        kept = {
            what: {
                segment: count
                for segment, count in getattr(tally, what).items()
                if gate is not None and count and (segment == EVERYBODY or _is_of(segment, gate))
            }
            for what in SEGMENT_MAPS
        }
        tallies[name] = tally.model_copy(update=kept)
    return replica.model_copy(update={"tallies": tallies})


def _fairness(analysis: Analysis) -> Gate | None:
    return next((g for g in analysis.gates if g.name is GateName.FAIRNESS), None)


def _is_of(segment: str, gate: Gate) -> bool:
    return segment != EVERYBODY and (gate.by is None or segment.startswith(f"{gate.by}="))


def _maps(tally: Tally, kind: SegmentEvidence) -> tuple[Mapping[str, int], Mapping[str, int]]:
    if kind == "mirror":
        return tally.mirrored_segment_rows, tally.mirrored_segment_alerts
    if kind == "entity":
        return tally.segment_entities, tally.segment_entity_alerts
    return tally.segment_rows, tally.segment_alerts


def _added(before: tuple[int, int, int, int], new: Floats) -> tuple[int, int, int, int]:
    a, b, c, d = (old + int(more) for old, more in zip(before, new.tolist(), strict=True))
    return a, b, c, d
