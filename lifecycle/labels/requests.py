"""What somebody asks to be taken as a label, as it comes in: JSON of the HTTP door and of Kafka, rows of files. Pure.

The fields are those of a label, with three freedoms: the event may be named as `event`, or by `receipt` and `row`, or by the client's
`request_id`; the time may be ISO 8601 (`time`) or `time_us`; and `label` may stand for `verdict`, as in files for `vedette report
fairness`."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, cast

import msgspec

from lifecycle.labels.errors import WrongLabel
from lifecycle.labels.label import SELECTIONS, VERDICTS, Label, LabelOrigin, LabelSelection, LabelVerdict, check_choice
from lifecycle.monitoring.windows.answered import event_key

MOST_AHEAD_US: Final = 300 * 1_000_000
"""A label may be given so much later than now: clocks differ. More is a mistake, and such a label could never be corrected."""


class LabelRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One label as it is asked for."""

    event: str | None = None
    """A receipt, `receipt#row`, or the client's own request id."""
    receipt: str | None = None
    """The answer's receipt, where the event is not named by `event`."""
    row: int | None = None
    """Row of that answer, from 0."""
    request_id: str | None = None
    """The client's own request id."""
    model: str | None = None
    """Only answers of this model; needed for an event that was answered elsewhere."""
    verdict: str | None = None
    """attack, benign or unsure."""
    label: str | None = None
    """Another name for `verdict`."""
    family: str | None = None
    """Family of an attack."""
    analyst: str | None = None
    """Who gives the label."""
    time: str | None = None
    """When it was given, ISO 8601. Without a time: now, or when the message was produced."""
    time_us: int | None = None
    """The same in microseconds since the epoch."""
    sureness: float = 1.0
    """How sure the analyst is, 0 to 1."""
    note: str = ""
    """Text, at most 4,000 characters."""
    label_id: str | None = None
    """Makes it safe to send the label again. A message without one has the id of its place in the topic."""
    selection: str = "other"
    """Why the analyst saw the event."""
    inclusion: float | None = None
    """Probability with which the event was selected."""

    def __post_init__(self) -> None:
        if sum(name is not None for name in (self.event, self.receipt, self.request_id)) != 1:
            raise WrongLabel("name the event once: by event, by receipt (and row), or by request_id")
        if (self.verdict is None) == (self.label is None):
            raise WrongLabel("verdict is missing, or given twice; write attack, benign or unsure")
        check_choice("verdict", self.given_verdict, VERDICTS)
        check_choice("selection", self.selection, SELECTIONS)
        if self.row is not None and (self.event is not None or self.row < 0):
            raise WrongLabel(f"row is {self.row}; it must be 0 or more, and goes only with receipt or request_id")

    @property
    def given_verdict(self) -> str:
        """The verdict, by whichever name."""
        return self.verdict or self.label or ""

    @property
    def name(self) -> str:
        """What the event is looked up by."""
        name = self.event or self.receipt or self.request_id or ""
        return name if self.row is None else event_key(name, self.row, is_alone=False)

    def given_us(self, now_us: int) -> int:
        """When it was given; now, where it does not say. Raises WrongLabel for a time that is still to come."""
        if self.time is not None and self.time_us is not None:
            raise WrongLabel("time and time_us are both given; write one")
        at = self.time_us
        if self.time is not None:
            at = _microseconds(self.time)
        if at is not None and at > now_us + MOST_AHEAD_US:
            raise WrongLabel("the time of the label is in the future; check the clock of the machine that it comes from")
        return now_us if at is None else at

    def made(self, *, event: str, model: str, label_id: str, analyst: str, source: LabelOrigin, now_us: int) -> Label:
        """The label. Raises WrongLabel."""
        return Label(
            label_id=label_id,
            event=event,
            model=model,
            verdict=cast(LabelVerdict, self.given_verdict),
            family=self.family,
            analyst=analyst,
            time_us=self.given_us(now_us),
            sureness=self.sureness,
            note=self.note,
            source=source,
            selection=cast(LabelSelection, self.selection),
            inclusion=self.inclusion,
        )


def _microseconds(text: str) -> int:
    try:
        at = datetime.fromisoformat(text)
        return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1e6)
    except (ValueError, OverflowError, OSError) as problem:
        raise WrongLabel(f"time is {text[:80]!r}, expected ISO 8601, e.g. 2026-01-31T08:00:00Z") from problem


_JSON: Final = msgspec.json.Decoder(LabelRequest)


def decode_request(body: bytes) -> LabelRequest:
    """A request out of JSON. Raises WrongLabel."""
    try:
        return _JSON.decode(body)
    except (ValueError, RecursionError) as problem:  # no JSON, no request, no UTF-8, or nested without end
        raise WrongLabel(f"is not a label: {problem}") from problem


def request_of_row(row: Mapping[str | None, Any]) -> LabelRequest:
    """A request out of a row of a CSV file; empty cells are left out. Raises WrongLabel."""
    if None in row:
        raise WrongLabel("the row has more cells than the first line has names")
    filled = {str(name).strip(): value.strip() for name, value in row.items() if isinstance(value, str) and value.strip()}
    try:
        return msgspec.convert(filled, LabelRequest, strict=False)
    except (ValueError, RecursionError) as problem:
        raise WrongLabel(f"is not a label: {problem}") from problem
