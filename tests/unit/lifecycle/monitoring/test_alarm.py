"""Alarms are kept once each, whatever breaks off in between."""

import itertools
import multiprocessing
import os

import msgspec
import pytest

from lifecycle.governance.acts import ActsLog
from lifecycle.monitoring.alarm import ALARM_ACT, Alarm, AlarmError, AlarmLog, alarm_id_of
from serving.audit.signed_note import NoteError, Signer


def alarm(subject="dur", severity="minor", time_us=2_000_000, **fields):
    finding = {
        "model": "flows", "revision": "sha256:abc", "kind": "data_drift", "subject": subject, "segment": None,
        "statistic": "e-process", "began_us": 1_000_000,
    } | fields  # fmt: skip
    return Alarm(
        alarm_id=alarm_id_of(**finding), severity=severity, value=900.0, threshold=400.0, time_us=time_us,
        words=f"{subject} has changed", advice="look at its source", **finding,
    )  # fmt: skip


@pytest.fixture
def acts(tmp_path):
    signer, clock = Signer.create(tmp_path / "governance.pem"), itertools.count(1_000_000)
    return ActsLog(tmp_path / "governance", signer=lambda: signer, now_us=lambda: next(clock))


@pytest.fixture
def log(tmp_path):
    return AlarmLog(tmp_path / "monitoring")


def recorded(acts):
    return [act.evidence["alarm_id"] for act in acts.read() if act.action == ALARM_ACT]


def test_alarms_come_back_in_order(log):
    given = [alarm("dur"), alarm("proto"), alarm("score")]
    assert [log.add(one) for one in given] == [True, True, True]
    assert list(AlarmLog(log.path.parent).read()) == given


def test_a_finding_that_is_found_again_later_is_the_same_alarm(log):
    assert log.add(alarm(time_us=2_000_000))
    assert not log.add(alarm(time_us=9_000_000))
    assert not AlarmLog(log.path.parent).add(alarm(time_us=9_000_000))
    assert [one.time_us for one in log.read()] == [2_000_000]


@pytest.mark.parametrize(
    "other",
    [
        {"segment": "dmz"},
        {"revision": "sha256:def"},
        {"began_us": 5},
        {"kind": "coverage"},
        {"statistic": "psi"},
        {"model": "x"},
    ],
    ids=lambda other: next(iter(other)),
)
def test_another_finding_is_another_alarm(log, other):
    assert [log.add(alarm()), log.add(alarm(**other))] == [True, True]


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_an_alarm_that_could_not_be_read_again_is_not_made(value):
    with pytest.raises(ValueError, match="finite"):
        msgspec.structs.replace(alarm(), value=value)


def test_parts_of_an_id_do_not_run_into_each_other():
    assert alarm(model="ab", subject="c").alarm_id != alarm(model="a", subject="bc").alarm_id


def test_a_torn_last_line_is_left_out_and_cut_off_before_the_next(log):
    log.add(alarm("dur"))
    with log.path.open("ab") as torn:
        torn.write(msgspec.json.encode(alarm("proto"))[:40])
    assert [one.subject for one in AlarmLog(log.path.parent).read()] == ["dur"]
    assert AlarmLog(log.path.parent).add(alarm("proto"))
    assert [one.subject for one in log.read()] == ["dur", "proto"]


def test_another_process_is_asked_before_an_alarm_is_added(log):
    log.add(alarm("dur"))
    other = AlarmLog(log.path.parent)
    other.add(alarm("proto"))
    assert not log.add(alarm("proto"))


def test_a_line_that_is_no_alarm_is_named_with_its_place(log):
    log.add(alarm())
    with log.path.open("ab") as file:
        file.write(b'{"alarm_id": 7}\n')
    with pytest.raises(AlarmError, match=r"alarms\.jsonl, line 2.*not an alarm"):
        list(log.read())
    with pytest.raises(AlarmError, match=r"alarms\.jsonl"):
        AlarmLog(log.path.parent).add(alarm("proto"))


def test_a_full_disk_leaves_whole_lines(log, monkeypatch):
    log.add(alarm("dur"))
    before, write = log.path.read_bytes(), os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: write(fd, data[:10]))
        with pytest.raises(OSError, match="No space"):
            log.add(alarm("proto"))
    assert log.path.read_bytes() == before
    assert log.add(alarm("proto"))


def test_a_major_alarm_is_also_an_act(tmp_path, acts):
    log = AlarmLog(tmp_path / "monitoring", acts)
    log.add(alarm("dur", "minor"))
    log.add(alarm("proto", "major"))
    log.add(alarm("proto", "major"))
    (act,) = [act for act in acts.read() if act.action == ALARM_ACT]
    assert (act.subject, act.reason) == ("modelservice/local/flows", "proto has changed")
    assert msgspec.convert(act.evidence, Alarm) == alarm("proto", "major")


def test_an_act_that_a_crash_has_prevented_is_recorded_once(tmp_path, acts):
    AlarmLog(tmp_path / "monitoring").add(alarm("proto", "major"))  # no log of acts: as if killed before it was written
    log = AlarmLog(tmp_path / "monitoring", acts)
    assert [log.record_acts(), log.record_acts()] == [1, 0]
    assert recorded(acts) == [alarm("proto", "major").alarm_id]


def test_an_alarm_is_kept_where_its_act_cannot_be_recorded(tmp_path, acts):
    log = AlarmLog(tmp_path / "monitoring", acts)
    log.add(alarm("dur", "major"))
    (records,) = acts.folder.glob("segment-*.jsonl")
    whole = records.read_bytes()
    records.write_bytes(whole.replace(b"dur", b"xyz"))
    with pytest.raises(NoteError):
        log.add(alarm("proto", "major"))
    assert [one.subject for one in log.read()] == ["dur", "proto"]
    records.write_bytes(whole)
    assert log.record_acts() == 1
    assert len(recorded(acts)) == 2


def _add_all(folder):
    for number in range(20):
        AlarmLog(folder).add(alarm(f"column {number}"))


@pytest.mark.heavy
def test_processes_beside_each_other_keep_each_alarm_once(tmp_path):
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_add_all, args=(tmp_path,)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(one.subject for one in AlarmLog(tmp_path).read()) == sorted(f"column {number}" for number in range(20))
