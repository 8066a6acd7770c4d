"""Takes labels in, whichever way they come: finds the events, makes the labels, puts them into the log. The one door to the log.

Each label of a batch stands for itself: a wrong one is refused with its reason and the others are taken, in one append."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import msgspec

from lifecycle.labels.errors import LabelConflict, LabellingError, UnknownEvent, WrongLabel
from lifecycle.labels.events import AnsweredEvent, EventFinder
from lifecycle.labels.label import Label, LabelOrigin
from lifecycle.labels.label_log import LabelLog, LabelOutcome
from lifecycle.labels.requests import LabelRequest

MOST_REMEMBERED: Final = 50_000
"""Events that are not looked up again."""


@dataclass(frozen=True, slots=True)
class TakenLabel:
    """What became of one request. Either there is a problem, or a label and its outcome."""

    label: Label | None = None
    outcome: LabelOutcome | None = None
    problem: LabellingError | None = None


class LabelDesk:
    """Takes labels in for one store. analyst: whose word it is where a request does not say; None: it must say.

    is_unseen_taken: whether events are taken that no answer of this store has. new_id: of a label without one."""

    def __init__(
        self,
        log: LabelLog,
        finder: EventFinder,
        source: LabelOrigin,
        *,
        analyst: str | None = None,
        is_unseen_taken: bool = False,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self.log, self._finder, self._source = log, finder, source
        self._analyst, self._is_unseen_taken, self._now_us = analyst, is_unseen_taken, now_us
        self._seen: dict[tuple[str | None, str], AnsweredEvent] = {}

    def take(self, requests: Sequence[LabelRequest | WrongLabel], ids: Sequence[str | None] = ()) -> list[TakenLabel]:
        """Take labels. ids: of those that have none of their own. The result has one element a request, in their order.

        Raises LabelsLost, NoteError, OSError if nothing could be kept: then ask again, nothing is taken twice."""
        own_ids = [*ids, *[None] * (len(requests) - len(ids))]
        taken = self._made(requests, own_ids)
        labels = [one.label for one in taken if one.label is not None]
        try:
            outcomes = iter(self.log.give_all(labels) if labels else [])
        except LabelConflict:  # each for itself, so that only that one is refused
            return [self._one(one.label) if one.label is not None else one for one in taken]
        kept = iter(self.log.kept(label.label_id for label in labels))
        return [TakenLabel(next(kept), next(outcomes)) if one.label is not None else one for one in taken]

    def _one(self, label: Label) -> TakenLabel:
        try:
            outcome = self.log.give(label)
            return TakenLabel(self.log.kept([label.label_id])[0], outcome)
        except LabelConflict as conflict:
            return TakenLabel(problem=conflict)

    def _made(self, requests: Sequence[LabelRequest | WrongLabel], ids: Sequence[str | None]) -> list[TakenLabel]:
        by_model: dict[str | None, set[str]] = {}
        for request in requests:
            if isinstance(request, LabelRequest) and (request.model, request.name) not in self._seen:
                by_model.setdefault(request.model, set()).add(request.name)
        missing: dict[tuple[str | None, str], UnknownEvent] = {}
        for model, names in by_model.items():
            for name, event in self._finder.find_all(names, model).items():
                if isinstance(event, UnknownEvent):
                    missing[model, name] = event
                else:
                    self._remember(model, name, event)
        now_us = self._now_us()
        return [self._label(request, own_id, missing, now_us) for request, own_id in zip(requests, ids, strict=True)]

    def _remember(self, model: str | None, name: str, event: AnsweredEvent) -> None:
        if len(self._seen) >= MOST_REMEMBERED:
            self._seen.clear()
        self._seen[model, name] = event

    def _label(
        self,
        request: LabelRequest | WrongLabel,
        own_id: str | None,
        missing: dict[tuple[str | None, str], UnknownEvent],
        now_us: int,
    ) -> TakenLabel:
        if isinstance(request, WrongLabel):
            return TakenLabel(problem=request)
        place = request.model, request.name
        try:
            if place in missing:
                if not (self._is_unseen_taken and missing[place].is_not_there):
                    raise missing[place]
                if request.model is None:
                    raise WrongLabel(f"{request.name} was not answered here; name its model in `model`")
                event, model = request.name, request.model
            else:
                event, model = self._seen[place].event, self._seen[place].model
            analyst = request.analyst or self._analyst
            if analyst is None:
                raise WrongLabel("analyst is missing; write who gives the label")
            label_id = request.label_id or own_id
            if label_id is None:
                raise WrongLabel("label_id is missing; it makes it safe to send the label again, e.g. a UUID")
            made = request.made(
                event=event, model=model, label_id=label_id, analyst=analyst, source=self._source, now_us=now_us
            )
        except (WrongLabel, UnknownEvent) as problem:
            return TakenLabel(problem=problem)
        return TakenLabel(made)


def id_of_row(number: int, request: LabelRequest) -> str:
    """The id of a row of a file that names none: the same row at the same place is the same label, so a file may be read again."""
    return "row-" + sha256(f"{number}\n".encode() + msgspec.json.encode(request)).hexdigest()[:32]
