"""Finished segments become Parquet and give every line back to the byte; what is held stays; what goes leaves a signed account."""

import json
from pathlib import Path

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given

from lifecycle.governance.acts import Act, ActsLog
from lifecycle.governance.archive.archiving import Archiver, archived_records
from lifecycle.governance.archive.holds import HoldError, add_hold, holds_in, release_hold
from lifecycle.governance.archive.parquet import read_lines, write_segment
from lifecycle.governance.archive.place import SUFFIX, ArchiveError, ArchivePlace
from lifecycle.governance.archive.query import LogQuery, QueryError
from lifecycle.governance.archive.record_log import RecordChoice, RecordLog
from lifecycle.governance.archive.retention import (
    NotAsSigned,
    Retention,
    RetentionError,
    RetentionPolicy,
    ages_of,
    choose,
    held_segments,
)
from lifecycle.governance.verify.run import Verification
from serving.audit.encoding import decode_record, encode_record
from serving.audit.keys.trust import Trust
from serving.audit.segment_files import SegmentFiles, note_line, read_notes
from serving.audit.signed_note import Signer, text_of
from serving.messages import Tensor
from tests import laws
from tests.fakes.audit.tombstones import read_tombstones
from tests.fakes.serving.records import record
from tests.unit.lifecycle.governance.archive.logs import START_US, LogWorld, batch

pytestmark = pytest.mark.heavy

DAY_US = 86_400_000_000


@pytest.fixture
def world(tmp_path):
    return LogWorld(tmp_path / "store")


def recorder(world):
    log = ActsLog(world.store / "governance", signer=lambda: world.signer, now_us=world.now)

    def keep(action, subject, reason, evidence):
        act = Act(time_us=world.now(), actor="ann", action=action, subject=subject, reason=reason, evidence=dict(evidence))
        log.record(act)

    return keep


def acts(world):
    return list(ActsLog(world.store / "governance", signer=lambda: None, now_us=world.now).read())


def trust(world):
    return Trust.of_store(world.store, world.folder)


def archiver(world, place=None):
    return Archiver(world.folder, place or world.place, lambda: world.signer, world.now, recorder(world), "ann", trust(world))


def archive_all(world, place=None):
    work = archiver(world, place)
    return [work.archive(files, "routine") for files in work.finished()]


def verified(world, place=None):
    trust_of = lambda folder: Trust.of_store(world.store, folder)  # noqa: E731
    return Verification(world.now(), trust_of, archived=archived_records(place or world.place)).verify(world.folder)


texts = st.text(max_size=12)
records = st.builds(
    record,
    receipt=st.text(min_size=1, max_size=20),
    time_us=st.integers(0, 2**53),
    request_id=st.none() | texts,
    scores=hnp.arrays(np.float32, 3),
    degraded=hnp.arrays(np.bool_, 3),
    verdicts=st.lists(texts, max_size=3),
    rules=st.lists(st.lists(texts, max_size=2), max_size=2),
    row_numbers=st.none() | st.lists(st.integers(0, 2**40), max_size=3),
    inputs=st.dictionaries(texts, hnp.arrays(np.float64, 4).map(lambda a: Tensor("x", "FP64", a)), max_size=2),
)


@given(st.lists(records, min_size=1, max_size=5))
@laws.examples(30)
def test_whatever_the_encoder_writes_comes_back_to_the_byte(tmp_path_factory, many):
    folder = tmp_path_factory.mktemp("parquet")
    lines = [encode_record(one)[:-1] for one in many]
    write_segment(lines, folder / f"a{SUFFIX}")
    assert list(read_lines(ArchivePlace(str(folder)), f"a{SUFFIX}")) == lines


