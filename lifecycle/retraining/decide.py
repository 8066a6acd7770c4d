"""The retraining decision: whether a model is trained now, and why or why not.

Pure: no clock, store or log. Deciding twice on the same facts gives the same decision. Full trainings keep the cool-down between them;
increments have only their own times. Both keep the budget of any seven days."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

from lifecycle.monitoring.alarm import Alarm
from lifecycle.retraining.alarm_runs import standing_runs
from lifecycle.retraining.policy import Active, Incremental, OnDemand, RetrainingPolicy, Scheduled
from lifecycle.retraining.progress import WEEK_US, RetrainingProgress, Strategy, Trigger
from lifecycle.retraining.schedule import last_due, next_due
from lifecycle.retraining.signals import Champion, Signals

SECOND_US: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Train:
    """The decision to train a challenger now. Wait and Refuse are alike: each carries its reason."""

    trigger: Trigger
    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """The decision not to train yet. until_us: time of the next look, if it is known. labels_to_ask: number of labels that the queue
    should ask for."""

    reason: str
    until_us: int | None = None
    labels_to_ask: int = 0


@dataclass(frozen=True, slots=True)
class Refuse:
    """A training is due and must not be. It is recorded once."""

    trigger: Trigger
    reason: str


Decision = Train | Wait | Refuse


def decide(policy: RetrainingPolicy, progress: RetrainingProgress, signals: Signals, now_us: int) -> Decision:
    """Choose: the first due trigger, in the order on_demand, scheduled, active, incremental; else what is waited for."""
    if progress.pending is not None:
        pending = progress.pending
        return Train(pending.trigger, f"goes on with training {pending.trigger.trigger_id}, which is {pending.stage}")
    champion = signals.champion
    if champion is None:
        return Wait(
            f"no revision of {progress.model} is served, so there is no champion to compare with; start a rollout of it first"
        )
    waits, signals = [], signals.known_at(now_us)
    for found in _looks(policy, progress, signals, champion, now_us):
        if isinstance(found, Wait):
            waits.append(found)
            continue
        return _allowed(policy, progress, signals, found, now_us)
    soonest = min((w.until_us for w in waits if w.until_us is not None), default=None)
    return Wait("; ".join(w.reason for w in waits), soonest, max(w.labels_to_ask for w in waits))


def _looks(
    policy: RetrainingPolicy, progress: RetrainingProgress, signals: Signals, champion: Champion, now_us: int
) -> Iterator[Trigger | Wait]:
    """Each strategy's trigger, or what it waits for."""
    strategies = policy.strategies
    if strategies.on_demand is not None:
        yield _on_demand(strategies.on_demand, progress, signals, champion, now_us)
    if strategies.scheduled is not None:
        yield _timed("scheduled", strategies.scheduled, progress, signals, now_us)
    if strategies.active is not None:
        yield _active(strategies.active, policy, progress, signals, now_us)
    if strategies.incremental is not None:
        yield _timed("incremental", strategies.incremental, progress, signals, now_us)


def _allowed(
    policy: RetrainingPolicy, progress: RetrainingProgress, signals: Signals, trigger: Trigger, now_us: int
) -> Decision:
    """A due trigger against what is under way, the cool-down and the budget."""
    if signals.busy is not None:
        return Wait(f"{trigger.words}; but {signals.busy}, and only one change is judged at a time")
    if trigger.strategy != "incremental":
        began = (p.started_us for p in progress.past if p.strategy != "incremental")
        # A training of more than a week ahead is of a clock that was wrong; a clock set back by less trains nothing twice.
        last = max((us for us in began if us <= now_us + WEEK_US), default=None)
        until = None if last is None else last + policy.cool_down * SECOND_US
        if until is not None and now_us < until:
            return Wait(
                f"{trigger.words}; but the last training was at {moment(last or 0)}, cool-down until {moment(until)}", until
            )
    spent = _over_budget(policy, progress, trigger.strategy, now_us)
    return Train(trigger, trigger.words) if spent is None else Refuse(trigger, f"{trigger.words}; but {spent}")


def _over_budget(policy: RetrainingPolicy, progress: RetrainingProgress, strategy: Strategy, now_us: int) -> str | None:
    """What the budget forbids, or None."""
    week, budget = progress.in_week(now_us), policy.budget
    is_increment = strategy == "incremental"
    count = sum((p.strategy == "incremental") == is_increment for p in week)
    most = budget.increments_a_week if is_increment else budget.trainings_a_week
    if count >= most:
        return f"{count} {'increments' if is_increment else 'trainings'} started within seven days, but the budget is {most}"
    spent, ahead = sum(p.compute_s for p in week), expected_compute_s(policy, progress, strategy)
    if spent + ahead > budget.compute_a_week:
        return (
            f"{spent:.0f} s of processor time went into the trainings of seven days and this one may take {ahead:.0f} s, "
            f"but the budget is {budget.compute_a_week} s"
        )
    return None


