"""Answered rows with what their labels say by now: the table that every figure of this room is made of. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from lifecycle.arrays import Floats, Mask
from lifecycle.performance.last_words import LastWord
from serving.models.verdicts import VERDICTS

NO_LABEL: Final = -1
BENIGN: Final = 0
ATTACK: Final = 1
UNSURE: Final = 2
_CODES: Final = {"benign": BENIGN, "attack": ATTACK, "unsure": UNSURE}

UNLABELLED: Final = 0
BY_ALERT: Final = 1
BY_AUDIT: Final = 2
BY_QUEUE: Final = 3
OTHERWISE: Final = 4
_ROUTES: Final = {"alert": BY_ALERT, "audit": BY_AUDIT, "queue": BY_QUEUE, "other": OTHERWISE}
ALERT: Final = VERDICTS.index("alert")


class Answers(Protocol):
    """Answered rows, as lifecycle.monitoring.windows.answered has them; what is read here of them. All of shape (n,)."""

    @property
    def events(self) -> NDArray[np.object_]:
        """Name of each row's event."""
        ...

    @property
    def times_us(self) -> NDArray[np.int64]:
        """When it was answered."""
        ...

    @property
    def scores(self) -> NDArray[np.float64]:
        """Raw scores; NaN without one."""
        ...

    @property
    def verdicts(self) -> NDArray[np.int8]:
        """Places in serving.models.verdicts.VERDICTS."""
        ...


@dataclass(frozen=True, slots=True)
class RowsWithLabels:
    """Arrays of shape (n,), one element a row that was answered.

    label: NO_LABEL, BENIGN, ATTACK or UNSURE. route: why the row was labelled (UNLABELLED, BY_ALERT, ...). delay_us: from the answer to
    the first definite label; NaN without a label. inclusion: probability with which the row was selected; NaN where it is not known."""

    times_us: NDArray[np.int64]
    alert: Mask
    scores: Floats
    label: NDArray[np.int8]
    family: NDArray[np.object_]
    """str; "" where none is named."""
    route: NDArray[np.int8]
    delay_us: Floats
    inclusion: Floats

    def __len__(self) -> int:
        return len(self.times_us)

    def take(self, which: NDArray[Any] | slice) -> Self:
        """Some of the rows, by mask or place."""
        return type(self)(**{f.name: getattr(self, f.name)[which] for f in fields(self)})

    @property
    def is_definite(self) -> Mask:
        """Rows whose label is attack or benign."""
        return np.asarray((self.label == ATTACK) | (self.label == BENIGN))

    def seen_within(self, age_us: float | Floats) -> Self:
        """The rows as they were when each was this old: a label that came later is taken off."""
        late = ~(self.delay_us <= age_us)
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        values["label"] = np.where(late, NO_LABEL, self.label).astype(np.int8)
        values["route"] = np.where(late, UNLABELLED, self.route).astype(np.int8)
        return type(self)(**values)


def labelled_rows(answers: Answers, words: Mapping[str, LastWord]) -> RowsWithLabels:
    """Join rows and labels by the event's name. A label that came before its answer counts as having no delay."""
    n = len(answers.times_us)
    label = np.full(n, NO_LABEL, dtype=np.int8)
    route = np.zeros(n, dtype=np.int8)
    family = np.full(n, "", dtype=object)
    delay, inclusion = np.full(n, np.nan), np.full(n, np.nan)
    for place, event in enumerate(answers.events.tolist()):
        word = words.get(event)
        if word is None:
            continue
        label[place], route[place] = _CODES[word.verdict], _ROUTES[word.selection]
        delay[place] = max(0, word.first_us - int(answers.times_us[place]))
        family[place] = word.family or ""
        if word.inclusion is not None:
            inclusion[place] = word.inclusion
    return RowsWithLabels(
        answers.times_us, answers.verdicts == ALERT, answers.scores.astype(np.float64), label, family, route, delay, inclusion
    )


def together(parts: Sequence[RowsWithLabels]) -> RowsWithLabels:
    """The rows of all parts in their order. Raises ValueError without a part."""
    return RowsWithLabels(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(RowsWithLabels)})
