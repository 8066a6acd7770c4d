"""When an event was known: as it says itself, else as its detector's training rows say."""

from datetime import UTC, datetime
from typing import Any

import pytest

from serving.features.windows.spec import EventTimeSpec
from serving.models.manifest import FieldSpec
from serving.stream.codecs.codec import Undecodable
from serving.stream.codecs.columns import EventColumns
from serving.stream.codecs.json_codec import JsonCodec
from serving.stream.event_time import event_time_of
from serving.stream.parsing import MOST_AHEAD_US, EventParser
from serving.stream.ports import Partition, StreamRecord

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


@pytest.mark.parametrize(
    ("ahead_us", "produced_us", "is_event"),
    [
        pytest.param(MOST_AHEAD_US, NOON_US, True, id="a day ahead of its record"),
        pytest.param(MOST_AHEAD_US + 1, NOON_US, False, id="more than a day ahead: it would end the windows of all others"),
        pytest.param(-(10**15), NOON_US, True, id="years before its record, as in a replay"),
        pytest.param(10**15, 0, True, id="nobody knows when its record was produced"),
    ],
)
def test_an_event_from_the_future_is_no_event(ahead_us: int, produced_us: int, is_event: bool) -> None:
    columns = EventColumns((FieldSpec(name="host", datatype="BYTES"),))
    parser = EventParser(JsonCodec(), columns, ("host",), "event_time", 1000)
    value = b'{"host": "h", "event_time": %d}' % (NOON_US + ahead_us)
    partition = Partition("events", 0)
    found = parser.parse(partition, [StreamRecord(partition, 0, value, time_us=produced_us)])
    assert (found.events is not None, len(found.poison)) == (is_event, int(not is_event))
