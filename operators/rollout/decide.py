"""The rollout decision: what one look at a rollout should lead to, and why.

Pure: no clock, cluster or metrics server. This file holds the rules that move a rollout by itself; those of verbs are in
operators.rollout.verbs, those of experiments in operators.rollout.experiments, those of approvals in operators.rollout.governance. The
order is the rank: a status that was changed by hand, harm, the spec, verbs, steps."""

from dataclasses import replace
from datetime import datetime

from operators.rollout import verbs
from operators.rollout.experiments import decide as experiments
from operators.rollout.facts import Facts, within_rollback_window
from operators.rollout.governance import approving
from operators.rollout.governance.tampering import correction
from operators.rollout.moves import (
    Abort,
    Calibrate,
    Hold,
    MarkInconclusive,
    Move,
    NoteSpec,
    PassStep,
    Promote,
    ReportOverdue,
    SetMirror,
    SetReplicas,
    SetWeight,
    Start,
    Undo,
)
from operators.rollout.spec import (
    AlertBudget,
    AnalysisStep,
    ApprovalStep,
    MirrorStep,
    PauseStep,
    ReplicasStep,
    Revision,
    RolloutSpec,
)
from operators.rollout.status import Assessment, Phase, RolloutStatus, VerbRequest, Verdict
from operators.values import format_duration

PASSING = (Verdict.NO_WORSE, Verdict.BETTER)


def decide(
    spec: RolloutSpec,
    status: RolloutStatus,
    assessment: Assessment,
    facts: Facts,
    requests: tuple[VerbRequest, ...],
    now: datetime,
) -> Move:
    """Choose the next move. Deciding twice on the same facts gives the same move.

    spec: the policy that the rollout keeps to. requests: verbs, the oldest first; those in `status.handled` are ignored."""
    return (
        correction(status, spec, facts.desired.governance, now)
        or _harm(status, assessment, facts)
        or _spec_changed(spec, status, facts, now)
        or verbs.answer_verb(spec, status, facts, requests, now)
        or experiments.decide(status, facts, requests, now)
        or _deadline(spec, status, now)
        or _rest(status, facts)
        or _held(status, facts)
        or _next_step(spec, status, assessment, facts, now)
    )


def _harm(status: RolloutStatus, assessment: Assessment, facts: Facts) -> Move | None:
    """Worse evidence, or a candidate that cannot be loaded, aborts a rollout at once, whatever it waits for."""
    if not status.is_under_way or status.stable is None:
        return None
    if assessment.verdict is Verdict.WORSE:
        return Abort(reason=f"worse: {assessment.reason}", assessment=assessment, is_settled=_is_settled(status, facts))
    if facts.candidate.failure is not None:
        return Abort(reason=facts.candidate.failure, is_settled=_is_settled(status, facts))
    return None


def _is_settled(status: RolloutStatus, facts: Facts) -> bool:
    asked = facts.desired.revision
    return asked is not None and status.is_stable(asked.digest)


def _spec_changed(spec: RolloutSpec, status: RolloutStatus, facts: Facts, now: datetime) -> Move | None:
    """Another revision in the spec supersedes what is under way; stable again takes it back; the former one undoes."""
    desired = facts.desired
    if desired.revision is None:
        return None
    asked = desired.revision.digest
    if asked == status.seen:
        return None
    if status.is_stable(asked):
        if status.is_under_way:
            return Abort(reason="the spec asks for stable again", by=desired.by, seen=asked, is_settled=True)
        return NoteSpec(seen=asked, reason="the spec asks for what is stable")
    if status.experiment is not None:
        return None
    if status.wanted is not None and asked == status.wanted.digest:
        return NoteSpec(seen=asked, reason="the spec asks for the candidate")
    why = desired.why or f"the spec asks for version {desired.revision.version}"
    is_former = status.former is not None and asked == status.former.digest
    if is_former and within_rollback_window(status, desired.rollout.rollback_window, now):
        why = f"{why}, which was stable until {status.promoted_at:%Y-%m-%d %H:%M:%SZ}, within the rollback window"
        if facts.former.is_everywhere:
            return Undo(reason=why, by=desired.by, seen=asked)
        return Start(revision=desired.revision, reason=why, by=desired.by, seen=asked, is_full=True)
    return Start(revision=desired.revision, reason=why, by=desired.by, seen=asked)


