"""From a receipt, `receipt#row` or a request id to the event."""

import numpy as np
import pytest

from lifecycle.governance.archive.record_log import RecordLog
from lifecycle.labels.errors import UnknownEvent
from lifecycle.labels.events import AppendedEvents, EventFinder
from serving.audit.encoding import LONGEST_LIST
from tests.fakes.labelled import PredictionLog, record


@pytest.fixture
def predictions(tmp_path):
    log = PredictionLog(tmp_path / "audit", segment_bytes=1500)
    log.append(
        record(1, verdicts=["alert"], request_id="evt-1"),
        record(2, verdicts=["benign", "alert", "benign"], request_id="evt-2"),
        record(3, verdicts=["alert"], receipt="r-3", row_numbers=[1], variant="candidate"),
        record(3, verdicts=["benign"], receipt="r-3", row_numbers=[0]),
        record(4, request_id="twice"),
        record(5, request_id="twice"),
        record(6, request_id="both", model="flows"),
        record(6, request_id="both", model="dns", receipt="d-6"),
        record(7, request_id="r-1"),
    )
    return log


@pytest.fixture
def finder(predictions):
    return EventFinder(RecordLog(predictions.folder))


def test_a_row_of_an_answer_whose_row_numbers_are_written_raw(tmp_path):
    log, n = PredictionLog(tmp_path / "audit"), LONGEST_LIST + 1
    log.append(record(1, verdicts=["benign"] * (n - 1) + ["alert"], row_numbers=np.arange(n) * 2, receipt="wide"))
    finder = EventFinder(RecordLog(log.folder))
    assert finder.find(f"wide#{2 * (n - 1)}").verdict == "alert"
    assert [one.event for one in AppendedEvents(log.folder, "flows", "alert").all()] == [f"wide#{2 * (n - 1)}"]


@pytest.mark.parametrize(
    ("name", "event", "verdict"),
    [
        pytest.param("r-1", "r-1", "alert", id="a receipt of one row"),
        pytest.param("r-1#0", "r-1", "alert", id="its row may be said"),
        pytest.param("r-2#1", "r-2#1", "alert", id="a row of several"),
        pytest.param("r-3#1", "r-3#1", "alert", id="a row that another variant answered"),
        pytest.param("r-3#0", "r-3#0", "benign", id="the row that stable answered of the same request"),
        pytest.param("evt-1", "r-1", "alert", id="the client's own id"),
        pytest.param("evt-2#1", "r-2#1", "alert", id="the client's own id with a row"),
        pytest.param("r-7", "r-7", "benign", id="an answer whose request id is another's receipt"),
    ],
)
def test_a_name_is_resolved(finder, name, event, verdict):
    found = finder.find(name)
    assert (found.event, found.verdict) == (event, verdict)


def test_a_receipt_goes_before_a_request_id(finder):
    assert finder.find("r-1").event == "r-1"


def test_who_answered_is_known(finder):
    found = finder.find("r-3#1")
    assert (found.model, found.variant, found.revision) == ("flows", "candidate", "sha256:aa")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        pytest.param("r-99", "no answer has this receipt or request id.*--unseen", id="unknown"),
        pytest.param("r-2", r"several rows; name one: r-2#0, r-2#1, r-2#2", id="which row"),
        pytest.param("r-2#3", "3 rows and no row 3", id="no such row"),
        pytest.param("twice", "2 answers have this request id \\(r-4, r-5\\)", id="an id that was used twice"),
        pytest.param("both", "2 answers have this request id", id="an id of two models"),
    ],
)
def test_a_name_that_is_not_one_event_is_refused_with_the_way_out(finder, name, words):
    with pytest.raises(UnknownEvent, match=words):
        finder.find(name)


def test_a_model_tells_two_answers_of_one_id_apart(finder):
    assert finder.find("both", "dns").event == "d-6"


def test_many_names_are_found_in_one_reading(finder):
    names = [f"r-{number:x}#0" for number in range(40)]
    found = finder.find_all(names)
    assert sorted(one.event for one in found.values() if not isinstance(one, UnknownEvent)) == [
        "r-1", "r-2#0", "r-3#0", "r-4", "r-5", "r-6", "r-7"
    ]  # fmt: skip


def test_junk_between_records_is_passed_over(predictions, finder):
    (last,) = list(predictions.folder.glob("*.jsonl"))[-1:]
    with last.open("ab") as file:
        file.write(b'{"receipt": "r-1", junk\n\xff r-1\n')
    assert finder.find("r-1").event == "r-1"


def test_alerts_are_read_as_they_are_appended(predictions):
    alerts = AppendedEvents(predictions.folder, "flows", "alert")
    assert [one.event for one in alerts.all()] == ["r-1", "r-2#1", "r-3#1"]
    predictions.append(record(8, verdicts=["alert"]), record(9))
    assert [one.event for one in alerts.all()] == ["r-1", "r-2#1", "r-3#1", "r-8"]
    assert len(alerts.all()) == 4


class TestEventsOfStreams:
    """An event of a stream is named by its place in the topic, as its verdict names it."""

    @pytest.fixture
    def streams(self, tmp_path):
        log = PredictionLog(tmp_path / "audit", segment_bytes=900)
        log.append(
            record(1, verdicts=["benign", "alert"], request_id="events/0/10-11", door="kafka", receipt="aborted"),
            record(2, verdicts=["alert"], request_id="events/0/11", door="http", receipt="by-a-client"),
            record(3, verdicts=["benign", "alert", "benign"], request_id="events/0/10-11 events/1/7", door="kafka"),
            record(4, verdicts=["alert"], row_numbers=[1], request_id="events/2/1-2", door="kafka", receipt="split"),
            record(4, verdicts=["benign"], row_numbers=[0], request_id="events/2/1-2", door="kafka", receipt="split"),
            record(5, verdicts=["benign"], request_id="events/1/7", door="kafka", model="dns", receipt="of-dns"),
        )
        return EventFinder(RecordLog(log.folder))

    @pytest.mark.parametrize(
        ("name", "event", "verdict"),
        [
            pytest.param("events/0/11", "r-3#1", "alert", id="of two answers the newer, not one that a client named so"),
            pytest.param("events/2/2", "split#1", "alert", id="the row that another variant answered"),
            pytest.param("events/2/1", "split#0", "benign", id="the row that stable answered"),
        ],
    )
    def test_its_row_is_found(self, streams, name, event, verdict):
        found = streams.find(name)
        assert (found.event, found.verdict) == (event, verdict)

    def test_of_an_event_that_two_models_scored_the_model_is_named(self, streams):
        with pytest.raises(UnknownEvent, match="the models dns, flows scored this event; name one by `model`"):
            streams.find("events/1/7")
        assert streams.find("events/1/7", "flows").event == "r-3#2"
        assert streams.find("events/1/7", "dns").event == "of-dns"

    @pytest.mark.parametrize("name", ["events/0/12", "events/9/10", "vents/0/10", "events/0/1", "events/0/", "events/0/10#0"])
    def test_an_event_that_was_not_scored(self, streams, name):
        with pytest.raises(UnknownEvent, match="no answer has"):
            streams.find(name)

    def test_many_at_once(self, streams):
        found = streams.find_all([f"events/0/{n}" for n in range(30)])
        assert [name for name, event in found.items() if not isinstance(event, UnknownEvent)] == ["events/0/10", "events/0/11"]