def expected_compute_s(policy: RetrainingPolicy, progress: RetrainingProgress, strategy: Strategy) -> float:
    """The most that one of the last five trainings of this kind took; what the policy assumes before there was one."""
    is_increment = strategy == "incremental"
    alike = (p for p in progress.past if (p.strategy == "incremental") == is_increment and p.outcome != "failed")
    measured = [
        p.compute_s if p.run_s is None else p.run_s for p in alike
    ]  # or each kill would make the next one look costlier
    return max(measured[-5:], default=float(policy.budget.first_training))


def compute_left_s(policy: RetrainingPolicy, progress: RetrainingProgress, now_us: int) -> float:
    """Processor time that the budget has left."""
    return policy.budget.compute_a_week - sum(p.compute_s for p in progress.in_week(now_us))


def _on_demand(
    spec: OnDemand, progress: RetrainingProgress, signals: Signals, champion: Champion, now_us: int
) -> Trigger | Wait:
    runs = standing_runs(spec, signals.alarms, champion.revision, now_us)
    if not runs:
        return Wait("no alarm stands")
    enough = [run for run in runs if now_us - run.began_us >= spec.persist * SECOND_US]
    if not enough:
        until = min(run.began_us for run in runs) + spec.persist * SECOND_US
        return Wait(
            f"{_named(runs[0].last)} stands since {moment(runs[0].began_us)}; it must persist until {moment(until)}", until
        )
    fresh = signals.labels_since(progress.labels_until_us)
    answered = {cause for p in progress.past for cause in p.causes}
    unanswered = [run for run in enough if not answered.intersection(run.alarm_ids)]
    if fresh < spec.min_new_labels:
        missing = spec.min_new_labels - fresh
        return Wait(f"{_named(enough[0].last)} stands, and {missing} more labels are needed to learn from it", None, missing)
    if not unanswered and (spec.min_new_labels == 0 or fresh == 0):
        return Wait(f"{_named(enough[0].last)} stands and was answered by a training; it must clear before it asks again")
    causes = tuple(sorted({alarm_id for run in enough for alarm_id in run.alarm_ids}))
    more = f" and {len(enough) - 1} more" if len(enough) > 1 else ""
    first = (unanswered or enough)[0]
    return Trigger(
        _id(progress.model, "on_demand", champion.revision, [run.alarm_ids[0] for run in enough], _last_start(progress)),
        "on_demand",
        f"{_named(first.last)}{more} stands since {moment(first.began_us)}: {first.last.words}",
        first.began_us,
        causes,
    )


def _timed(
    strategy: Strategy, spec: Scheduled | Incremental, progress: RetrainingProgress, signals: Signals, now_us: int
) -> Trigger | Wait:
    due = last_due(spec.cron, spec.timezone, now_us)
    upcoming = next_due(spec.cron, spec.timezone, now_us)
    trigger_id = _id(progress.model, strategy, due)
    kind = "an increment" if strategy == "incremental" else "a training"
    if due <= progress.since_us or progress.is_handled(trigger_id):
        return Wait(f"{kind} is due at {moment(upcoming)}", upcoming)
    fresh = signals.labels_since(progress.labels_until_us)
    if fresh < spec.min_new_labels:
        missing = spec.min_new_labels - fresh
        return Wait(f"{kind} was due at {moment(due)}, and {missing} more labels are needed", upcoming, missing)
    return Trigger(trigger_id, strategy, f"{kind} was due at {moment(due)} ({spec.cron})", due)


def _active(
    spec: Active, policy: RetrainingPolicy, progress: RetrainingProgress, signals: Signals, now_us: int
) -> Trigger | Wait:
    fresh = signals.labels_since(progress.labels_until_us)
    if fresh >= spec.min_new_labels:
        due = signals.labels_us[-1]
        return Trigger(
            _id(progress.model, "active", _last_start(progress)),
            "active",
            f"{fresh} events were labelled since the last training, and {spec.min_new_labels} are enough",
            due,
        )
    left = policy.budget.labels_a_week - signals.queued_since(now_us - WEEK_US)
    missing = spec.min_new_labels - fresh
    if left <= 0:
        return Wait(
            f"{missing} more labels are needed, and the queue's budget of {policy.budget.labels_a_week} a week is spent"
        )
    return Wait(
        f"{missing} more labels are needed, and the queue may ask for {left} of them this week", None, min(missing, left)
    )


def _last_start(progress: RetrainingProgress) -> int:
    return progress.past[-1].started_us if progress.past else progress.since_us  # by order: the clock may have been set back


def _named(alarm: Alarm) -> str:
    where = f" in {alarm.segment}" if alarm.segment else ""
    return f"the {alarm.severity} alarm {alarm.kind} of {alarm.subject}{where}"


def _id(*facts: object) -> str:
    return f"trigger-{sha256(json.dumps(facts, separators=(',', ':')).encode()).hexdigest()[:20]}"


def moment(us: int) -> str:
    """A time for people, UTC."""
    return f"{datetime.fromtimestamp(us / 1e6, tz=UTC):%Y-%m-%d %H:%M} UTC"
