"""One look at a rollout's evidence: what the variants showed, whether it can be trusted, and what each gate says. Pure.

Valid at every look. Over all gates and looks, a sound candidate is called worse with probability at most alpha. A candidate that is worse
than a margin is called no worse with probability at most beta. Invalid evidence (stale, partial, a counter that fell, a broken split)
neither promotes nor aborts. operators.rollout.decide acts on the verdict."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from operators.rollout.evidence import Observation, Tally
from operators.rollout.judging import estimate, gates, verdict_words
from operators.rollout.judging.confidence_sequence import proportion
from operators.rollout.judging.gate_state import CapitalShare, GateState
from operators.rollout.judging.ledger import Growth, Ledger, absorb
from operators.rollout.judging.ratio_mismatch import finding, follow
from operators.rollout.judging.segment_streams import only_wanted, segments_told, without_segments
from operators.rollout.spec import Analysis, GateName
from operators.rollout.status import Assessment, GateView, Verdict
from serving.files.read_back import read_back

_LARGEST = 1e300
_PROBLEM_CHARS = 1500
"""The reason for a failed measurement is cut to this many characters, because a status has bounds. A status over its bounds could not be
read back."""


@dataclass(frozen=True, slots=True)
class JudgedLook:
    """The judgement of one look at the evidence. ledger: to be kept for the next look, JSON. totals: everything counted since the
    ledger began."""

    ledger: Mapping[str, Any]
    assessment: Assessment
    totals: Mapping[str, Tally]


def look(
    ledger: Mapping[str, Any],
    analysis: Analysis,
    split: Mapping[str, float],
    baseline: str,
    candidate: str,
    observation: Observation,
    now: datetime,
) -> JudgedLook:
    """Judge the candidate's tally against the baseline's. Looking twice at one observation changes nothing.

    ledger: of the last look; empty at the start. split: percent of entities by variant that was in force since the last look;
    stable has the rest. baseline, candidate: `variant@revision`; several candidates may share one ledger, one call each."""
    before = Ledger.read(ledger)
    told, observation = segments_told(observation, analysis), only_wanted(observation, analysis)
    kept_ledger, growth = absorb(before, observation)
    if kept_ledger.at != before.at:
        kept_ledger = _follow(kept_ledger, split, growth, observation.at)
    stable, tried = kept_ledger.totals.get(baseline, Tally()), kept_ledger.totals.get(candidate, Tally())
    name = f"{baseline}>{candidate}"
    states = _gate_states(kept_ledger, name, analysis)
    copies = max(1, sum(kept_ledger.counts(r.replica) for r in observation.replicas))
    states = tuple(s.look(stable, tried, kept_ledger.split.number, copies, told) for s in states)
    kept = {**kept_ledger.comparisons, name: [s.model_dump(mode="json", by_alias=True, exclude_defaults=True) for s in states]}
    kept_ledger = kept_ledger.model_copy(update={"comparisons": kept})
    is_live = split.get(candidate.split("@", maxsplit=1)[0], 0) > 0
    assessment = _assess(states, analysis, is_live, stable, tried, now)
    problem = _invalid(kept_ledger, observation, analysis.stale_after, now)
    if problem:
        assessment = assessment.model_copy(update={"verdict": Verdict.INVALID, "reason": problem, "more": None})
    return JudgedLook(kept_ledger.write(), assessment, without_segments(kept_ledger.totals))


def _follow(kept_ledger: Ledger, weights: Mapping[str, float], growth: Growth, at: datetime) -> Ledger:
    """The ledger after the sample-ratio test of this look."""
    fresh = {replica: _entities(tallies) for replica, tallies in growth.items()}
    split = follow(kept_ledger.split, weights, fresh, at)
    return kept_ledger.model_copy(update={"split": split, "mismatch": kept_ledger.mismatch or finding(split)})


def _entities(tallies: Mapping[str, Tally]) -> dict[str, int]:
    """New entities by variant. A variant that changed its revision between two looks has grown under both."""
    met = dict[str, int]()
    for name, tally in tallies.items():
        if tally.entities:
            variant = name.split("@", maxsplit=1)[0]
            met[variant] = met.get(variant, 0) + tally.entities
    return met


def _gate_states(kept_ledger: Ledger, name: str, analysis: Analysis) -> tuple[GateState, ...]:
    """The states in the ledger; a gate that is new or was edited starts from nothing."""
    kept = {s.gate.name: s for s in (read_back(GateState, k) for k in kept_ledger.comparisons.get(name, ()))}
    return tuple(kept[g.name] if g.name in kept and kept[g.name].gate == g else GateState(gate=g) for g in analysis.gates)


def _invalid(kept_ledger: Ledger, observation: Observation, stale_after: timedelta, now: datetime) -> str:
    """Why this look's evidence cannot be trusted; empty if it can."""
    if observation.problem is not None:
        return f"could not be measured: {observation.problem[:_PROBLEM_CHARS]}"
    if now - observation.at > stale_after:
        age = (now - observation.at).total_seconds()
        most = stale_after.total_seconds()
        return f"the evidence is {age:.0f} s old, expected at most {most:.0f} s; check that the replicas' /metrics answer"
    if len(observation.replicas) < observation.expected_replicas:
        return f"{len(observation.replicas)} of {observation.expected_replicas} replicas answered; waiting for the rest"
    if kept_ledger.fallen:
        fell = max(len(kept_ledger.fallen), kept_ledger.fallen_count)
        more = f" (and {fell - 1} more)" if fell > 1 else ""
        return f"{kept_ledger.fallen[0]}{more}; restart that replica, or retry the rollout to start counting again"
    return kept_ledger.mismatch