def test_a_finished_segment_is_archived_and_its_chain_still_verifies(world):
    lines = world.write(*world.some(20), batch("aa-99", 2000))
    world.write(*world.some(3, first=200))
    world.write(*world.some(3, first=300), is_open=True)
    before = list(LogQuery(world.log).run("SELECT * EXCLUDE (segment) FROM records ORDER BY time_us, receipt").lines)
    done = archive_all(world)
    assert [one.segment for one in done] == ["1-aa/1", "1-aa/2"]
    assert [path.name[-12:-6] for path in world.folder.glob("segment-*.jsonl")] == ["000003"]
    report = verified(world)
    assert report.is_sound, report.findings
    assert sum(log.records for log in report.logs) == 27
    assert [stone.reason for stone, _ in read_tombstones(world.folder)] == ["archived", "archived"]
    first = world.log.segments()[0]
    assert list(first.entries()) == lines
    assert list(LogQuery(world.log).run("SELECT * EXCLUDE (segment) FROM records ORDER BY time_us, receipt").lines) == before
    assert [act.action for act in acts(world)] == ["archive.segment"] * 2


def test_an_archived_record_that_was_changed_is_found(world):
    world.write(*world.some(20))
    archive_all(world)
    (stem,) = world.place.stems()
    lines = list(read_lines(world.place, stem + SUFFIX))
    lines[7] = lines[7].replace(b"benign", b"alerts")
    write_segment(lines, world.store / "archive" / (stem + SUFFIX))
    assert not verified(world).is_sound


def test_a_segment_that_was_changed_before_is_not_archived_and_stays(world):
    world.write(*world.some(5))
    (path,) = world.folder.glob("segment-*.jsonl")
    path.write_bytes(path.read_bytes().replace(b"benign", b"alerts", 1))
    with pytest.raises(ArchiveError, match="does not hold what its final checkpoint says"):
        archive_all(world)
    assert path.exists()
    assert world.place.stems() == []
    assert acts(world) == []


def test_a_segment_that_a_foreign_key_ended_is_not_archived(world):
    world.write(*world.some(5))
    for path in (world.store / "keys" / "trusted").glob("*.pub"):
        path.unlink()
    other = LogWorld(world.store.parent / "other")
    (world.store / "keys" / "trusted" / "x.pub").write_text(f"{other.signer.verifier}\n")
    with pytest.raises(ArchiveError, match="is not valid"):
        archive_all(world)


def test_an_archive_cut_off_half_way_is_ended_the_next_time(world, monkeypatch):
    world.write(*world.some(5))
    monkeypatch.setattr("lifecycle.governance.archive.archiving.remove_segment", lambda *a, **k: False)
    with pytest.raises(ArchiveError, match="archive again later"):
        archive_all(world)
    monkeypatch.undo()
    assert len(world.place.stems()) == 1
    assert LogQuery(world.log).run("SELECT count(*) FROM records").lines == [(5,)], "live and archived count once"
    archive_all(world)
    assert verified(world).is_sound


def test_an_archive_elsewhere_is_read_as_one_of_this_machine(world):
    place = ArchivePlace(f"memory://archive-{world.store.name}-{id(world)}")
    lines = world.write(*world.some(5))
    archive_all(world, place)
    log = RecordLog(world.folder, place)
    assert log.newest(2) == lines[-2:]
    assert LogQuery(log).run("SELECT count(*) FROM records").lines == [(5,)]
    assert verified(world, place).is_sound


def test_the_newest_records_are_found_across_live_and_archived_segments(world):
    world.write(*world.some(5))
    archive_all(world)
    world.write(*world.some(5, identity="bb"), log="2-bb", is_open=True)
    found = world.log.newest(7)
    assert len(found) == 7
    assert next(world.log.chosen(RecordChoice(receipt="aa-3"))) not in found


def test_the_newest_answers_leave_out_what_a_replica_wrote_of_a_refused_bundle(world):
    world.write(*world.some(2), *world.some(2, identity="no", source="refused"))
    assert [decode_record(line).receipt for line in world.log.newest(2, RecordChoice(is_answer=True))] == ["aa-1", "aa-2"]
    assert [decode_record(line).receipt for line in world.log.newest(2)] == ["no-1", "no-2"]


@pytest.mark.parametrize(("tenant", "found"), [("blue", ["b"]), ("", ["none"]), (None, ["b", "r", "none"])])
def test_records_are_chosen_by_the_tenant_of_their_caller(world, tenant, found):
    world.write(record(receipt="b", tenant="blue"), record(receipt="r", tenant="red"), record(receipt="none"))
    lines = world.log.chosen(RecordChoice(tenant=tenant))
    assert [json.loads(line)["receipt"] for line in lines] == found


