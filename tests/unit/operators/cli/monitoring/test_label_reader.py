"""The monitor's reader of labels: what was recorded since a position, of alerts only."""

import itertools

import pytest

from lifecycle.labels.label import Label
from lifecycle.labels.label_log import LabelLog
from operators.cli.monitoring.label_reader import LabelledAlerts


@pytest.fixture
def log(tmp_path):
    clock = itertools.count(1_700_000_000_000_000)
    return LabelLog(tmp_path / "labels", now_us=lambda: next(clock))


def label(n, verdict="benign", **fields):
    told = {"model": "flows", "selection": "alert", "analyst": "ada", "time_us": 1_600_000_000_000_000} | fields
    return Label(label_id=f"l{n}", event=f"e{n}", verdict=verdict, **told)


def test_labels_of_alerts_come_once_in_their_order(tmp_path, log):
    reader = LabelledAlerts(tmp_path / "labels")
    assert reader.read("flows", {}) == ([], {})
    log.give_all([label(1), label(2, "attack"), label(3, "unsure"), label(4, model="other"), label(5, selection="audit")])
    found, position = reader.read("flows", {})
    assert [one.is_false for one in found] == [True, False]
    assert reader.read("flows", position) == ([], position)
    log.give(label(6, "attack"))
    later, after = reader.read("flows", position)
    assert [one.is_false for one in later] == [False]
    assert later[0].time_us > found[-1].time_us
    assert after != position


def test_a_torn_line_waits_and_a_junk_line_is_passed_over(tmp_path, log):
    log.give(label(1))
    (records,) = (tmp_path / "labels").glob("segment-*.jsonl")
    whole = records.read_bytes()
    reader = LabelledAlerts(tmp_path / "labels")
    records.write_bytes(b"junk\n" + whole + whole[:30])
    found, position = reader.read("flows", {})
    assert len(found) == 1
    records.write_bytes(b"junk\n" + whole + whole)
    assert len(reader.read("flows", position)[0]) == 1