def _assess(
    states: tuple[GateState, ...], analysis: Analysis, is_live: bool, stable: Tally, tried: Tally, now: datetime
) -> Assessment:
    """All gates together."""
    limit = math.log(len(states) / analysis.alpha) if analysis.combine == "bonferroni" else math.log(1 / analysis.alpha)
    pooled = _log_mean([s.log_worse for s in states]) if analysis.combine == "average" else None
    blamed = max(states, key=lambda s: s.log_worse).gate.name if pooled is not None and pooled >= limit else None
    views = tuple(_view(s, analysis, is_live, tried, limit, pooled is not None, blamed) for s in states)
    requests = tried.requests + tried.mirrored
    missing = max(0, analysis.min_requests - (tried.requests if is_live else tried.mirrored))
    verdict, reason, more = _overall(views, missing, analysis)
    return Assessment(verdict=verdict, reason=reason, gates=views, requests=requests, more=more, at=now)


def _overall(views: tuple[GateView, ...], missing: int, analysis: Analysis) -> tuple[Verdict, str, int | None]:
    worse = [v for v in views if v.verdict is Verdict.WORSE]
    if worse:
        return Verdict.WORSE, "; ".join(v.reason for v in worse), None
    waiting = [v for v in views if v.verdict is Verdict.UNDECIDED]
    if waiting:
        known = [v.more for v in waiting if v.more is not None]
        more = max(known) if len(known) == len(waiting) else None
        slowest = max(waiting, key=lambda v: math.inf if v.more is None else v.more)
        return Verdict.UNDECIDED, slowest.reason, None if more is None else max(more, missing)
    if missing:
        return Verdict.UNDECIDED, f"needs {missing} more candidate requests: minRequests is {analysis.min_requests}", missing
    verdict = Verdict.BETTER if any(v.verdict is Verdict.BETTER for v in views) else Verdict.NO_WORSE
    return verdict, "; ".join(v.reason for v in views), None


def _view(
    state: GateState, analysis: Analysis, is_live: bool, tried: Tally, limit: float, is_pooled: bool, blamed: GateName | None
) -> GateView:
    """One gate, for people."""
    gate, log_worse = state.gate, state.log_worse
    part = _deciding_share(state, is_live)
    log_no_worse = log_better = -math.inf
    if part is not None:
        log_no_worse, log_better = part.log_share + part.log_no_worse(gate), part.log_share + part.log_better(gate)
    passed = math.log(1 / analysis.beta)
    more = None
    if gate.name is blamed or (not is_pooled and log_worse >= limit):
        verdict = Verdict.WORSE
        part = max(state.parts, key=lambda p: p.log_share + p.log_worse(gate), default=part)
    elif log_better >= passed:
        verdict = Verdict.BETTER
    elif log_no_worse >= passed:
        verdict = Verdict.NO_WORSE
    else:
        verdict = Verdict.UNDECIDED
        more = estimate.requests_until_verdict(
            part, gate, limit - log_worse, passed - log_no_worse, gates.requests_per(tried, gate)
        )
    stable, candidate = _counts(part, verdict)
    return GateView(
        name=gate.name,
        verdict=verdict,
        e_worse=_e_value(log_worse),
        e_no_worse=_e_value(log_no_worse) if part is not None else 1.0,
        stable=stable,
        candidate=candidate,
        stable_interval=proportion(*stable, analysis.alpha) if stable[0] else None,
        candidate_interval=proportion(*candidate, analysis.alpha) if candidate[0] else None,
        more=more,
        reason=verdict_words.gate_reason(gate, verdict, part, is_live, more),
    )


def _deciding_share(state: GateState, is_live: bool) -> CapitalShare | None:
    """The part that decides `no_worse`: live evidence once the candidate has a weight, mirrored before; flips are always mirrored."""
    if state.gate.name is GateName.FLIPS:
        return state.part("mirror")
    return state.part("live") if is_live or state.gate.name in gates.LABELLED else state.part("mirror")


def _counts(part: CapitalShare | None, verdict: Verdict) -> tuple[tuple[int, int], tuple[int, int]]:
    """(n, k) of stable and candidate; of pairs: those judged lower and those judged higher by the candidate; of segments: of the one
    that the verdict is about."""
    if part is None:
        return (0, 0), (0, 0)
    if part.segments is not None:
        shown = verdict_words.shown_gap(part.segments, verdict)
        return (shown.streams[1], shown.streams[3]) if shown else ((0, 0), (0, 0))
    if part.stream is not None:
        a, b = part.stream.stable, part.stream.candidate
        return (a.n, a.k), (b.n, b.k)
    assert part.pairs is not None  # noqa: S101  # nosec B101  # for the type
    return (part.pairs.n, part.pairs.down), (part.pairs.n, part.pairs.up)


def _log_mean(logs: list[float]) -> float:
    top = max(logs)
    return top + math.log(sum(math.exp(v - top) for v in logs) / len(logs))


def _e_value(log: float) -> float:
    return min(math.exp(min(log, 700.0)), _LARGEST)
