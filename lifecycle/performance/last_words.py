"""What the labels say of each event by a moment: the last word, and how the event came to be labelled. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from lifecycle.labels.label import Label, LabelSelection, LabelVerdict

_BINDS: Final[Mapping[LabelSelection, int]] = {"audit": 3, "queue": 2, "alert": 1, "other": 0}
"""An event that was drawn for the audit sample stays in it, even if somebody corrects its label later."""


@dataclass(frozen=True, slots=True)
class LastWord:
    """What counts of the labels of one event.

    first_us: when its first definite label came; of an event that has none, its first label. selection, inclusion: of the label that says
    most about why it was labelled: an audit before a queue, a queue before an alert."""

    verdict: LabelVerdict
    family: str | None
    first_us: int
    selection: LabelSelection
    inclusion: float | None


def last_words(labels: Iterable[Label], model: str, *, until_us: int | None = None) -> Mapping[str, LastWord]:
    """By event. labels: in the order of their log. until_us: only what was said before this moment, microseconds; None: all."""
    words: dict[str, list[Label]] = {}
    for label in labels:
        if label.model == model and (until_us is None or label.time_us < until_us):
            words.setdefault(label.event, []).append(label)
    return {event: _last(given) for event, given in words.items()}


def _last(given: list[Label]) -> LastWord:
    in_time = sorted(given, key=lambda label: label.time_us)  # stable: labels of one time stay in the log's order
    last = in_time[-1]
    first = next((label for label in in_time if label.verdict != "unsure"), in_time[0])
    binding = max(in_time, key=lambda label: (_BINDS[label.selection], label.inclusion is not None))
    return LastWord(last.verdict, last.family, first.time_us, binding.selection, binding.inclusion)
