"""The analysts of the year. Each day the queue gives them as many events as they have time for. Their labels come days later, and a few
are wrong."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lifecycle.labels.label import Label
from lifecycle.labels.queue.plan import QueueBudget, plan_queue
from lifecycle.monitoring.windows.answered import AnsweredRows
from lifecycle.performance.labelled_rows import (
    ATTACK,
    BENIGN,
    BY_ALERT,
    BY_AUDIT,
    BY_QUEUE,
    NO_LABEL,
    UNLABELLED,
    RowsWithLabels,
)
from loadtests.bench.worlds.year.events import DAY_US, START_US, Events
from loadtests.bench.worlds.year.model import MODEL, alerts_of

_ROUTES: Final = {"alert": BY_ALERT, "audit": BY_AUDIT, "queue": BY_QUEUE}


@dataclass(frozen=True, slots=True)
class Habits:
    """median_days, spread: of the log-normal delay from an answer to its label. noise: share of wrong labels."""

    median_days: float = 2.0
    spread: float = 0.8
    noise: float = 0.01


class LabelledYear:
    """All answers of a year with the labels that analysts give, also those still to come. budget: the analysts' budget per day.

    alert, scores, label, ...: one element per event, shape (n,), as in lifecycle.performance.labelled_rows."""

    def __init__(
        self, events: Events, names: NDArray[np.object_], budget: QueueBudget, seed: int, habits: Habits = Habits()
    ) -> None:
        n = len(events)
        self.events, self.names, self.habits = events, names, habits
        self._budget, self._seed = budget, seed
        self.alert, self.scores, self.label = np.zeros(n, dtype=bool), np.zeros(n), np.full(n, NO_LABEL, dtype=np.int8)
        self._route, self._inclusion = np.full(n, UNLABELLED, dtype=np.int8), np.full(n, np.nan)
        self._delay_us, self._family = np.full(n, np.nan), np.full(n, "", dtype=object)
        self.labels: list[Label] = []
        """By when they come."""

    def take(self, day: int, answers: AnsweredRows, first: int) -> NDArray[np.int64]:
        """Keep the answers of a day, plan its queue and work on it. Returns the places, within the day, of the events that get a label.

        first: the day's first place in the year. An event that an analyst works on is no longer open, so each day gets the whole budget."""
        last = first + len(answers)
        self.alert[first:last], self.scores[first:last] = alerts_of(answers), answers.scores
        since_us = START_US + day * DAY_US
        queue = plan_queue(
            answers, {}, [], self._budget, seed=self._seed, since_us=since_us, until_us=since_us + DAY_US, by="analysts"
        )
        drawn = queue.draw.drawn()
        place_of = {str(event): place for place, event in enumerate(answers.events.tolist())}
        rng = np.random.default_rng([self._seed, day, 3])
        places = [place_of[one.event] for one in queue.events]
        for one, place in zip(queue.events, places, strict=True):
            self._give(first + place, drawn[one.event], rng)
        self.labels.sort(key=lambda label: label.time_us)
        return np.array(places, dtype=np.int64)

    def _give(self, at: int, drawn: tuple[str, float | None], rng: np.random.Generator) -> None:
        """Give one event its label."""
        delay_us = int(self.habits.median_days * np.exp(self.habits.spread * rng.normal()) * DAY_US)
        is_attack = bool(self.events.attack[at]) ^ bool(rng.random() < self.habits.noise)
        event, family = str(self.names[at]), str(self.events.family[at]) if is_attack else ""
        self.labels.append(
            Label(
                label_id=f"label-{event}", event=event, model=MODEL, verdict="attack" if is_attack else "benign", analyst="analysts",
                time_us=int(self.events.times_us[at]) + delay_us, family=family or None,
                selection=drawn[0], inclusion=drawn[1],  # type: ignore[arg-type]  # as Drawn has it
            )
        )  # fmt: skip
        self.label[at], self._route[at] = ATTACK if is_attack else BENIGN, _ROUTES[drawn[0]]
        self._delay_us[at], self._family[at] = delay_us, family
        self._inclusion[at] = np.nan if drawn[1] is None else drawn[1]

    def known(self, now_us: int) -> Sequence[Label]:
        """The labels that have come by this time."""
        return [label for label in self.labels if label.time_us <= now_us]

    def rows(self, since_us: int, until_us: int, now_us: int, *, only_labelled: bool) -> RowsWithLabels:
        """The rows that were answered in this span of time, with the labels known at `now_us`."""
        first, last = (int(i) for i in np.searchsorted(self.events.times_us, [since_us, max(since_us, until_us)]))
        which = np.arange(first, last)
        which = which[self.label[first:last] != NO_LABEL] if only_labelled else which
        found = RowsWithLabels(
            self.events.times_us[which], self.alert[which], self.scores[which], self.label[which], self._family[which],
            self._route[which], self._delay_us[which], self._inclusion[which],
        )  # fmt: skip
        found = found.seen_within((now_us - found.times_us).astype(np.float64))
        return found.take(found.is_definite) if only_labelled else found
