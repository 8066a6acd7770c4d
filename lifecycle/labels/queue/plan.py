"""The queue: which events an analyst should label next, within a budget. Pure.

In this order: what earlier draws have open; the audit sample and the sample of alerts of the time since the last draw; with what is left of
the budget, the rows whose labels teach most. The samples of a slice of time are drawn once (lifecycle.labels.draw), and only while the
open ones leave room: so their probabilities stay known, and analysts who fall behind are not given more."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from lifecycle.labels.draw import Draw, Drawn, covered_until
from lifecycle.labels.label import Label, LabelSelection
from lifecycle.labels.queue.informative import informative
from lifecycle.labels.queue.samples import RankedSample, draw_sample
from lifecycle.monitoring.windows.answered import NO_VERDICT, AnsweredRows
from serving.models.verdicts import VERDICTS

_ALERT: Final = VERDICTS.index("alert")


@dataclass(frozen=True, slots=True)
class QueueBudget:
    """labels: how many events. audit_share, alert_share: of them, for the two random samples, 0 to 1 together; the rest is for rows that
    teach most. audit_rate: the audit sample has no more than this share of all rows."""

    labels: int
    audit_share: float = 0.3
    alert_share: float = 0.3
    audit_rate: float = 1.0


@dataclass(frozen=True, slots=True)
class QueuedEvent:
    """One event to label. score: NaN without one. inclusion: None where it was chosen by rule."""

    event: str
    time_us: int
    version: str
    variant: str
    verdict: str
    score: float
    selection: LabelSelection
    inclusion: float | None


@dataclass(frozen=True, slots=True)
class LabelQueue:
    """events: what to label, the most needed first. draw: to be recorded before anybody labels. open_before: how many of the events earlier
    draws had open."""

    events: tuple[QueuedEvent, ...]
    draw: Draw
    open_before: int


def plan_queue(
    rows: AnsweredRows,
    labelled: Mapping[str, Label],
    draws: Sequence[Draw],
    budget: QueueBudget,
    *,
    seed: int,
    since_us: int,
    until_us: int,
    by: str = "",
) -> LabelQueue:
    """Plan the queue of one model. The same for the same rows, labels, draws, budget and seed.

    rows: what was answered from since_us to until_us, or longer ago. labelled: by event, the last word. draws: what was drawn before."""
    place_of = {str(event): place for place, event in enumerate(rows.events)}
    begin_us = max(since_us, covered_until(draws) or since_us)
    audit_most = max(1, round(budget.labels * budget.audit_share)) if budget.audit_share else 0
    alert_most = max(1, round(budget.labels * budget.alert_share)) if budget.alert_share else 0
    open_audit, open_alert = _open(draws, labelled, "audit"), _open(draws, labelled, "alert")
    room = (audit_most - len(open_audit), alert_most - len(open_alert))
    in_slice = np.flatnonzero((rows.times_us >= begin_us) & (rows.times_us < until_us))
    if min(room) <= 0 or until_us <= begin_us or not len(in_slice):
        in_slice, until_us = in_slice[:0], begin_us
    audit, alert = _samples(rows, in_slice, labelled, seed, room, budget.audit_rate)
    drawn = Draw(
        draw_id="",
        model=rows.model,
        since_us=begin_us,
        until_us=until_us,
        seed=seed,
        rows=len(in_slice),
        alerts=int((rows.verdicts[in_slice] == _ALERT).sum()),
        audit_inclusion=audit.inclusion,
        alert_inclusion=alert.inclusion,
        audit=_names(rows, audit.places),
        alert=_names(rows, alert.places),
        audited_alerts=_names(rows, audit.places[rows.verdicts[audit.places] == _ALERT]),
        by=by,
    )
    why: dict[str, Drawn] = {**open_audit, **open_alert}
    open_before = len(why)
    why |= {event: reason for event, reason in drawn.drawn().items() if event not in labelled}
    chosen = list(why)[: budget.labels]
    free = [place for event, place in place_of.items() if event not in labelled and event not in why]
    queued = informative(rows, free, budget.labels - len(chosen), seed)
    names = _names(rows, np.array(queued, dtype=np.intp))
    chosen += names
    why |= dict.fromkeys(names, ("queue", None))
    earlier = {event for draw in draws for event in draw.queued}
    final = _with_id(drawn, tuple(name for name in names if name not in earlier))
    events = tuple(_event(rows, place_of.get(event), event, why[event]) for event in chosen)
    return LabelQueue(events, final, min(open_before, len(chosen)))


def _open(draws: Sequence[Draw], labelled: Mapping[str, Label], selection: str) -> dict[str, Drawn]:
    """Events of earlier samples without a label, the oldest draw first."""
    found: dict[str, Drawn] = {}
    for draw in draws:
        for event, reason in draw.drawn().items():
            if reason[0] == selection and event not in labelled:
                found.setdefault(event, reason)
    return found


def _samples(
    rows: AnsweredRows,
    in_slice: NDArray[np.intp],
    labelled: Mapping[str, Label],
    seed: int,
    room: tuple[int, int],
    rate: float,
) -> tuple[RankedSample, RankedSample]:
    """The audit sample and the sample of alerts of a slice; their places are those in `rows`."""
    loud = in_slice[rows.verdicts[in_slice] == _ALERT]
    audit = draw_sample(list(rows.events[in_slice]), labelled.keys(), seed, f"audit/{rows.model}", most=room[0], rate=rate)
    audited = {*labelled, *rows.events[in_slice[audit.places]]}
    alert = draw_sample(list(rows.events[loud]), audited, seed, f"alert/{rows.model}", most=room[1])
    return RankedSample(in_slice[audit.places], audit.inclusion), RankedSample(loud[alert.places], alert.inclusion)


def _names(rows: AnsweredRows, places: NDArray[np.intp]) -> tuple[str, ...]:
    return tuple(str(event) for event in rows.events[places])


def _with_id(draw: Draw, queued: tuple[str, ...]) -> Draw:
    """The draw with an id made of what it says, so that it is recorded once."""
    named = msgspec.structs.replace(draw, queued=queued)
    return msgspec.structs.replace(named, draw_id=sha256(msgspec.json.encode(named)).hexdigest()[:32])


def _event(rows: AnsweredRows, place: int | None, event: str, reason: Drawn) -> QueuedEvent:
    if place is None:  # drawn earlier than what was read
        return QueuedEvent(event, 0, "", "", "", float("nan"), *reason)
    code = int(rows.verdicts[place])
    verdict = "" if code == NO_VERDICT else VERDICTS[code]
    return QueuedEvent(
        event,
        int(rows.times_us[place]),
        str(rows.versions[place]),
        str(rows.variants[place]),
        verdict,
        float(rows.scores[place]),
        *reason,
    )
