"""What was drawn for labelling: which events, by which rule, with which probability. Pure.

A draw covers a slice of time of one model, once and for good: no later draw covers it again. So it is known of every event of the slice
whether it was in the random sample, before anybody saw its label. That is what makes labels of the sample evidence. Two samples are drawn:

    audit    of all answered rows, whatever their verdict, each with probability `audit_inclusion`
    alerts   of the rows with the verdict alert, each with probability `alert_inclusion`; 1 where all of them were taken

and `queued` names events that were chosen because their labels teach most: by rule, so their probability is not known."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from lifecycle.labels.label import Label, LabelSelection

Drawn = tuple[LabelSelection, float | None]
"""Why an event was drawn, and the probability that one of the random samples had it."""


class Draw(msgspec.Struct, frozen=True, kw_only=True):
    """One draw. Its JSON is one line of the log of labels."""

    draw_id: str
    model: str
    since_us: int
    """The slice: from here, inclusive,"""
    until_us: int
    """to here, exclusive; microseconds since the epoch, UTC. Empty where nothing new was sampled."""
    seed: int
    rows: int
    """Rows that were answered in the slice."""
    alerts: int
    """Of them: alerts."""
    audit_inclusion: float
    alert_inclusion: float
    audit: tuple[str, ...] = ()
    """Events of the audit sample, those with labels too."""
    alert: tuple[str, ...] = ()
    """Events of the sample of alerts, those with labels too."""
    audited_alerts: tuple[str, ...] = ()
    """Events of the audit sample that were alerts."""
    queued: tuple[str, ...] = ()
    """Events that were chosen by rule."""
    by: str = ""
    """Who asked for it."""

    @property
    def is_of_a_slice(self) -> bool:
        """Whether it covers any time."""
        return self.until_us > self.since_us

    def drawn(self) -> Mapping[str, Drawn]:
        """Its events, the audit sample first. An alert could come by both samples, so its probability is that of either."""
        either = 1 - (1 - self.audit_inclusion) * (1 - self.alert_inclusion)
        of_alerts = frozenset(self.audited_alerts)
        found: dict[str, Drawn] = {
            event: ("audit", either if event in of_alerts else self.audit_inclusion) for event in self.audit
        }
        for event in self.alert:
            found.setdefault(event, ("alert", either))
        for event in self.queued:
            found.setdefault(event, ("queue", None))
        return found


_UNSAID: Final[Drawn] = ("other", None)


def with_selection(label: Label, drawn: Mapping[str, Drawn]) -> Label:
    """The label with why its event was selected, where the label itself says nothing and a draw does."""
    if (label.selection, label.inclusion) != _UNSAID or label.event not in drawn:
        return label
    selection, inclusion = drawn[label.event]
    return msgspec.structs.replace(label, selection=selection, inclusion=inclusion)


def covered_until(draws: Sequence[Draw]) -> int | None:
    """Where the last slice ends; None if there is none."""
    return max((draw.until_us for draw in draws if draw.is_of_a_slice), default=None)
