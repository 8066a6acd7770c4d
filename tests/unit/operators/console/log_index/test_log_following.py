"""The index follows the logs: through rotation, archive, retention, erasure, damage and the loss of its own file."""

import sqlite3
from contextlib import contextmanager

import msgspec
import pytest

from operators.console.log_index import index_follower
from operators.console.log_index.alert_queries import AlertFilter
from operators.console.log_index.index_file import IndexFile, IndexUnavailable
from operators.console.log_index.index_scope import LogScope
from operators.console.log_index.people import ERASED
from operators.console.log_index.record_lines import line_of
from operators.console.log_index.record_queries import RecordFilter
from operators.console.log_index.store_index import StoreIndex
from serving.audit.tombstones import remove_segment
from tests.fakes.labelled import START_US, record
from tests.unit.lifecycle.governance.archive.test_archive import archive_all
from tests.unit.operators.console.log_index.worlds import EVERYTHING, IndexedStore, alert


@pytest.fixture
def store(tmp_path):
    return IndexedStore(tmp_path)


def test_what_is_appended_comes_and_nothing_comes_twice(store):
    store.write(alert(0))
    assert store.look().alerts == 1
    store.write(alert(1), record(2))
    assert (store.look().alerts, store.look().lines) == (1, 0)
    assert store.events() == ["r-1", "r-0"]


def test_a_segment_that_ends_and_the_next_one_are_one_log(store):
    store.write(alert(0), is_open=False)
    store.look()
    store.write(alert(1), is_open=False)
    store.write(alert(2), log="2-bb")
    store.look()
    assert store.events() == ["r-2", "r-1", "r-0"]


def test_a_torn_last_line_waits(store):
    store.write(alert(0))
    (path,) = store.world.folder.glob("segment-*.jsonl")
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:40])
    store.look()
    path.write_bytes(whole + whole.replace(b'"r-0"', b'"r-1"'))
    store.look()
    assert store.events() == ["r-1", "r-0"]
    assert not any(one.broken for one in store.records.segments())


def test_archived_segments_stay_and_their_lines_are_found(store):
    lines = store.write(alert(0), alert(1), is_open=False)
    store.write(alert(2), is_open=False)
    store.look()
    archive_all(store.world)
    store.look()
    assert store.events() == ["r-2", "r-1", "r-0"]
    row = store.alerts.one("r-1", EVERYTHING)
    assert line_of(store.world.folder, store.world.place, row.segment, row.line, row.at) == lines[1]


def test_what_was_archived_before_anybody_looked_is_read_from_the_archive(store):
    store.write(alert(0), is_open=False)
    archive_all(store.world)
    store.write(alert(1), log="2-bb")
    store.look()
    assert store.events() == ["r-1", "r-0"]


def test_a_segment_that_was_half_read_when_it_was_archived_is_read_to_its_end(store):
    store.write(alert(0))
    store.look()
    store.write(alert(1), is_open=False)
    archive_all(store.world)
    store.look()
    assert store.events() == ["r-1", "r-0"]


def test_what_retention_removed_vanishes(store):
    store.write(alert(0), is_open=False)
    store.write(alert(1), log="2-bb")
    store.look()
    (files,) = [s.files for s in store.world.log.segments() if s.files.log == "1-aa"]
    remove_segment(files, store.world.signer, now_us=store.world.now(), reason="past retention", by="retention")
    store.look()
    assert store.events() == ["r-1"]


def test_damaged_lines_are_counted_and_the_rest_is_shown(store):
    store.write(alert(0), alert(1), alert(2))
    (path,) = store.world.folder.glob("segment-*.jsonl")
    first, _, third = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + b'{"receipt": 1\n' + b"\xff\xfe\n" + b"[" * 5000 + b"\n" + third)
    store.look()
    assert store.events() == ["r-2", "r-0"]
    assert [one.broken for one in store.records.segments()] == [3]


def test_a_segment_that_is_cut_is_read_anew(store):
    store.write(alert(0), alert(1))
    store.look()
    (path,) = store.world.folder.glob("segment-*.jsonl")
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    store.look()
    assert store.events() == ["r-0"]


def test_a_damaged_archive_is_named_and_the_rest_is_shown(store):
    store.write(alert(0), is_open=False)
    archive_all(store.world)
    (path,) = (store.store / "archive").glob("*.parquet")
    path.write_bytes(b"no parquet")
    store.write(alert(1), log="2-bb")
    store.look()
    assert store.events() == ["r-1"]
    problems = [bool(one.problem) for one in store.records.segments() if one.log == "audit"]
    assert problems == [True, False]


