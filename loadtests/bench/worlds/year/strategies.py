"""Plays one strategy through the year, a day at a time: answers, labels, alarms, a decision, and perhaps a training and a challenge.

Vedette's own code draws, watches, decides, trains and judges: the queue, the watch of performance, `decide`, `train_challenger`,
`challenge`. There is no log, no clock, no act and no rollout: a challenger that passes serves from the next day on."""

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lifecycle.arrays import Floats, Mask
from lifecycle.errors import EvaluationError, TrainingError
from lifecycle.labels.queue.plan import QueueBudget
from lifecycle.monitoring.alarm import Alarm
from lifecycle.monitoring.windows.answered import AnsweredRows
from lifecycle.retraining.challenge.result import ChallengeResult
from lifecycle.retraining.challenger import ChallengeInputs, challenge, train_challenger
from lifecycle.retraining.decide import Train, decide
from lifecycle.retraining.errors import NotTrainable
from lifecycle.retraining.policy import RetrainingPolicy
from lifecycle.retraining.progress import PastTraining, Pending, RetrainingProgress, TrainingOutcome
from lifecycle.retraining.signals import Champion, Signals
from lifecycle.training.train import Prepared
from loadtests.bench.worlds.year.analysts import LabelledYear
from loadtests.bench.worlds.year.events import DAY_US, START_US
from loadtests.bench.worlds.year.label_alarms import LabelAlarms
from loadtests.bench.worlds.year.model import MODEL, ServedModel
from serving.models.bundle import Bundle, read_bundle

_SECOND_US = 1_000_000
_JOINED = ("receipts", "rows", "events", "times_us", "versions", "revisions", "variants", "scores", "verdicts", "degraded")


@dataclass(frozen=True, slots=True)
class Strategy:
    """policy: None lets the first model serve all year. budget: of the analysts, each day."""

    name: str
    policy: RetrainingPolicy | None
    budget: QueueBudget


@dataclass(frozen=True, slots=True)
class EndedTraining:
    """One training: its day, its outcome, and its challenge if there was one."""

    day: int
    past: PastTraining
    challenged: ChallengeResult | None


@dataclass(slots=True)
class PlayedYear:
    """The result of a strategy. highest: for each event, whether its score is among the highest of its day."""

    labelled: LabelledYear
    highest: Mask
    alarms: list[tuple[int, Alarm]] = field(default_factory=list)
    trainings: list[EndedTraining] = field(default_factory=list)

    @property
    def compute_s(self) -> float:
        """Processor time of all trainings and challenges."""
        return sum(training.past.compute_s for training in self.trainings)

    def recall(self, days: range, *, by_rank: bool = False) -> float:
        """True recall of these days. by_rank: as if each day's highest scores were the alerts."""
        attacks = self._within(days) & self.labelled.events.attack
        return float((self.highest if by_rank else self.labelled.alert)[attacks].mean())

    def precision(self, days: range) -> float:
        """True precision of these days."""
        return float(self.labelled.events.attack[self._within(days) & self.labelled.alert].mean())

    def alerts_a_day(self, days: range) -> float:
        """Mean number of alerts per day over these days."""
        return float((self._within(days) & self.labelled.alert).sum()) / len(days)

    def _within(self, days: range) -> Mask:
        day = self.labelled.events.day
        return np.asarray((day >= days.start) & (day < days.stop))


