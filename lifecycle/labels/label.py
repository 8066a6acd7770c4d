"""One label: what an analyst said of one row that was answered. Pure.

The log of labels is in lifecycle.labels.label_log."""

from typing import Final, Literal, get_args

import msgspec

from lifecycle.labels.errors import WrongLabel

LabelVerdict = Literal["attack", "benign", "unsure"]
LabelOrigin = Literal["cli", "console", "file", "http", "kafka"]
LabelSelection = Literal["alert", "audit", "queue", "other"]

VERDICTS: Final[tuple[str, ...]] = get_args(LabelVerdict)
SOURCES: Final[tuple[str, ...]] = get_args(LabelOrigin)
SELECTIONS: Final[tuple[str, ...]] = get_args(LabelSelection)

MOST_NAME: Final = 300
"""Characters of an id, an event, a name of a model, a family or an analyst."""
MOST_NOTE: Final = 4000
"""Characters of a note."""
_END_OF_TIME_US: Final = 10**16


class Label(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One word of an analyst on one event. Its JSON is one line of the log. Raises WrongLabel for a field that is not well formed."""

    label_id: str
    """Idempotency key: the same id with the same word is taken once."""
    event: str
    """What was answered: the receipt, with `#ROW` behind it where the request has several rows (monitoring.windows.answered.event_key)."""
    model: str
    verdict: LabelVerdict
    analyst: str
    time_us: int
    """When the analyst gave it, microseconds since the epoch, UTC."""
    family: str | None = None
    """Attack family, for the verdict attack."""
    sureness: float = 1.0
    """How sure the analyst is, 0 to 1."""
    note: str = ""
    source: LabelOrigin = "cli"
    """How it came."""
    selection: LabelSelection = "other"
    """Why the event came before an analyst: as an alert, in the random audit sample, chosen by the queue, or for another reason."""
    inclusion: float | None = None
    """Probability with which the event was selected, above 0, at most 1; None: not known. Its inverse is the label's weight."""

    def __post_init__(self) -> None:
        for name in ("label_id", "event", "model", "analyst"):
            _check_name(name, getattr(self, name))
        if self.family is not None:
            _check_name("family", self.family)
            if self.verdict != "attack":
                raise WrongLabel(f"family is {self.family[:80]!r}, but verdict is {self.verdict}; only an attack has a family")
        check_choice("verdict", self.verdict, VERDICTS)
        check_choice("source", self.source, SOURCES)
        check_choice("selection", self.selection, SELECTIONS)
        if len(self.note) > MOST_NOTE:
            raise WrongLabel(f"note has {len(self.note)} characters; at most {MOST_NOTE} are allowed")
        if not 0 < self.time_us < _END_OF_TIME_US:
            raise WrongLabel(f"time_us is {self.time_us}, expected microseconds since the epoch, e.g. 1760000000000000")
        if not 0 <= self.sureness <= 1:
            raise WrongLabel(f"sureness is {self.sureness}, expected 0 to 1, e.g. 0.9")
        if self.inclusion is not None and not 0 < self.inclusion <= 1:
            raise WrongLabel(f"inclusion is {self.inclusion}, expected a probability above 0, at most 1")

    def says_the_same(self, other: "Label") -> bool:
        """Whether both are the same word: a repetition may have come another way, or been stamped with another time."""
        return _word(self) == _word(other)


def split_event(event: str) -> tuple[str, int | None]:
    """The receipt, or the client's own id, and the row of an event's name; None where no row is named.

    >>> split_event("0f5b#2"), split_event("0f5b"), split_event("a#b")
    (('0f5b', 2), ('0f5b', None), ('a#b', None))
    """
    receipt, mark, row = event.rpartition("#")
    is_row = bool(mark) and receipt != "" and row.isascii() and row.isdigit() and len(row) <= 9
    return (receipt, int(row)) if is_row else (event, None)


def _word(label: Label) -> tuple[object, ...]:
    return label.event, label.model, label.verdict, label.family, label.analyst, label.sureness, label.note


def _check_name(field: str, value: str) -> None:
    if not value or len(value) > MOST_NAME or not value.isprintable() or value != value.strip():
        raise WrongLabel(
            f"{field} is {value[:80]!r}, expected 1 to {MOST_NAME} printable characters, without spaces at the ends"
        )


def check_choice(field: str, value: str, choices: tuple[str, ...]) -> None:
    """Raises WrongLabel for a value that is not one of the choices."""
    if value not in choices:
        raise WrongLabel(f"{field} is {value[:80]!r}, expected one of {', '.join(choices)}")
