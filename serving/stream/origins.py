"""Which events one answer is about: the ids of its rows in one short text, which is the request's id in the prediction log. Pure.

    vedette.events/0/100-199,205 vedette.events/3/17

says that row 0 is the event `vedette.events/0/100`, row 100 `vedette.events/0/205`, row 101 `vedette.events/3/17`. So a label may name an
event by the id that its verdict has, and an auditor finds the record that an answer came from."""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from serving.stream.events import StreamEvents

DOOR: Final = "kafka"
"""The door of such answers in the prediction log; a client over HTTP may give any request id."""
_EVENT: Final = re.compile(r"(?P<place>\S+/[0-9]{1,9})/(?P<offset>[0-9]{1,19})")


def origins_of(parts: Sequence[StreamEvents]) -> str:
    """The ids of the rows of an answer to these events, in their order."""
    return " ".join(
        f"{part.partition.topic}/{part.partition.number}/{','.join(_runs([record.offset for record in part.records]))}"
        for part in parts
        if len(part)
    )


def _runs(offsets: Sequence[int]) -> Iterator[str]:
    first, last = offsets[0], offsets[-1]
    if last - first == len(offsets) - 1 and offsets == list(range(first, last + 1)):  # as nearly always
        yield f"{first}-{last}" if last > first else str(first)
        return
    begun = before = first
    for offset in [*offsets[1:], -1]:
        if offset != before + 1:
            yield f"{begun}-{before}" if before > begun else str(begun)
            begun = offset
        before = offset


def place_of(event: str) -> str | None:
    """Topic and partition of an event's id with the slash behind them, as they stand in a text of origins; None if it is no such id.

    >>> place_of("vedette.events/3/1829")
    'vedette.events/3/'
    """
    matched = _EVENT.fullmatch(event)
    return None if matched is None else f"{matched['place']}/"


def row_of(origins: str, event: str) -> int | None:
    """The row of an event in the answer with these origins; None if it is not in it.

    >>> row_of("vedette.events/0/100-199,205 vedette.events/3/17", "vedette.events/0/205")
    100
    """
    place = place_of(event)
    if place is None:
        return None
    wanted, row = int(event[len(place) :]), 0
    for part in origins.split(" "):
        runs = part.rpartition("/")[2]
        is_there = part.startswith(place) and len(part) == len(place) + len(runs)
        for run in runs.split(","):
            first, _, last = run.partition("-")
            if not first.isdigit() or (last and not last.isdigit()):
                return None
            begin, end = int(first), int(last or first)
            if is_there and begin <= wanted <= end:
                return row + wanted - begin
            row += end - begin + 1
    return None
