"""One look at a service, whole: judge the evidence, decide, and say what should be true now. Pure.

The operator's handler and the local loop are thin shells around `advance`: observe, advance, record, act. Traffic is taken away
(`Advance.acts_first`) even if recording fails."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from lifecycle.governance.acts import Act
from lifecycle.governance.approvals.recorded_state import and_then
from operators.rollout import history, moves
from operators.rollout.analysis import Statistics, analysis_of, assessed, standard_statistics
from operators.rollout.decide import decide
from operators.rollout.events import Event, events
from operators.rollout.evidence import Observation
from operators.rollout.facts import Desired, Facts, facts_at_look, within_rollback_window
from operators.rollout.governance.acts import acts_of, adoption
from operators.rollout.governance.floor import governed
from operators.rollout.replicas import wanted_replicas
from operators.rollout.status import RolloutStatus, Target, TargetVariant, VerbRequest
from operators.rollout.status_bounds import bounded
from operators.rollout.transitions import after


@dataclass(frozen=True, slots=True)
class Advance:
    """What one look at a service leads to. acts: to keep in the log of governed acts before anything else. status: to record. target: to
    carry out; None: nothing is served yet. decision: the move that counts most; made: all of them, in order. acts_first: traffic is
    taken from a candidate, so act at once, even if recording fails; otherwise record first, so that a look at an old status, which
    cannot be recorded, gives nobody traffic."""

    status: RolloutStatus
    target: Target | None
    decision: moves.Move
    made: tuple[moves.Move, ...] = ()
    events: tuple[Event, ...] = ()
    acts_first: bool = False
    acts: tuple[Act, ...] = ()


VERBS_A_LOOK = 32
"""Verbs answered at one look; the others wait for the next."""
MOVES_A_LOOK = 256
"""More is a loop in the rules: 64 steps take at most three moves each, and each verb one."""

_TAKES_TRAFFIC = (moves.Correct, moves.Abort, moves.Undo, moves.StopVariant, moves.Conclude)
_LAST = (moves.Start, moves.StartExperiment, moves.SetWeight, moves.SplitTraffic)
"""A look ends after these: a new candidate stays dark for one look at least, and new traffic is observed before the next move."""


def advance(
    desired: Desired,
    status: RolloutStatus,
    observation: Observation,
    requests: tuple[VerbRequest, ...],
    now: datetime,
    statistics: Statistics | None = None,
) -> Advance:
    """Judge, then decide and apply until nothing more moves at this look.

    The same arguments give the same outcome. At rest the status comes back equal, so nothing needs to be written."""
    statistics = statistics or standard_statistics()
    before, asked, view = status, desired.rollout, desired.governance
    acts = list(adoption(status, asked, view, now))
    desired = replace(desired, rollout=governed(asked, view), governance=and_then(view, acts))
    status = _forget_former(desired, _not_in_future(status, now), now)
    status = assessed(desired, status, observation, now, statistics)
    pending = tuple(r for r in requests if r.id not in status.handled)[:VERBS_A_LOOK]
    made: list[moves.Move] = []
    for _ in range(MOVES_A_LOOK):
        facts = _facts(desired, status, observation, now, statistics)
        move = decide(status.policy or desired.rollout, status, status.assessment, facts, pending, now)
        was, status = status, after(status, move, facts, now)
        left = tuple(acts_of(was, move, status, asked, view, pending, now))
        desired = replace(desired, governance=and_then(desired.governance, left))
        acts += left
        made.append(move)
        if isinstance(move, (moves.Hold, *_LAST)):
            break
    else:
        raise RuntimeError(f"{MOVES_A_LOOK} moves in one look, the last {made[-1]}; the rules do not come to rest")
    facts = _facts(desired, status, observation, now, statistics)
    status = bounded(history.pruned(status.model_copy(update={"is_ready": facts.candidate.is_everywhere}), requests))
    return Advance(
        status=status,
        target=_still_loaded(target(desired, status), before, made),
        decision=max(made, key=lambda m: not isinstance(m, moves.Hold | moves.NoteSpec | moves.Refuse)),
        made=tuple(made),
        events=events(before, status, made),
        acts_first=any(isinstance(m, _TAKES_TRAFFIC) for m in made),
        acts=tuple(acts),
    )


def target(desired: Desired, status: RolloutStatus) -> Target | None:
    """What should be true of a service in this status. None: there is no revision yet."""
    stable = status.stable or status.candidate
    if stable is None:
        return None
    variants: list[TargetVariant] = list(status.variants)
    if status.stable is not None and status.candidate is not None:
        variants.append(
            TargetVariant(name="candidate", revision=status.candidate, weight=status.weight, mirror=status.mirror),
        )
    if status.former is not None and status.former not in [v.revision for v in variants]:
        variants.append(TargetVariant(name="former", revision=status.former))
    is_known = desired.is_rollout_known or status.policy is not None or status.experiment is not None
    objective = analysis_of(desired, status).latency_objective
    return Target(
        stable=stable,
        variants=tuple(variants),
        latency_objective_ms=objective / timedelta(milliseconds=1) if is_known else None,
        replicas=wanted_replicas(desired.replicas, status.min_replicas, desired.min_replicas, desired.max_replicas),
    )


def _still_loaded(aimed: Target | None, before: RolloutStatus, made: list[moves.Move]) -> Target | None:
    """A look that takes traffic away keeps the revision that lost it loaded at weight 0. If recording fails, the next look may decide
    otherwise, and no weight may reach an unloaded revision. The look after it unloads."""
    if aimed is None or not any(isinstance(m, _TAKES_TRAFFIC) for m in made):
        return aimed
    lost = [*((v.name, v.revision) for v in before.variants), ("candidate", before.candidate), ("undone", before.stable)]
    loaded, names = {aimed.stable.digest, *(v.revision.digest for v in aimed.variants)}, {v.name for v in aimed.variants}
    dark = tuple(
        TargetVariant(name=f"{name[:26]}-gone" if name in names else name, revision=revision)
        for name, revision in lost
        if revision is not None and revision.digest not in loaded
    )
    return aimed.model_copy(update={"variants": (*aimed.variants, *dark)})


def _facts(desired: Desired, status: RolloutStatus, observation: Observation, now: datetime, statistics: Statistics) -> Facts:
    facts = facts_at_look(desired, status, observation, now)
    spec = status.policy
    if spec is None or spec.alert_budget is None or status.candidate_wanted is not None:
        return facts
    if facts.tally.mirrored_rows < spec.alert_budget.min_requests:
        return facts
    return replace(facts, calibration=statistics.calibrate(spec.alert_budget, facts.tally))


def _not_in_future(status: RolloutStatus, now: datetime) -> RolloutStatus:
    """Moments after `now` become `now`: a clock that was set back delays nothing."""
    names = ("started", "step_started", "last_progress", "split_since", "promoted_at")
    late = {name: now for name in names if (at := getattr(status, name)) is not None and at > now}
    return status.model_copy(update=late)


def _forget_former(desired: Desired, status: RolloutStatus, now: datetime) -> RolloutStatus:
    """The former stable is unloaded after the rollback window; it stays while the window is not known."""
    if not desired.is_rollout_known or within_rollback_window(status, desired.rollout.rollback_window, now):
        return status
    return status.model_copy(update={"former": None, "promoted_at": None})