def test_an_index_that_is_lost_or_damaged_is_made_again_the_same(store):
    store.write(alert(0), alert(1))
    store.label("r-1", "benign", START_US)
    store.look()
    before = store.alerts.page(AlertFilter(), EVERYTHING).rows
    store.file.remove()
    store.look()
    assert store.alerts.page(AlertFilter(), EVERYTHING).rows == before
    store.file.remove()
    store.file.path.write_bytes(b"no database" * 1000)
    store.look()
    assert store.alerts.page(AlertFilter(), EVERYTHING).rows == before


def test_another_layout_is_made_again(store):
    store.write(alert(0))
    store.look()
    with store.file.writing() as connection:
        connection.execute("PRAGMA user_version = 99")
    store.look()
    assert store.events() == ["r-0"]


def test_one_process_writes_at_a_time(store):
    store.write(alert(0))
    with IndexFile(store.file.folder).writing():  # as another process has it open
        assert not store.look().is_writer
    assert store.look().is_writer
    with store.file.writing(), store.file.writing(wait_s=0) as second:
        assert second is None


def test_the_last_label_is_shown_whether_it_comes_before_or_after_its_alert(store):
    store.label("r-0", "attack", START_US)
    store.write(alert(0), alert(1))
    store.look()
    store.label("r-1", "attack", START_US)
    store.label("r-0", "benign", START_US + 5, analyst="eve")
    store.label("r-0", "unsure", START_US + 3)
    store.look()
    rows = {row.event: row for row in store.alerts.page(AlertFilter(), EVERYTHING).rows}
    assert (rows["r-0"].label, rows["r-0"].label_by, rows["r-1"].label) == ("benign", "eve", "attack")
    assert [word.verdict for word in store.alerts.words(rows["r-0"])] == ["attack", "unsure", "benign"]


def test_the_oldest_go_where_there_are_too_many(tmp_path):
    store = IndexedStore(tmp_path, most_answers=20, most_alerts=10)
    store.write(*(alert(n) for n in range(40)))
    store.look()
    assert store.events() == [f"r-{n:x}" for n in range(39, 29, -1)]
    assert len(store.records.page(RecordFilter(), EVERYTHING, most=100).rows) == 20


def test_the_index_holds_no_name_that_the_log_encrypts(store):
    store.write(alert(0, host="ann-laptop", keys=store.keys))
    store.look()
    assert store.names() == ["ann-laptop"]
    assert store.of("ann-laptop") == ["r-0"]
    for path in store.file.folder.iterdir():
        assert b"ann-laptop" not in path.read_bytes()


def test_an_erased_person_vanishes_and_others_stay(store):
    store.write(alert(0, host="ann", keys=store.keys), alert(1, host="bob", keys=store.keys), alert(2, host="carl"))
    store.look()
    subject = store.keys.subject(b"ann")
    store.keys.destroy(subject)
    assert store.names() == ["carl", "bob", ERASED], "at once, before the index has seen the act"
    store.act(START_US + 10_000_000, "subject.erase", f"subject/{subject}")
    store.look()
    assert store.names() == ["carl", "bob", ""]
    assert (store.of("ann"), store.of("bob"), store.of("carl")) == ([], ["r-1"], ["r-2"])
    store.file.remove()
    store.look()
    assert store.names() == ["carl", "bob", ""], "an index that is made again does not bring the person back"


def test_records_of_an_erased_person_that_come_later_are_that_persons_again(store):
    subject = store.keys.subject(b"ann")
    store.write(alert(0, host="ann", keys=store.keys))
    store.keys.destroy(subject)
    store.act(START_US + 500_000, "subject.erase", f"subject/{subject}")
    store.write(alert(1, host="ann", keys=store.keys))
    store.look()
    assert store.of("ann") == ["r-1"]
    assert store.names() == ["ann", ""]


def test_asking_for_a_name_makes_no_secret(store):
    store.write(alert(0))
    store.look()
    assert store.of("ann") == []
    assert not (store.store / "keys" / "subjects").exists()


def test_records_are_found_by_actor_kind_service_receipt_and_time(store):
    store.write(msgspec.structs.replace(alert(0), caller="key:7"), record(1, model="dns"))
    store.act(START_US + 2_000_000, "rollout.promote", "modelservice/default/dns", actor="eve")
    store.label("r-0", "attack", START_US + 3_000_000)
    store.look()

    def found(**wanted):
        return [row.about for row in store.records.page(RecordFilter(**wanted), EVERYTHING).rows]

    assert found(actor="eve") == ["modelservice/default/dns"]
    assert found(actor="key:7") == ["r-0"]
    assert found(kinds=("label",)) == ["r-0"]
    assert found(service="dns") == ["modelservice/default/dns", "r-1"]
    assert found(receipt="r-0") == ["r-0", "r-0"]
    assert found(action="rollout") == ["modelservice/default/dns"]
    assert found(action="roll%") == []
    assert found(since_us=START_US + 2_500_000) == ["r-0"]
    assert found(until_us=START_US + 1) == ["r-0"]


