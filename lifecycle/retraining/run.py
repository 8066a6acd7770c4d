"""One look at a model: decide, and carry the decision out as far as it goes. The shell of retraining.

Each trigger, refusal, training, challenge and rollout is one act in the log of governed acts, recorded before it has effects, once: acts
are known by their trigger. What was reached is saved in one step, so a process that is killed goes on: a training that was interrupted
begins again, a challenge that was decided is not held again, and asking for the same rollout twice changes nothing."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from lifecycle.documents.document import write
from lifecycle.errors import EvaluationError, TrainingError
from lifecycle.gate.bundle_checks import lineage_check
from lifecycle.gate.checks import Check
from lifecycle.gate.policy import Budget, GatePolicy
from lifecycle.governance.acts import Act
from lifecycle.retraining.challenge.page import challenge_page
from lifecycle.retraining.challenge.result import ChallengeResult
from lifecycle.retraining.challenger import ChallengeInputs, challenge, detector_of, train_challenger
from lifecycle.retraining.decide import Decision, Refuse, Train, compute_left_s, decide, expected_compute_s
from lifecycle.retraining.errors import NotTrainable
from lifecycle.retraining.policy import RetrainingPolicy
from lifecycle.retraining.progress import (
    PastTraining,
    Pending,
    RetrainingProgress,
    TrainingOutcome,
    Trigger,
    alone,
    load_progress,
    save_progress,
)
from lifecycle.retraining.signals import Champion, Signals
from lifecycle.retraining.surroundings import Surroundings
from serving.models.bundle import Bundle, read_bundle
from serving.models.errors import ModelError
from serving.spec import RevisionSpec

_SECOND_US: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Look:
    """What one look came to. ended: the training that ended with it. challenged: its challenge; report: the folder with its pages.

    words: what was done, for people."""

    decision: Decision
    words: str
    ended: PastTraining | None = None
    challenged: ChallengeResult | None = None
    report: Path | None = None


class ComputeSpent(NotTrainable):
    """The budget's processor time was used up in the middle of a training."""


def observe(at: Surroundings, policy: RetrainingPolicy) -> Signals:
    """What is seen of the model now."""
    usable = [
        label for label in at.labels().values() if label.verdict != "unsure" and label.sureness >= policy.labels.min_sureness
    ]
    return Signals(
        at.releases.champion(at.model),
        at.releases.busy(at.model),
        tuple(alarm for alarm in at.alarms() if alarm.model == at.model),
        tuple(sorted(label.time_us for label in usable)),
        tuple(sorted(label.time_us for label in usable if label.selection == "queue")),
    )


def check(at: Surroundings, policy: RetrainingPolicy, now_us: int) -> Decision:
    """What would be done now. Changes nothing."""
    return decide(policy, load_progress(at.folder, at.model, now_us), observe(at, policy), now_us)


def advance(at: Surroundings, policy: RetrainingPolicy, now_us: int) -> Look:
    """Decide and act. now_us: the time of this look; what is recorded in it has this time.

    Raises RetrainingError where the progress cannot be read, OSError and NoteError where an act cannot be recorded."""
    with alone(at.folder):
        progress = load_progress(at.folder, at.model, now_us)
        signals = observe(at, policy)
        decision = decide(policy, progress, signals, now_us)
        save_progress(at.folder, progress)  # the first look is when times of a schedule begin to count
        if isinstance(decision, Refuse) and decision.trigger.trigger_id not in progress.refused:
            _record(at, now_us, "retraining.refuse", decision.trigger, decision.reason, outcome="refused")
            save_progress(at.folder, progress.refusing(decision.trigger.trigger_id))
        if not isinstance(decision, Train):
            return Look(decision, decision.reason)
        return _Training(at, policy, now_us, decision).run(progress, signals)