def _deadline(spec: RolloutSpec, status: RolloutStatus, now: datetime) -> Move | None:
    """Lack of progress is reported once, or aborts where the policy says so. Waiting for people and a timed pause do not count."""
    limit, began = spec.progress_deadline, status.last_progress
    if limit is None or began is None or status.phase is Phase.PAUSED:
        return None
    if _is_pause(spec, status) or now - began <= limit:
        return None
    reason = f"no progress for {format_duration(limit)}; waiting for {status.waiting_for or 'the next look'}"
    if spec.abort_on_deadline and status.stable is not None:
        return Abort(reason=reason)
    return None if status.is_overdue else ReportOverdue(reason=reason)


def _is_pause(spec: RolloutSpec, status: RolloutStatus) -> bool:
    return status.step_index < len(spec.steps) and spec.steps[status.step_index].pause is not None


def _rest(status: RolloutStatus, facts: Facts) -> Move | None:
    """Nothing is under way; or the first revision ever comes up, with nothing to compare it with."""
    if status.phase is Phase.ABORTED:
        return Hold(phase=Phase.ABORTED, waiting_for="a new revision, or retry", reason=status.message)
    if status.candidate is None:
        return Hold(phase=Phase.HEALTHY, reason=status.message)
    if status.stable is not None:
        return None
    if facts.candidate.is_everywhere:
        return Promote(reason="the first revision: there is no stable to compare it with")
    failure = facts.candidate.failure
    return Hold(
        phase=Phase.PROGRESSING,
        waiting_for=f"a revision that can be loaded: {failure}" if failure else f"loading: {facts.candidate.words}",
    )


def _held(status: RolloutStatus, facts: Facts) -> Move | None:
    """People paused it. Evidence may still abort it."""
    if status.paused_by is not None:
        return Hold(phase=Phase.PAUSED, waiting_for=f"resume; paused by {status.paused_by}")
    if facts.desired.is_paused:
        return Hold(phase=Phase.PAUSED, waiting_for="spec.paused to become false")
    if status.is_inconclusive and status.full_by is None:
        return Hold(phase=Phase.PAUSED, waiting_for="people: the analysis is inconclusive; promote, resume (wait on) or abort")
    return None


def _next_step(spec: RolloutSpec, status: RolloutStatus, assessment: Assessment, facts: Facts, now: datetime) -> Move:
    """The rule of the step under way."""
    if status.step_index >= len(spec.steps):
        return _finish(spec, status, assessment, facts)
    step = spec.steps[status.step_index].what
    if isinstance(step, ApprovalStep):
        return _approval(step, spec, status, facts, now)
    if status.full_by is not None:
        return PassStep(reason=f"in full, by {status.full_by}")
    if isinstance(step, PauseStep):
        return _pause(step, status, now)
    if isinstance(step, AnalysisStep):
        return _analysis(step, spec, status, assessment, facts, now)
    return _set(step, spec, status, assessment, facts)


def _set(
    step: float | MirrorStep | ReplicasStep, spec: RolloutSpec, status: RolloutStatus, assessment: Assessment, facts: Facts
) -> Move:
    """Steps that change what is served wait until every replica has the candidate loaded."""
    if not facts.candidate.is_everywhere:
        return _loading(facts)
    if isinstance(step, MirrorStep):
        return _mirror(step.percent, spec, status, facts)
    if not isinstance(step, ReplicasStep):
        return _raise(step, status, assessment)
    if status.min_replicas != step.replicas:
        return SetReplicas(replicas=step.replicas, reason=f"step {status.step_index + 1} asks for them")
    if facts.replicas < step.replicas:
        return Hold(phase=Phase.PROGRESSING, waiting_for=f"replicas: {facts.replicas} of {step.replicas} are up")
    return PassStep(reason=f"{facts.replicas} replicas are up")


def _loading(facts: Facts) -> Move:
    return Hold(phase=Phase.PROGRESSING, waiting_for=f"loading: {facts.candidate.words}")


def _raise(weight: float, status: RolloutStatus, assessment: Assessment) -> Move:
    """More traffic needs valid evidence: an error in measuring never promotes."""
    if status.weight >= weight:
        return PassStep(reason=f"the weight is {status.weight:g} %")
    if assessment.verdict is Verdict.INVALID:
        return _invalid(assessment)
    return SetWeight(weight=weight, reason=f"step {status.step_index + 1}", assessment=assessment)


def _invalid(assessment: Assessment) -> Move:
    return Hold(phase=Phase.PROGRESSING, waiting_for=f"valid evidence: {assessment.reason}")


def _mirror(percent: float, spec: RolloutSpec, status: RolloutStatus, facts: Facts) -> Move:
    """Mirror; with an alert budget, also wait until the candidate's threshold is set."""
    if status.mirror != percent:
        return SetMirror(percent=percent, reason=f"step {status.step_index + 1}")
    if spec.alert_budget is None or status.candidate_wanted is not None or percent == 0:
        return PassStep(reason=f"{percent:g} % of requests are mirrored")
    return _calibrate(spec.alert_budget, status.candidate, facts)


