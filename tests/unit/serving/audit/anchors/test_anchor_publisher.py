"""Publishing in the background: nobody waits, an anchor that is down costs nothing and gets the newest once it is back."""

import shutil

import pytest

from serving.audit.anchors import backlog
from serving.audit.anchors.folder import FolderAnchor
from serving.audit.anchors.publisher import AnchorPublisher, offer_to
from serving.audit.checkpoint import Checkpoint, Witness
from serving.audit.health import AuditHealth
from serving.audit.keys.keyring import Keyring, ensure_key
from serving.audit.segments import ChainedSegments
from serving.audit.signed_note import Signer, text_of
from serving.audit.writer import SegmentWriter
from tests.fakes.serving.records import record
from tests.waiting import until


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "elsewhere"


@pytest.fixture
def publish(folder):
    opened = []

    def make(**options):
        opened.append(AnchorPublisher(FolderAnchor(folder), **{"every_s": 60.0, **options}))
        return opened[-1]

    yield make
    for publisher in opened:
        publisher.close()


@pytest.fixture
def signer(tmp_path):
    return Signer.create(tmp_path / "audit.pem")


@pytest.fixture
def note(signer):
    def make(log="one", size=1, *, is_final=False, at_us=None, by=None):
        time_us = 1_700_000_000_000_000 + (size if at_us is None else at_us)
        return (by or signer).sign(Checkpoint(log, 1, size, bytes(32), time_us, 0, None, is_final).text())

    return make


def kept(folder):
    return list(FolderAnchor(folder).read())


def test_an_anchor_that_is_down_gets_the_newest_once_it_is_back(folder, publish, note, monkeypatch, caplog):
    monkeypatch.setattr(backlog, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(backlog, "LONGEST_PAUSE_S", 0.01)
    folder.write_text("in the way")
    publisher = publish()
    health = AuditHealth(Keyring(folder), [publisher])
    for size in (1, 2, 3):
        publisher.offer(note(size=size))
    until(lambda: publisher.counts[1] >= 3)
    assert publisher.lag_s() > 0
    assert "not anchored" in health.problems()[-1]
    folder.unlink()
    until(lambda: publisher.counts[0] == 1)
    until(lambda: publisher.problem == "")
    assert kept(folder) == [note(size=3)]
    assert publisher.lag_s() == 0
    assert [r.levelname for r in caplog.records] == ["ERROR", "WARNING"], "said once, and once more when it is over"


def test_the_last_checkpoint_is_published_at_the_end(folder, publish, note):
    publisher = publish()
    publisher.offer(note(size=1))
    until(lambda: publisher.counts[0] == 1)
    publisher.offer(note(size=2))
    publisher.close()
    publisher.close()
    assert kept(folder) == [note(size=1), note(size=2)]


def test_an_anchor_that_never_answers_holds_up_no_record_and_no_end(tmp_path, folder, publish):
    folder.write_text("in the way")
    publisher = publish()
    writer = SegmentWriter(tmp_path / "audit", segment_bytes=1, segments=0, queue=100, tell=offer_to([publisher]))
    for number in range(50):
        writer.append(record(receipt=str(number)))
    writer.close()
    publisher.close()
    assert (writer.written, writer.dropped) == (50, 0)


def test_each_segment_that_ends_is_covered_by_what_is_anchored(tmp_path, folder, publish):
    publisher = publish()
    writer = SegmentWriter(tmp_path / "audit", segment_bytes=1, segments=0, queue=100, tell=offer_to([publisher]))
    for number in range(50):
        writer.append(record(receipt=str(number)))
    writer.close()
    publisher.close()
    last = Checkpoint.parse(text_of(kept(folder)[-1]))
    assert (last.before + last.size, last.is_final) == (50, True)


def test_acts_that_other_processes_record_are_anchored_too(tmp_path, folder, publish, signer):
    acts = ChainedSegments(tmp_path / "acts", "governance", segment_bytes=1 << 20, signer=lambda: signer, now_us=lambda: 5)
    notes = []
    publisher = publish(every_s=0.01, also=lambda: notes)
    acts.append([b"{}\n"])
    notes.append(acts.checkpoint())
    until(lambda: publisher.counts[0] == 1)
    assert kept(folder) == notes


def test_a_rolled_back_anchor_is_told_and_nothing_ends(folder, publish, note):
    publisher = publish(every_s=0.01, look_every_s=0.0)
    publisher.offer(note(size=1))
    until(lambda: publisher.counts[0] == 1)
    shutil.copytree(folder, folder.with_name("copy"))
    publisher.offer(note(size=2))
    until(lambda: publisher.counts[0] == 2)
    shutil.rmtree(folder)
    shutil.copytree(folder.with_name("copy"), folder)
    newest = note("two", size=1, at_us=1)
    publisher.offer(newest)  # an older time: it does not hide what is missing
    until(lambda: "rolled back" in publisher.problem)
    assert newest in kept(folder)


def test_a_clock_set_back_between_checkpoints_is_no_rolled_back_anchor(folder, publish, note):
    hour_us = 3_600_000_000
    publisher = publish(every_s=0.01, look_every_s=0.0)
    for size, hour in ((1, 9), (2, 4), (3, 5)):
        publisher.offer(note(size=size, at_us=hour * hour_us))
        until(lambda size=size: publisher.counts[0] == size)
    publisher.close()
    assert publisher.problem == ""
    assert set(kept(folder)) == {note(size=size, at_us=hour * hour_us) for size, hour in ((1, 9), (2, 4), (3, 5))}


def test_what_other_replicas_anchored_is_there_to_be_witnessed_if_a_trusted_key_signed_it(tmp_path, folder, publish, note):
    ensure_key(tmp_path)
    keyring = Keyring.of(tmp_path, None, None)
    signer = keyring.signer()
    for one in (note("forged", size=3), note("other", size=7, by=signer)):
        FolderAnchor(folder).publish(one)
    publisher = publish(is_trusted=keyring.has_signed)
    publisher.offer(note("ours", size=9))
    until(lambda: publisher.others != ())
    assert publisher.others == (Witness("other", 1, 7, bytes(32)),)