def test_a_record_whose_row_has_no_possible_number_is_broken_and_holds_up_no_other(store):
    store.write(alert(0, row_numbers=[7], verdicts=("alert",)), alert(1), is_open=False)
    (path,) = store.world.folder.glob("segment-*.jsonl")
    path.write_bytes(path.read_bytes().replace(b'"row_numbers":[7]', b'"row_numbers":[99999999999999999999]'))
    store.look()
    assert store.events() == ["r-1"]
    assert [one.broken for one in store.records.segments()] == [1]


def test_large_lines_come_into_memory_a_few_at_a_time(store, monkeypatch):
    store.write(*map(alert, range(10)), is_open=False)
    monkeypatch.setattr(index_follower, "BATCH_BYTES", 1)
    told = []
    monkeypatch.setattr(store.following, "_advance", lambda done, of: told.append(done))
    store.look()
    assert len(told) == 10
    assert len(store.events()) == 10


def test_while_another_process_reads_the_log_the_pages_say_that_it_is_being_read(store):
    store.write(alert(0))
    index = StoreIndex(store.store, lambda: None)
    with IndexFile(store.store / "console").writing() as other:
        assert other is not None
        assert not index.refresh(5.0).is_current
    assert index.refresh(5.0, fresh_s=0.0).is_current


def test_damage_that_only_a_question_meets_is_mended_by_the_next_look(store):
    store.write(alert(0), alert(1), is_open=False)
    store.look()
    with store.file.reading() as connection:
        size = connection.execute("PRAGMA page_size").fetchone()[0]
        root = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'alerts_by_time'").fetchone()[0]
    with store.file.path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * size)
    store.look()
    with pytest.raises(IndexUnavailable, match="made again from the logs"):
        store.events()
    store.look()
    assert store.events() == ["r-1", "r-0"]


def test_a_bundle_that_was_refused_has_answered_nothing(store):
    refused = msgspec.structs.replace(record(1, verdicts=()), source="refused", revision="sha256:bb")
    store.write(record(0), refused)
    store.look()
    assert [revision for _, _, revision, *_ in store.records.answers_of_revisions()] == ["sha256:aa"]
    assert len(store.records.page(RecordFilter(), EVERYTHING).rows) == 2


def test_revisions_are_counted_while_lines_come(store):
    others = [msgspec.structs.replace(record(n, verdicts=()), revision="sha256:bb") for n in (3, 2)]
    store.write(record(0), others[0], is_open=False)
    store.look()
    store.write(record(1), others[1])
    store.look()
    found = {revision: (count, first, last) for _, _, revision, count, first, last in store.records.answers_of_revisions()}
    assert found["sha256:aa"][0] == 2
    assert found["sha256:bb"] == (2, others[1].time_us, others[0].time_us)


def test_no_question_about_models_scans_the_answers(store, monkeypatch):
    """That would take 20 ms and more for 100,000 records, on every page of a person who is narrowed to models."""
    store.write(record(0), alert(1))
    store.look()
    asked, reading = [], store.file.reading

    @contextmanager
    def traced():
        with reading() as connection:
            connection.set_trace_callback(asked.append)
            yield connection
            connection.set_trace_callback(None)

    monkeypatch.setattr(store.file, "reading", traced)
    assert store.records.page(RecordFilter(kinds=("answer",)), LogScope(may_see_model=lambda _: True)).rows
    assert store.records.answers_of_revisions()
    monkeypatch.undo()
    with store.file.reading() as connection:
        plans = [row[3] for sql in asked if sql != "BEGIN" for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}")]
    assert len(plans) > 2
    assert not [plan for plan in plans if plan.startswith(("SCAN answers", "SCAN t")) and "INDEX" not in plan]


def test_a_full_disk_leaves_the_index_as_it_is_and_it_goes_on_when_there_is_room(store, monkeypatch):
    store.write(*(alert(n) for n in range(20)))
    store.look()
    before, connected = store.file.path.stat().st_ino, IndexFile._connected

    def full(self):
        connection = connected(self)
        connection.execute(f"PRAGMA max_page_count = {connection.execute('PRAGMA page_count').fetchone()[0]}")
        return connection

    store.write(*(alert(n) for n in range(20, 400)))
    with monkeypatch.context() as patched:
        patched.setattr(IndexFile, "_connected", full)
        for _ in range(2):
            with pytest.raises(sqlite3.OperationalError, match="full"):
                store.look()
    assert store.file.path.stat().st_ino == before
    assert "r-0" in store.events()
    store.look()
    assert len(store.events()) == 400