def _calibrate(budget: AlertBudget, candidate: Revision | None, facts: Facts) -> Move:
    """Set the threshold at which the candidate alerts as often as stable, once there are enough scores."""
    found = facts.calibration
    rows = facts.tally.mirrored_rows
    if rows < budget.min_requests:
        return Hold(phase=Phase.PROGRESSING, waiting_for=f"alertBudget: {budget.min_requests - rows} more mirrored rows")
    if candidate is None or candidate.operating_point is None:
        return Hold(phase=Phase.PROGRESSING, waiting_for="alertBudget: revision.operatingPoint must say whose threshold to set")
    if found is None or found.threshold is None:
        why = found.reason if found else "no scores were counted"
        return Hold(phase=Phase.PROGRESSING, waiting_for=f"alertBudget: {why}")
    thresholds = {**candidate.thresholds, candidate.operating_point: found.threshold}
    return Calibrate(revision=candidate.model_copy(update={"thresholds": thresholds}), reason=found.reason)


def _pause(step: PauseStep, status: RolloutStatus, now: datetime) -> Move:
    if step.duration is None:
        return Hold(phase=Phase.PAUSED, waiting_for="people: promote goes on from this pause")
    began = status.step_started or now
    if now - began >= step.duration:
        return PassStep(reason=f"paused for {format_duration(step.duration)}")
    return Hold(phase=Phase.PROGRESSING, waiting_for=f"the pause to end at {began + step.duration:%H:%M:%SZ}")


def _approval(step: ApprovalStep, spec: RolloutSpec, status: RolloutStatus, facts: Facts, now: datetime) -> Move:
    move = approving.next_move(step, spec, status, facts.desired.governance, now)
    if not isinstance(move, Hold) or facts.desired.is_by_checked:
        return move
    return replace(
        move, waiting_for=f"{move.waiting_for}; it is not known who started it, because no admission webhook checks names here"
    )


def _analysis(
    step: AnalysisStep, spec: RolloutSpec, status: RolloutStatus, assessment: Assessment, facts: Facts, now: datetime
) -> Move:
    """Passes on `no_worse` or `better`, with enough requests since this step began."""
    least = spec.analysis.min_requests if step.min_requests is None else step.min_requests
    seen = facts.judged_requests(status) - status.requests_before
    if assessment.verdict in PASSING and seen >= least:
        return PassStep(reason=f"{assessment.verdict}: {assessment.reason}", assessment=assessment)
    if step.max_duration is not None and now - (status.step_started or now) >= step.max_duration:
        return MarkInconclusive(
            reason=f"inconclusive after {format_duration(step.max_duration)}: {assessment.verdict}, {assessment.reason}",
            assessment=assessment,
        )
    if assessment.verdict is Verdict.INVALID:
        return _invalid(assessment)
    return Hold(phase=Phase.PROGRESSING, waiting_for=_more(assessment, least - seen))


def _more(assessment: Assessment, missing: int) -> str:
    if assessment.verdict in PASSING:
        return f"evidence of this step: {missing} more requests"
    if assessment.more is not None:
        return f"evidence: about {max(assessment.more, missing)} more requests"
    return f"evidence: {assessment.reason or 'undecided'}"


def _finish(spec: RolloutSpec, status: RolloutStatus, assessment: Assessment, facts: Facts) -> Move:
    """After the last step: all traffic, then promotion, which needs evidence that is valid and not worse.

    Analysis steps have seen their evidence already. A policy without any waits for `analysis.minRequests` requests of the candidate:
    no evidence is not success."""
    if not facts.candidate.is_everywhere:
        return _loading(facts)
    is_full = status.full_by is not None
    if status.weight < 100:
        if is_full:
            return SetWeight(weight=100.0, reason=f"in full, by {status.full_by}", by=status.full_by or "operator")
        return _raise(100.0, status, assessment)
    if is_full:
        return Promote(reason=f"in full, by {status.full_by}", by=status.full_by or "operator", assessment=assessment)
    if assessment.verdict is Verdict.INVALID:
        return _invalid(assessment)
    is_judged = any(s.analysis for s in spec.steps)
    seen = facts.tally.requests + facts.tally.mirrored
    if not is_judged and assessment.verdict not in PASSING and seen < spec.analysis.min_requests:
        return Hold(phase=Phase.PROGRESSING, waiting_for=f"evidence: {spec.analysis.min_requests - seen} more requests")
    return Promote(reason=f"all {len(spec.steps)} steps passed; {assessment.verdict}", assessment=assessment)