@pytest.mark.parametrize("junk", [b'{"receipt": "aa-3"}', b'"aa-3" \xff', b"[" * 100_000], ids=["no record", "no text", "deep"])
def test_a_junk_line_hides_no_record(world, junk):
    world.write(*world.some(5))
    (path,) = world.folder.glob("segment-*.jsonl")
    path.write_bytes(junk + b"\n" + path.read_bytes())
    assert [index for _, index, _ in world.log.places_of("aa-3")] == [3]
    assert len(world.log.newest(9)) == len(list(world.log.chosen(RecordChoice()))) == 5


@pytest.mark.parametrize("time_us", [2**63 - 1, -(2**63) + 1])
def test_a_record_of_a_time_that_no_calendar_has_stops_no_query(world, time_us):
    world.write(*world.some(2), record(receipt="odd", time_us=time_us))
    asked = LogQuery(world.log).run("SELECT receipt, time IS NULL FROM records ORDER BY receipt")
    assert asked.lines == [("aa-1", False), ("aa-2", False), ("odd", True)]


def aged(world):
    """Two segments: flows of long ago, and flows with threat of today."""
    world.write(*world.some(3))
    old = world.now_us
    world.now_us += 1000 * DAY_US
    world.write(*world.some(2, first=100), *world.some(1, first=110, model="threat"))
    return old


def removals(world, policy, now_us, holds=None):
    return choose(ages_of(world.log), RetentionPolicy.parse(policy), now_us, held_segments(world.log, holds or {}))


@pytest.mark.parametrize(("policy", "days", "expected"), [
    pytest.param("900d", 10, ["1-aa/1"], id="what is past its time goes"),
    pytest.param("1100d", 10, [], id="what is not stays"),
    pytest.param("flows=1d,default=7y", 400, ["1-aa/1"], id="a segment goes when every model in it is past its time"),
    pytest.param("threat=1d", 4000, [], id="a model without a time is kept for ever"),
    pytest.param("flows=1d,threat=1w", 400, ["1-aa/1", "1-aa/2"], id="each model has its own time"),
])  # fmt: skip
def test_retention_by_policy(world, policy, days, expected):
    aged(world)
    assert [choice.name for choice in removals(world, policy, world.now_us + days * DAY_US)] == expected


@pytest.mark.parametrize("text", ["7", "7m", "flows=", "-1d", "0d", "flows=7y;x=1d"])
def test_a_policy_that_cannot_be_read_is_refused(text):
    with pytest.raises(RetentionError, match="retention"):
        RetentionPolicy.parse(text)


@pytest.mark.parametrize("is_archived", [pytest.param(True, id="archived"), pytest.param(False, id="live")])
def test_a_removal_leaves_an_act_and_a_signed_tombstone_and_the_chain_verifies(world, is_archived):
    aged(world)
    if is_archived:
        archive_all(world)
    (choice,) = removals(world, "900d", world.now_us)
    assert Retention(lambda: world.signer, world.now, recorder(world), "ann", trust(world)).remove(choice)
    assert LogQuery(world.log).run("SELECT DISTINCT segment FROM records").lines == [("1-aa/2",)]
    assert acts(world)[-1].action == "retention.remove"
    assert read_tombstones(world.folder)[-1][0].reason == "past retention: flows is kept 900 days"
    assert verified(world).is_sound


def change_a_record(world):
    path = sorted(world.folder.glob("segment-*.jsonl"))[0]
    path.write_bytes(path.read_bytes().replace(b"benign", b"alerts", 1))


def end_it_with_a_foreign_key(world):
    (files, *_) = world.log.segments()
    notes = read_notes(files.files.checkpoints)
    foreign = Signer.create(world.store / "foreign.pem")
    files.files.checkpoints.write_bytes(b"".join(map(note_line, [*notes[:-1], foreign.sign(text_of(notes[-1]))])))


def make_its_archived_records_look_old(world):
    """The typed columns, which say how old a record is, and not the lines, which are proved."""
    path = sorted((world.store / "archive").glob("segment-*.parquet"))[1]
    table = pq.read_table(path)
    at = table.schema.get_field_index("time_us")
    pq.write_table(table.set_column(at, table.schema.field(at), pa.array([1] * len(table), pa.int64())), path)