class Played:
    """Plays one strategy with one seed. first: the bundle that serves at first. most_alerts: how many of the highest scores of a day
    count."""

    def __init__(
        self, strategy: Strategy, labelled: LabelledYear, base: Prepared, first: Bundle, folder: Path, *, most_alerts: int
    ) -> None:
        self._strategy, self._labelled, self._base, self._folder = strategy, labelled, base, folder
        self._most_alerts = most_alerts
        self._progress = RetrainingProgress(MODEL, START_US - 1)
        self._answers: list[AnsweredRows] = []
        self.found = PlayedYear(labelled, np.zeros(len(labelled.events), dtype=bool))
        self._serve(first, START_US)

    def _serve(self, bundle: Bundle, now_us: int) -> None:
        self._model = ServedModel.of(bundle)
        self._watch = LabelAlarms.of(self._labelled, self._model, now_us)

    def play(self, days: int) -> PlayedYear:
        """Play all days."""
        for day in range(days):
            self._day(day)
        return self.found

    def _day(self, day: int) -> None:
        events = self._labelled.events
        first, last = (int(i) for i in np.searchsorted(events.day, [day, day + 1]))
        if first == last:
            return
        answers = self._model.answer(events.take(slice(first, last)), self._labelled.names[first:last])
        self.found.highest[first:last] = _highest(answers.scores, self._most_alerts)
        places = self._labelled.take(day, answers, first)
        policy = self._strategy.policy
        if policy is None:
            return
        self._answers.append(answers.take(places))
        now_us = START_US + (day + 1) * DAY_US
        if policy.strategies.on_demand is not None:
            self.found.alarms += [(day, alarm) for alarm in self._watch.look(now_us)]
        self._decide(day, now_us, policy)

    def _decide(self, day: int, now_us: int, policy: RetrainingPolicy) -> None:
        bundle = self._model.bundle
        champion = Champion(bundle.manifest.version, bundle.digest, self._model.revision)
        known = self._labelled.known(now_us)
        signals = Signals(
            champion, None, tuple(alarm for _, alarm in self.found.alarms), tuple(label.time_us for label in known),
            tuple(label.time_us for label in known if label.selection == "queue"),
        )  # fmt: skip
        decision = decide(policy, self._progress, signals, now_us)
        if not isinstance(decision, Train):
            return
        newest = known[-1].time_us if known else 0
        pending = Pending(decision.trigger, champion.bundle, now_us, labels_until_us=newest)
        began_s = time.process_time()
        challenger, result = None, None
        outcome: TrainingOutcome = "failed"
        try:
            challenger, result = self._challenge(pending, champion, policy)
            outcome, words = ("rolled_out" if result.passed else "not_passed"), result.words
        except (NotTrainable, TrainingError, EvaluationError) as problem:
            words = str(problem)
        spent = replace(pending, compute_s=time.process_time() - began_s)
        self._progress = replace(self._progress.starting(pending), pending=spent).ending(outcome, words, now_us)
        self.found.trainings.append(EndedTraining(day, self._progress.past[-1], result))
        if challenger is not None and outcome == "rolled_out":
            kept = shutil.copytree(challenger.folder, self._folder / "store" / challenger.manifest.version)
            self._serve(read_bundle(kept), now_us)

    def _challenge(self, pending: Pending, champion: Champion, policy: RetrainingPolicy) -> tuple[Bundle, ChallengeResult]:
        since_us = pending.started_us - policy.labels.max_age * _SECOND_US
        labels = {label.event: label for label in self._labelled.known(pending.labels_until_us)}
        answers = together([part for part in self._answers if part.times_us[-1] >= since_us])
        inputs = ChallengeInputs(pending.trigger, champion, self._model.bundle, self._base, None, answers, labels, since_us)
        version = str(len(self._progress.past) + 2)
        bundle, rows = train_challenger(inputs, policy, self._folder, version, _silent)
        return bundle, challenge(inputs, bundle, rows, policy, _silent)


def together(parts: Sequence[AnsweredRows]) -> AnsweredRows:
    """Answers of several days as one, in their order."""
    joined: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _JOINED}
    columns = {name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns}
    return replace(parts[0], columns=columns, **joined)


def _highest(scores: Floats, most: int) -> Mask:
    found: NDArray[np.bool_] = np.zeros(len(scores), dtype=bool)
    found[np.argsort(-scores, kind="stable")[:most]] = True
    return found


def _silent(what: str, share: float) -> None:
    """Nobody looks."""
