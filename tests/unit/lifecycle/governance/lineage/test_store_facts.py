"""Facts of a store: what its prediction log says of answers, and that a line of somebody hostile hides no other."""

import os

import pytest

from lifecycle.governance.archive.parquet import write_segment
from lifecycle.governance.archive.place import ArchivePlace
from lifecycle.governance.archive.record_log import RecordLog
from lifecycle.governance.lineage.store import count_answers, find_answer, read_facts
from serving.audit.encoding import encode_record
from serving.audit.record import RecordedRefusal
from serving.loading.kept_revisions import keep_revision
from serving.spec import RevisionSpec
from tests.fakes.serving.records import record


@pytest.fixture
def folder(tmp_path):
    lines = [encode_record(record(receipt=f"r-{i}", time_us=i)) for i in range(3)]
    latin = lines[1].replace(b'"r-1"', b'"r-9"').replace(b'"model":"', b'"model":"\xe9')
    hostile = [b"no json\n", b"[" * 50_000 + b"\n", b'{"receipt":"r-9"}\n', b'"r-2" \xff\n', latin]
    (tmp_path / "segment-0000000000000001-one-000001.jsonl").write_bytes(b"".join([lines[0], *hostile, *lines[1:]]))
    os.mkfifo(tmp_path / "segment-0000000000000002-two-000001.jsonl")
    (tmp_path / "segment-odd.jsonl").write_text("{")
    return tmp_path


def test_answers_are_counted_past_lines_that_are_none(folder):
    (counted,) = count_answers(RecordLog(folder))
    assert (counted.records, counted.first_us, counted.last_us) == (3, 0, 2)


def test_only_answers_of_the_span_are_counted(folder):
    (counted,) = count_answers(RecordLog(folder), 1, 1)
    assert counted.records == 1


def test_a_bundle_that_was_refused_has_answered_nothing(tmp_path):
    refusal = RecordedRefusal(bundle="sha256:" + "c" * 64, kind="unsigned", reason="no trusted key signed it")
    empty = {"rows": 0, "inputs": {}, "features": {}, "event_times_us": {}, "scores": [], "verdicts": [], "degraded": []}
    refused = record(receipt="r-refused-1", version="2", source="refused", refusal=refusal, **empty)
    lines = [encode_record(record()), encode_record(refused)]
    (tmp_path / "segment-0000000000000001-one-000001.jsonl").write_bytes(b"".join(lines))
    assert [counted.version for counted in count_answers(RecordLog(tmp_path))] == ["1"]


def test_an_answer_is_found_by_its_receipt(folder):
    assert find_answer(RecordLog(folder), "r-2").facts["time_us"] == 2
    assert find_answer(RecordLog(folder), "r-9") is None
    assert find_answer(RecordLog(folder / "nowhere"), "r-1") is None


def test_an_archived_answer_is_counted_and_found(tmp_path):
    lines = [encode_record(record(receipt=f"r-{i}", time_us=i))[:-1] for i in range(3)]
    write_segment(lines, tmp_path / "segment-0000000000000001-one-000001.parquet")
    log = RecordLog(tmp_path / "audit", ArchivePlace(str(tmp_path)))
    assert [counted.records for counted in count_answers(log)] == [3]
    assert find_answer(log, "r-2").facts["time_us"] == 2


def test_a_revision_that_is_served_no_longer_is_still_explained(tmp_path):
    old = RevisionSpec(bundle="sha256:" + "a" * 64, thresholds={"siem_alerting": 0.9})
    keep_revision(tmp_path, old)
    (tmp_path / "revisions" / f"{'b' * 64}.json").write_text(old.model_dump_json(), encoding="utf-8")
    assert read_facts(tmp_path, RecordLog(tmp_path / "audit")).revisions == (old,)