@dataclass(slots=True)
class _Training:
    """One training, from wherever it is to its end."""

    at: Surroundings
    policy: RetrainingPolicy
    now_us: int
    decision: Train
    clock: "_ComputeClock | None" = None
    """Runs once the training has begun."""

    def run(self, progress: RetrainingProgress, signals: Signals) -> Look:
        at, trigger, champion = self.at, self.decision.trigger, signals.champion
        if progress.pending is None and champion is not None:
            _record(at, self.now_us, "retraining.trigger", trigger, trigger.words, {"alarms": list(trigger.causes),
                    "champion": champion.bundle, "labels": signals.labels_since(progress.labels_until_us)})  # fmt: skip
            newest = max((us for us in signals.labels_us if us <= self.now_us), default=0)
            progress = progress.starting(Pending(trigger, champion.bundle, self.now_us, labels_until_us=newest))
            save_progress(at.folder, progress)
        pending = progress.pending
        assert pending is not None  # noqa: S101  # nosec B101  # decide trains only what is under way, or with a champion
        result = None
        if champion is not None and pending.passed and champion.bundle == pending.bundle:
            return self._end(
                progress, "rolled_out", pending.words
            )  # killed after it asked, and its rollout came to its end meanwhile
        if champion is None or champion.bundle != pending.champion:
            return self._end(progress, "failed", "another revision is served now, so this challenger has no champion to beat")
        if pending.stage == "triggered":
            try:
                progress, result = self._train_and_challenge(progress, pending, champion)
            except (NotTrainable, TrainingError, EvaluationError, ModelError) as problem:
                _record(at, self.now_us, "retraining.train", trigger, str(problem), outcome="refused")
                spent_s = pending.compute_s + (self.clock.spent_s() if self.clock is not None else 0.0)
                return self._end(replace(progress, pending=replace(pending, compute_s=spent_s)), "failed", str(problem))
        return self._finish(progress, champion, result)

    def _train_and_challenge(
        self, progress: RetrainingProgress, pending: Pending, champion: Champion
    ) -> tuple[RetrainingProgress, ChallengeResult | None]:
        at, policy, trigger = self.at, self.policy, pending.trigger
        reserved = expected_compute_s(policy, progress, trigger.strategy)
        left = compute_left_s(policy, progress, self.now_us) - pending.compute_s
        if reserved > left:
            raise ComputeSpent(
                f"the budget has {left:.0f} s of processor time left, and the training may take {reserved:.0f} s"
            )
        save_progress(at.folder, replace(progress, pending=replace(pending, compute_s=pending.compute_s + reserved)))
        self.clock = clock = _ComputeClock(left, at)
        inputs = self._inputs(pending, champion)
        bundle, rows = train_challenger(inputs, policy, at.folder, at.releases.next_version(at.model), clock.tell)
        trained = {"bundle": bundle.digest, "labelled_rows": len(rows.trained), "champion": champion.bundle}
        words = f"{trigger.strategy}: {len(rows.trained)} labelled rows beside {len(inputs.base.data)} base rows"
        _record(at, self.now_us, "retraining.train", trigger, words, trained, subject=f"bundle/{bundle.digest}")
        stopped_by = self._gate(bundle, inputs.champion)
        if stopped_by:
            words = f"the challenger's bundle does not pass the gate: {_found(stopped_by)}"
            return self._challenged(progress, pending, bundle, words), None
        result = challenge(inputs, bundle, rows, policy, clock.tell)
        self._report(result)
        stopped = [f"{g.kind} {g.subject or g.figure}".strip() for g in result.gates if not g.passes]
        _record(
            at, self.now_us, "retraining.challenge", trigger, result.words,
            {"bundle": bundle.digest, "champion": champion.bundle, "passed": result.passed, "stopped_by": stopped},
            subject=f"bundle/{bundle.digest}", outcome="accepted" if result.passed else "refused",
        )  # fmt: skip
        return self._challenged(progress, pending, bundle, result.words, passed=result.passed), result

    def _gate(self, bundle: Bundle, champion: Bundle) -> tuple[Check, ...]:
        """The checks that stop the bundle by itself: it runs, answers as it was trained to, and costs no more than it may. Rows are the
        challenge's. What the champion's lineage does not say either stops nothing."""
        spec = self.policy.challenge.bundle
        budget = Budget(run_ms=spec.run_ms, megabytes=spec.megabytes)
        report = self.at.gate(bundle, GatePolicy(required=("schema", "golden", "budget", "lineage"), budget=budget))
        accepted = set(lineage_check(champion).figures.get("missing", ()))
        stopped_by = tuple(
            check for check in report.failures if check.name != "lineage" or set(check.figures.get("missing", ())) - accepted
        )
        _record(
            self.at, self.now_us, "gate.judge", self.decision.trigger, _found(stopped_by) or "passed",
            {"bundle": bundle.digest, "checks": {check.name: check.outcome.value for check in report.checks}},
            subject=f"bundle/{bundle.digest}", outcome="refused" if stopped_by else "accepted",
        )  # fmt: skip
        return stopped_by

    def _challenged(
        self, progress: RetrainingProgress, pending: Pending, bundle: Bundle, words: str, *, passed: bool = False
    ) -> RetrainingProgress:
        """Save what the challenge came to."""
        run_s = self.clock.spent_s() if self.clock is not None else 0.0
        spent_s = pending.compute_s + run_s
        done = replace(
            pending, stage="challenged", bundle=bundle.digest, compute_s=spent_s, passed=passed, words=words, run_s=run_s
        )  # fmt: skip
        progress = replace(progress, pending=done)
        save_progress(self.at.folder, progress)
        return progress

    def _inputs(self, pending: Pending, champion: Champion) -> ChallengeInputs:
        at = self.at
        bundle = at.releases.bundle(champion.bundle)
        detector = detector_of(bundle)
        since = pending.started_us - self.policy.labels.max_age * _SECOND_US
        labels = {event: label for event, label in at.labels().items() if label.time_us <= pending.labels_until_us}
        return ChallengeInputs(
            pending.trigger, champion, bundle, at.base(detector), at.test(detector), at.answers(since), labels, since
        )

    def _finish(self, progress: RetrainingProgress, champion: Champion, result: ChallengeResult | None) -> Look:
        """Ask for the rollout of a challenger that passed."""
        at, pending = self.at, progress.pending
        assert pending is not None  # noqa: S101  # nosec B101  # the caller has it
        if not pending.passed:
            return self._end(progress, "not_passed", pending.words, result)
        busy = at.releases.busy(at.model)
        if busy is not None and not self._is_asked_for(pending.trigger):
            return Look(self.decision, f"{pending.words}; its rollout waits, as {busy}", None, result, self._folder(pending))
        challenger = read_bundle(at.folder / "challengers" / pending.trigger.trigger_id)
        published = at.releases.publish(challenger.folder)
        why = f"retraining {pending.trigger.trigger_id}: {pending.words}"
        _record(at, self.now_us, "retraining.rollout", pending.trigger, pending.words, _released(published, champion))
        at.releases.start(at.model, published, champion.operating_point, self.policy.rollout, why[:1000])
        return self._end(progress, "rolled_out", pending.words, result)

    def _is_asked_for(self, trigger: Trigger) -> bool:
        """Whether the rollout of this training was asked for before the process was killed: then what is under way is its own."""
        return _is_recorded(self.at, "retraining.rollout", trigger)

    def _end(
        self, progress: RetrainingProgress, outcome: TrainingOutcome, words: str, result: ChallengeResult | None = None
    ) -> Look:
        pending = progress.pending
        assert pending is not None  # noqa: S101  # nosec B101  # the caller has it
        progress = progress.ending(outcome, words, self.now_us)
        save_progress(self.at.folder, progress)
        return Look(self.decision, words, progress.past[-1], result, self._folder(pending))

    def _folder(self, pending: Pending) -> Path | None:
        folder = self.at.folder / "challenges" / pending.trigger.trigger_id
        return folder if folder.is_dir() else None

    def _report(self, result: ChallengeResult) -> None:
        folder = self.at.folder / "challenges" / result.trigger_id
        folder.mkdir(parents=True, exist_ok=True)
        page = challenge_page(result)
        (folder / "challenge.json").write_text(write(page, "json"), encoding="utf-8")
        (folder / "challenge.md").write_text(write(page, "md"), encoding="utf-8")
        (folder / "challenge.html").write_text(write(page, "html"), encoding="utf-8")