@pytest.mark.parametrize(("tamper", "is_archived"), [
    pytest.param(change_a_record, False, id="a changed record"),
    pytest.param(end_it_with_a_foreign_key, False, id="a final checkpoint of a foreign key"),
    pytest.param(make_its_archived_records_look_old, True, id="an archived file whose columns were made older"),
])  # fmt: skip
def test_a_segment_that_was_tampered_with_is_kept_and_that_is_recorded(world, tamper, is_archived):
    aged(world)
    if is_archived:
        archive_all(world)
    tamper(world)
    before = len(world.log.segments())
    choice = removals(world, "flows=900d,threat=900d", world.now_us)[-1]
    with pytest.raises(NotAsSigned):
        Retention(lambda: world.signer, world.now, recorder(world), "ann", trust(world)).remove(choice)
    assert len(world.log.segments()) == before
    assert [stone.reason for stone, _ in read_tombstones(world.folder) if stone.reason != "archived"] == []
    assert (acts(world)[-1].action, acts(world)[-1].subject) == ("retention.keep", f"segment/{choice.name}")


def test_no_act_no_removal(world):
    aged(world)
    (choice,) = removals(world, "900d", world.now_us)

    def cannot(action, subject, reason, evidence):
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        Retention(lambda: world.signer, world.now, cannot, "ann", trust(world)).remove(choice)
    assert len(world.log.segments()) == 2


def test_what_is_held_is_never_removed_until_it_is_released(world):
    aged(world)
    name, matched = add_hold(world.log, "model = 'flows' AND receipt = 'aa-2'", "case 7", recorder(world))
    assert matched == 1
    holds = {hold.name: hold.where for hold in holds_in(acts(world))}
    (choice,) = removals(world, "900d", world.now_us, holds)
    assert choice.held_by == (name,)
    with pytest.raises(RetentionError, match="held by"):
        Retention(lambda: world.signer, world.now, recorder(world), "ann", trust(world)).remove(choice)
    release_hold(world.folder, holds_in(acts(world)), name, "case closed", recorder(world))
    assert holds_in(acts(world)) == []
    (choice,) = removals(world, "900d", world.now_us)
    assert choice.held_by == ()


def test_removing_the_file_of_a_hold_releases_nothing(world):
    aged(world)
    add_hold(world.log, "model = 'flows'", "case 7", recorder(world))
    for path in (world.folder / "holds").glob("*"):
        path.unlink()
    assert len(holds_in(acts(world))) == 1


def test_a_hold_whose_condition_cannot_be_asked_is_refused_and_stops_every_removal(world):
    aged(world)
    with pytest.raises(QueryError):
        add_hold(world.log, "model = ", "case 7", recorder(world))
    assert acts(world) == []
    with pytest.raises(QueryError, match="nothing is removed"):
        removals(world, "900d", world.now_us, {"x": "no_such_column = 1"})
    with pytest.raises(HoldError, match="in force"):
        release_hold(world.folder, [], "x", "why", recorder(world))


def test_while_a_hold_is_in_force_a_replica_removes_nothing_by_count(tmp_path):
    from serving.audit.writer import SegmentWriter

    world = LogWorld(tmp_path / "store")
    world.write(*world.some(2))
    add_hold(world.log, "true", "case 7", recorder(world))
    (held,) = world.folder.glob("segment-*.jsonl")
    for _ in range(2):
        writer = SegmentWriter(world.folder, segment_bytes=1, segments=1, queue=100, signer=lambda: world.signer)
        for one in world.some(4):
            writer.append(one)
        writer.close()
        assert held.exists()
    assert SegmentFiles.of(world.folder, held.stem).checkpoints.exists()
    assert START_US > 0


def test_an_archive_in_a_folder_named_like_a_pattern_is_listed(tmp_path: Path):
    folder = tmp_path / "site[1]"
    assert ArchivePlace(str(folder)).stems() == [], "an archive that nothing was written to yet"
    folder.mkdir()
    (folder / f"segment-a-1{SUFFIX}").touch()
    (folder / "other.txt").touch()
    assert ArchivePlace(str(folder)).stems() == ["segment-a-1"]
