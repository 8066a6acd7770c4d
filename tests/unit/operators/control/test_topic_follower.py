"""Labels out of a topic: durable before the place is recorded, whoever fails in between. What is no label is set aside."""

import json
import random

import pytest

from lifecycle.governance.archive.record_log import RecordLog
from lifecycle.labels.desk import LabelDesk
from lifecycle.labels.errors import LabelsLost
from lifecycle.labels.events import EventFinder
from lifecycle.labels.label_log import LabelLog
from operators.control.labels.kafka_topic import DeadLetterFile
from operators.control.labels.topic_follower import TopicFollower, TopicMessage
from tests.fakes.labelled import START_US, PredictionLog, record


class Killed(BaseException):
    """The process ended here."""


class FakeTopic:
    """One partition and one group that keeps its place."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.place = 0
        self.is_commit_killed = False

    def produce(self, *values) -> None:
        self.messages += [value if isinstance(value, bytes) else json.dumps(value).encode() for value in values]

    def poll(self, wait_s):
        found = self.messages[self.place : self.place + 3]
        return [TopicMessage("labels", 0, self.place + n, value, START_US + n) for n, value in enumerate(found)]

    def commit(self, messages) -> None:
        if self.is_commit_killed:
            raise Killed
        self.place = max(message.offset for message in messages) + 1


@pytest.fixture
def place(tmp_path):
    PredictionLog(tmp_path / "audit").append(*(record(n) for n in range(20)))
    return tmp_path


def desk(place, log=None):
    return LabelDesk(log or LabelLog(place / "labels"), EventFinder(RecordLog(place / "audit")), "kafka")


def follower(topic, place, **more):
    return TopicFollower(topic, desk(place), DeadLetterFile(place / "dead.jsonl"), **more)


def drained(follower, topic):
    follower.run(lambda: topic.place >= len(topic.messages))
    return follower.counts


def said(number, **fields):
    return {"event": f"r-{number:x}", "verdict": "attack", "analyst": "ada", **fields}


def test_labels_are_taken_and_the_place_of_a_message_is_the_id_of_one_without(place):
    topic = FakeTopic()
    topic.produce(said(1), said(2, label_id="own"), said(1, verdict="benign"))
    counts = drained(follower(topic, place), topic)
    assert (counts.given, counts.corrected, counts.dead) == (2, 1, 0)
    labels = LabelLog(place / "labels").read()
    assert [one.label_id for one in labels] == ["labels/0/0", "own", "labels/0/2"]
    assert {one.source for one in labels} == {"kafka"}


def test_a_message_is_labelled_at_its_own_time_whenever_it_is_read(place):
    topic = FakeTopic()
    topic.produce(said(1))
    drained(follower(topic, place), topic)
    assert LabelLog(place / "labels").read()[0].time_us == START_US


def test_what_is_no_label_is_set_aside_with_its_reason_and_holds_nothing_up(place):
    topic = FakeTopic()
    topic.produce(b"{", said(99), said(1), b"\xff\xfe", said(2, verdict="?"), b"x" * 70_000, said(3))
    counts = drained(follower(topic, place), topic)
    assert (counts.given, counts.dead) == (2, 5)
    dead = [json.loads(line) for line in (place / "dead.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [one["place"] for one in dead] == ["labels/0/0", "labels/0/1", "labels/0/3", "labels/0/4", "labels/0/5"]
    assert "no answer" in dead[1]["reason"]
    assert dead[2]["value_base64"] == "//4="


def test_a_process_that_ends_before_the_place_is_recorded_loses_and_doubles_nothing(place):
    topic = FakeTopic()
    topic.produce(*(said(n) for n in range(6)))
    topic.is_commit_killed = True
    with pytest.raises(Killed):
        drained(follower(topic, place), topic)
    topic.is_commit_killed = False
    counts = drained(follower(topic, place), topic)
    assert (counts.given, counts.repeated) == (3, 3)
    assert len(LabelLog(place / "labels").read()) == 6


def test_labels_that_cannot_be_kept_wait_and_the_place_is_not_recorded(place, monkeypatch):
    topic = FakeTopic()
    topic.produce(said(1))
    log = LabelLog(place / "labels")
    full, waits = [3], []
    give_all = log.give_all

    def given(labels):
        if full[0]:
            full[0] -= 1
            raise LabelsLost("no space left")
        return give_all(labels)

    monkeypatch.setattr(log, "give_all", given)
    one = TopicFollower(
        topic, desk(place, log), DeadLetterFile(place / "dead.jsonl"), wait=lambda s: waits.append((s, topic.place))
    )
    assert drained(one, topic).given == 1
    assert waits == [(1.0, 0), (2.0, 0), (5.0, 0)]


def test_dead_letters_that_cannot_be_kept_hold_the_place_too(place):
    topic = FakeTopic()
    topic.produce(b"{", said(1))
    (place / "dead.jsonl").mkdir()
    waited = []

    def wait(seconds):
        waited.append((seconds, topic.place))
        (place / "dead.jsonl").rmdir()

    assert drained(follower(topic, place, wait=wait), topic).dead == 1
    assert waited == [(1.0, 0)]
    assert len(LabelLog(place / "labels").read()) == 1


def test_told_to_stop_while_the_disk_is_full_it_ends_and_records_nothing(place, monkeypatch):
    topic = FakeTopic()
    topic.produce(said(1))
    log = LabelLog(place / "labels")

    def given(labels):
        raise LabelsLost("no space left")

    monkeypatch.setattr(log, "give_all", given)
    told = []
    one = TopicFollower(topic, desk(place, log), DeadLetterFile(place / "dead.jsonl"), wait=told.append)
    one.run(lambda: len(told) >= 2)
    assert topic.place == 0


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_random_moments_it_ends_with_every_label_once(place, seed):
    topic, rng = FakeTopic(), random.Random(seed)
    topic.produce(*(said(n % 20, note=str(n)) if rng.random() < 0.8 else b"junk" for n in range(40)))
    while topic.place < len(topic.messages):
        topic.is_commit_killed = rng.random() < 0.4
        try:
            drained(follower(topic, place), topic)
        except Killed:
            continue
    ids = [one.label_id for one in LabelLog(place / "labels").read()]
    assert ids == [f"labels/0/{n}" for n, value in enumerate(topic.messages) if value != b"junk"]