@dataclass(slots=True)
class _ComputeClock:
    """Processor time of this process since it began. Raises ComputeSpent at the next step where the budget is used up."""

    left_s: float
    at: Surroundings
    began_s: float = field(default_factory=time.process_time)

    def spent_s(self) -> float:
        return time.process_time() - self.began_s

    def tell(self, what: str, share: float) -> None:
        spent = self.spent_s()
        if spent > self.left_s:
            raise ComputeSpent(
                f"stopped while {what}: {spent:.0f} s of processor time are spent, and the budget had {self.left_s:.0f} s left"
            )
        self.at.tell(what, share)


def _found(checks: Sequence[Check]) -> str:
    return "; ".join(f"{check.name}: {check.words}" for check in checks)


def _released(bundle: Bundle, champion: Champion) -> dict[str, Any]:
    revision = RevisionSpec(bundle=bundle.digest, operating_point=champion.operating_point)
    return {"bundle": bundle.digest, "version": bundle.manifest.version, "revision": revision.digest}


def _record(
    at: Surroundings, now_us: int, action: str, trigger: Trigger, reason: str, evidence: Mapping[str, Any] | None = None,
    *, subject: str = "", outcome: str = "accepted",
) -> None:  # fmt: skip
    """Record an act once: that this trigger has one of this action already shows that a killed process recorded it."""
    if _is_recorded(at, action, trigger, subject):
        return
    at.acts.record(
        Act(
            time_us=now_us, actor=at.actor, action=action, subject=subject or f"modelservice/local/{at.model}", reason=reason,
            evidence={"trigger": trigger.trigger_id, "strategy": trigger.strategy, **(evidence or {})}, outcome=outcome,
        )
    )  # fmt: skip


def _is_recorded(at: Surroundings, action: str, trigger: Trigger, subject: str = "") -> bool:
    return any(
        act.action == action and act.evidence.get("trigger") == trigger.trigger_id and subject in ("", act.subject)
        for act in at.acts.read()
    )
