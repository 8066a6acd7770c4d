"""Joins the labels of a store with its prediction log, for the gates of rollouts. What counts is lifecycle.labels.gate_counts' matter.

Cheap to ask again and again: the log of labels and the prediction log are read as far as they grew, and an event is looked up once."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from lifecycle.governance.archive.place import ArchivePlace
from lifecycle.governance.archive.record_log import RecordLog
from lifecycle.labels.draw import Draw
from lifecycle.labels.errors import UnknownEvent
from lifecycle.labels.events import AnsweredEvent, AppendedEvents, EventFinder
from lifecycle.labels.gate_counts import (
    RECALL,
    LabelCounts,
    count_alerts,
    count_drawn,
    count_weighted,
    drawn_since,
    events_of,
    together,
)
from lifecycle.labels.label import Label
from lifecycle.labels.label_log import LabelLog

MOST_REMEMBERED: Final = 200_000
"""Events of which it is remembered what was answered."""


class LabelCounter:
    """Counts for the gates, of one store. Not for several threads at once."""

    def __init__(self, labels: LabelLog, predictions: Path, archive: ArchivePlace | None = None) -> None:
        self._labels, self._finder = labels, EventFinder(RecordLog(predictions, archive))
        self._predictions = predictions
        self._answers: dict[tuple[str, str], AnsweredEvent | None] = {}
        self._alerts: dict[str, AppendedEvents] = {}

    def counts(self, model: str, since_us: int) -> LabelCounts:
        """What labels say of a model's variants, of events answered since a moment. They only grow, unless samples are drawn for the first
        time after all alerts were counted. Raises NoteError, OSError, ArchiveError."""
        words = self._labels.first_words(model)
        if not words:
            return LabelCounts()
        draws = drawn_since(self._labels.draws(model), since_us)
        drawn = events_of(draws)
        with_inclusion = {event: word for event, word in words.items() if word.inclusion is not None and event not in drawn}
        answers = self._answered(model, [*drawn, *with_inclusion])
        own = _outside(with_inclusion, answers, draws, since_us)
        if draws:
            return together(count_drawn(draws, answers, words, since_us), count_weighted(answers, own))
        appended = self._alerts.setdefault(model, AppendedEvents(self._predictions, model, "alert"))
        alerts = [one for one in appended.all() if one.time_us >= since_us]
        return together(count_alerts(alerts, answers, words, own), count_weighted(answers, own, (RECALL,)))

    def _answered(self, model: str, events: Iterable[str]) -> dict[str, AnsweredEvent]:
        """What was answered; an event that is in no log is asked for once."""
        wanted = list(events)
        unknown = [event for event in wanted if (model, event) not in self._answers]
        if unknown:
            if len(self._answers) + len(unknown) > MOST_REMEMBERED:
                self._answers.clear()
                unknown = wanted
            for event, found in self._finder.find_all(unknown, model).items():
                self._answers[model, event] = None if isinstance(found, UnknownEvent) else found
        known = {event: self._answers[model, event] for event in wanted}
        return {event: one for event, one in known.items() if one is not None}


def _outside(
    words: Mapping[str, Label], answers: Mapping[str, AnsweredEvent], draws: Iterable[Draw], since_us: int
) -> dict[str, Label]:
    """The labels of events since a moment that no draw covers."""
    slices = [(draw.since_us, draw.until_us) for draw in draws]
    return {
        event: word
        for event, word in words.items()
        if event in answers
        and answers[event].time_us >= since_us
        and not any(since <= answers[event].time_us < until for since, until in slices)
    }
