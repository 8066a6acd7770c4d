"""Whoever can write to the folder of the log stops neither the writer nor the sealing, and misleads neither into another file."""

import tracemalloc
from itertools import count

import pytest

from serving.audit.durability.sealing import seal_abandoned
from serving.audit.merkle import root_of
from serving.audit.segment_files import newest_checkpoint, read_leaves, segments_in
from serving.audit.segments import ChainedSegments
from serving.audit.signed_note import Signer
from serving.audit.writer import CHUNK, SegmentWriter
from tests.fakes.audit.hostile_files import ENTRY, HOSTILE, START_US, HostileFile
from tests.fakes.audit.tombstones import read_tombstones
from tests.fakes.serving.records import record


@pytest.fixture(scope="module")
def signer(tmp_path_factory) -> Signer:
    return Signer.create(tmp_path_factory.mktemp("key") / "audit.pem")


def leave_a_log(folder, signer, name="abandoned"):
    """As a killed process leaves it: synced, with a checkpoint, and not ended."""
    clock = count(START_US)
    chain = ChainedSegments(folder, name, segment_bytes=1000, signer=lambda: signer, now_us=lambda: next(clock))
    chain.append([ENTRY] * 3)
    chain.checkpoint()
    chain.append([ENTRY])
    chain.leave_open()


@pytest.mark.parametrize("hostile", [pytest.param(h, id=h.name) for h in HOSTILE])
def test_the_writer_goes_on_beside(hostile: HostileFile, signer, tmp_path):
    folder = tmp_path / "audit"
    leave_a_log(folder, signer)
    hostile.put(folder, "other")
    writer = SegmentWriter(folder, segment_bytes=10, segments=3, queue=1000, signer=lambda: signer)
    for number in range(CHUNK * 8):
        writer.append(record(receipt=f"r-{number}"))
    writer.close()
    assert (writer.written, writer.dropped) == (CHUNK * 8, 0)
    kept = [files for files in segments_in(folder) if files.log in (writer._id, "abandoned") and files.records.exists()]
    assert kept
    for files in kept:
        final, (leaves, _) = newest_checkpoint(files), read_leaves(files.records)
        assert final is not None
        assert (final.is_final, final.size, final.root) == (True, len(leaves), root_of(leaves))


@pytest.mark.parametrize("hostile", [pytest.param(h, id=h.name) for h in HOSTILE])
def test_sealing_goes_on_beside(hostile: HostileFile, signer, tmp_path):
    leave_a_log(tmp_path, signer)
    leave_a_log(tmp_path, signer, "zulu")
    hostile.put(tmp_path, "other")
    notes = seal_abandoned(tmp_path, "sealer", signer, START_US + 10)
    assert [note.split("\n")[0] for note in notes if "other" not in note and "[bold]" not in note] == [
        "vedette-audit/abandoned/1",
        "vedette-audit/zulu/1",
    ]


def test_stored_hashes_that_are_a_link_are_not_written_through(signer, tmp_path):
    folder, key = tmp_path / "audit", tmp_path / "audit.pem"
    key.write_text("the private key")
    leave_a_log(folder, signer)
    (files,) = segments_in(folder)
    files.hashes.unlink()
    files.hashes.symlink_to(key)
    assert len(seal_abandoned(folder, "sealer", signer, START_US + 10)) == 1
    assert key.read_text() == "the private key"


def test_checkpoints_that_are_a_link_are_not_written_through(signer, tmp_path):
    folder, other = tmp_path / "audit", tmp_path / "other"
    other.write_text("")
    leave_a_log(folder, signer)
    (files,) = segments_in(folder)
    files.checkpoints.unlink()
    files.checkpoints.symlink_to(other)
    seal_abandoned(folder, "sealer", signer, START_US + 10)
    assert other.read_text() == ""


def test_a_file_that_is_no_segment_takes_no_segment_s_place_in_the_retention(signer, tmp_path):
    for number in range(5):
        (tmp_path / f"segment-{number}.jsonl").write_bytes(ENTRY)
    writer = SegmentWriter(tmp_path, segment_bytes=10, segments=3, queue=1000, signer=lambda: signer)
    for number in range(CHUNK * 6):
        writer.append(record(receipt=f"r-{number}"))
    writer.close()
    assert len([files for files in segments_in(tmp_path) if files.records.exists()]) == 3


def test_junk_among_the_tombstones_does_not_stop_the_retention(signer, tmp_path):
    (tmp_path / "chain").mkdir(parents=True)
    (tmp_path / "chain" / "removed.jsonl").write_bytes(b'{"note": "junk"}\n\xff\n')
    writer = SegmentWriter(tmp_path, segment_bytes=10, segments=2, queue=1000, signer=lambda: signer)
    for number in range(CHUNK * 6):
        writer.append(record(receipt=f"r-{number}"))
    writer.close()
    assert len([files for files in segments_in(tmp_path) if files.records.exists()]) == 2


@pytest.mark.heavy
def test_a_line_without_end_takes_no_memory(tmp_path):
    path = tmp_path / "segment.jsonl"
    with path.open("wb") as file:
        file.write(ENTRY)
        file.truncate(64 << 20)
    tracemalloc.start()
    leaves, size_bytes = read_leaves(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (len(leaves), size_bytes) == (1, len(ENTRY))
    assert peak < 8 << 20


def test_a_folder_that_may_not_be_read_is_no_empty_folder(tmp_path):
    (tmp_path / "audit").write_text("as one that may not be listed")
    with pytest.raises(OSError, match="Not a directory"):
        segments_in(tmp_path / "audit")


def test_tombstones_of_junk_are_told(tmp_path):
    (tmp_path / "chain").mkdir()
    (tmp_path / "chain" / "removed.jsonl").write_bytes(b'{"note": "junk"}\n')
    with pytest.raises(Exception, match="a text, an empty line"):
        read_tombstones(tmp_path)
