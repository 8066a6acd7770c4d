"""When an event was known: as it says itself, else as its detector's training rows say."""

from datetime import UTC, datetime
from typing import Any

import pytest

from serving.features.windows.spec import EventTimeSpec
from serving.stream.codecs.codec import Undecodable
from serving.stream.event_time import event_time_of

PRAGUE = EventTimeSpec(column="start", timezone="Europe/Prague", duration="duration")
NOON_US = int(datetime(2011, 8, 18, 12, tzinfo=UTC).timestamp()) * 1_000_000
PRODUCED_US = 7


@pytest.mark.parametrize(
    ("event", "expected_us"),
    [
        pytest.param(
            {"event_time": "2011-08-18T12:00:00Z", "start": "2000-01-01", "duration": 9}, NOON_US, id="its own time is first"
        ),
        pytest.param({"event_time": NOON_US}, NOON_US, id="microseconds"),
        pytest.param(
            {"start": "2011-08-18T14:00:00", "duration": 0.25}, NOON_US + 250_000, id="start and duration, local time"
        ),
        pytest.param({"start": "2011-08-18T12:00:00Z", "duration": 1}, NOON_US + 1_000_000, id="an offset is kept"),
        pytest.param({"start": datetime(2011, 8, 18, 14), "duration": 0}, NOON_US, id="a time of Avro"),
        pytest.param({"start": NOON_US, "duration": 2}, NOON_US + 2_000_000, id="a start in microseconds"),
        pytest.param({"duration": 2}, PRODUCED_US, id="without any, when it was produced"),
    ],
)
def test_known(event: dict[str, Any], expected_us: int) -> None:
    assert event_time_of("event_time", PRAGUE)(event, PRODUCED_US) == expected_us


@pytest.mark.parametrize(
    "event",
    [
        pytest.param({"event_time": "yesterday"}, id="no time"),
        pytest.param({"start": "soon", "duration": 1}, id="no start"),
        pytest.param({"start": NOON_US}, id="no duration"),
        pytest.param({"start": NOON_US, "duration": -1}, id="a negative duration"),
        pytest.param({"start": NOON_US, "duration": float("nan")}, id="no number"),
        pytest.param({"start": NOON_US, "duration": True}, id="a truth value"),
        pytest.param({"start": NOON_US, "duration": 1e12}, id="thirty thousand years"),
    ],
)
def test_no_event(event: dict[str, Any]) -> None:
    assert isinstance(event_time_of("event_time", PRAGUE)(event, PRODUCED_US), Undecodable)


def test_without_a_declaration_the_record_says_it() -> None:
    assert event_time_of(None, None)({"event_time": 5, "start": 6}, PRODUCED_US) == PRODUCED_US
