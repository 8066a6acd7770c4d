"""Verification of a folder to which somebody hostile wrote: it ends, it says what it found, and it accepts nothing."""

import shutil

import pytest

from lifecycle.governance.acts import Act, ActsLog
from lifecycle.governance.verify.findings import FindingKind, RemarkKind
from lifecycle.governance.verify.run import Verification
from serving.audit.durability.sealing import seal_abandoned
from serving.audit.keys.trust import Trust
from serving.audit.segment_files import SegmentFiles, segments_in
from serving.audit.segments import ChainedSegments
from serving.audit.signed_note import NoteError, Signer
from tests.fakes.audit.honest_logs import HonestLogs, write_honest_logs
from tests.fakes.audit.hostile_files import HOSTILE, START_US, HostileFile
from tests.open_files import open_below

pytestmark = pytest.mark.heavy

HONEST = {"alpha", "bravo", "charlie", "delta"}
SECOND_US = 1_000_000


@pytest.fixture(scope="module")
def logs(tmp_path_factory) -> HonestLogs:
    return write_honest_logs(tmp_path_factory.mktemp("honest") / "log", 300)


@pytest.fixture(scope="module")
def signer(tmp_path_factory) -> Signer:
    return Signer.create(tmp_path_factory.mktemp("key") / "audit.pem")


def verify(folder, logs):
    return Verification(logs.now_us, lambda place: Trust.read(place, logs.pinned)).verify(folder)


@pytest.mark.parametrize("hostile", [pytest.param(h, id=h.name) for h in HOSTILE])
def test_it_is_found_and_the_honest_logs_are_judged_as_before(hostile: HostileFile, logs, tmp_path):
    folder = shutil.copytree(logs.folder, tmp_path / "log")
    hostile.put(folder, "other")
    keys = folder / "chain" / "keys.jsonl"
    if not keys.is_file() or keys.read_bytes() != (logs.folder / "chain" / "keys.jsonl").read_bytes():
        keys.unlink()
        shutil.copy(logs.folder / "chain" / "keys.jsonl", keys)
        with keys.open("ab") as file:
            file.write(b'{"note": "x", "y": ' + b"[" * 100_000 + b"\n")
    report = verify(folder, logs)
    assert report.findings or report.remarks, "nothing was said"
    removed = {("bravo", 1), ("bravo", 2)}  # their tombstones were overwritten
    blamed = [f for f in report.findings if f.place.log in HONEST and (f.place.log, f.place.segment) not in removed]
    assert not blamed
    said = " ".join(f.what + str(f.place) for f in report.findings)
    assert "\x1b" not in said
    assert "\n" not in said


def test_a_folder_that_may_not_be_read_is_not_sound(logs, tmp_path):
    folder = shutil.copytree(logs.folder, tmp_path / "log")
    shutil.rmtree(folder / "chain")
    (folder / "chain").write_text("as one that may not be listed")
    with pytest.raises(OSError, match="Not a directory"):
        verify(folder, logs)


def test_a_number_that_leaps_ahead_is_one_finding(logs, tmp_path):
    folder = shutil.copytree(logs.folder, tmp_path / "log")
    last = next(f for f in reversed(segments_in(folder)) if f.log == "alpha")
    for path in (last.records, last.checkpoints, last.hashes):
        path.rename(path.with_name(path.name.replace("000004", "999999")))
    report = verify(folder, logs)
    missing = [f for f in report.findings if f.kind is FindingKind.SEGMENT_MISSING]
    assert [(f.place.log, f.place.segment) for f in missing] == [("alpha", 4)]
    assert "999998" in missing[0].what


def test_a_segment_of_number_zero_is_a_stray_file(logs, tmp_path):
    folder = shutil.copytree(logs.folder, tmp_path / "log")
    (folder / f"segment-{START_US}-alpha-000000.jsonl").write_bytes(b"{}\n")
    assert FindingKind.STRAY_FILE in {f.kind for f in verify(folder, logs).findings}


def abandoned(folder, signer, seconds: int) -> SegmentFiles:
    """A killed writer's segment: checkpoints each second, the records with their times."""
    clock = iter(range(START_US, START_US + 10_000 * SECOND_US, SECOND_US))
    chain = ChainedSegments(folder, "lost", segment_bytes=1 << 20, signer=lambda: signer, now_us=lambda: next(clock))
    for second in range(seconds):
        chain.append([b'{"time_us": %d, "receipt": "r-%d"}\n' % (START_US + second * SECOND_US, second)])
        chain.checkpoint()
    chain.leave_open()
    return segments_in(folder)[0]


def judged(folder, signer):
    return Verification(START_US + 20_000 * SECOND_US, lambda place: Trust.read(place, [signer.verifier])).verify(folder)


def test_records_rewritten_before_another_writer_seals_them_are_not_sound(signer, tmp_path):
    """The checkpoints of a killed writer are removed, its records changed, and an honest writer made to sign them."""
    files = abandoned(tmp_path, signer, 90)
    files.checkpoints.unlink()
    files.records.write_bytes(files.records.read_bytes().replace(b'"r-5"', b'"r-X"'))
    assert seal_abandoned(tmp_path, "sealer", signer, START_US + 100 * SECOND_US)
    report = judged(tmp_path, signer)
    assert FindingKind.CHECKPOINT_MISSING in {f.kind for f in report.findings}


def opened_only(files: SegmentFiles) -> None:
    """Leave a segment its first checkpoint, which is over no record."""
    files.checkpoints.write_bytes(files.checkpoints.read_bytes().splitlines(keepends=True)[0])


def test_what_only_another_writer_signed_is_remarked(signer, tmp_path):
    opened_only(abandoned(tmp_path, signer, 5))
    assert seal_abandoned(tmp_path, "sealer", signer, START_US + 10 * SECOND_US)
    report = judged(tmp_path, signer)
    assert report.findings == ()
    assert [(r.kind, str(r.place)) for r in report.remarks] == [(RemarkKind.SEALED, "lost, segment 1, line 1 to 5")]


def test_a_killed_writer_that_another_sealed_is_sound(signer, tmp_path):
    abandoned(tmp_path, signer, 90)
    assert seal_abandoned(tmp_path, "sealer", signer, START_US + 100 * SECOND_US)
    report = judged(tmp_path, signer)
    assert (report.findings, report.remarks) == ((), ())


ACT = Act(time_us=START_US, actor="ada", action="rollout.promote", subject="modelservice/a/b", reason="r")


@pytest.mark.parametrize("hostile", [pytest.param(h, id=h.name) for h in HOSTILE])
def test_an_act_is_recorded_whole_or_refused(hostile: HostileFile, signer, tmp_path):
    clock = iter(range(START_US + 1000, START_US + 2000))
    acts = ActsLog(tmp_path, signer=lambda: signer, now_us=lambda: next(clock))
    acts.record(ACT)
    hostile.put(tmp_path, "governance")
    before = open_below(tmp_path, "/dev/zero")
    try:
        for _ in range(3):
            acts.record(ACT)
        count = 4
    except (OSError, NoteError):  # refused, in words; anything else fails the test
        count = 1
    assert open_below(tmp_path, "/dev/zero") == before
    own = [files for files in segments_in(tmp_path) if files.checkpoints.is_file() and files.records.is_file()]
    assert sum(files.records.read_bytes().count(b"rollout.promote") for files in own) >= count


def test_an_act_whose_file_is_removed_meanwhile_is_not_recorded(signer, tmp_path):
    clock = iter(range(START_US, START_US + 1000))
    acts = ActsLog(tmp_path, signer=lambda: signer, now_us=lambda: next(clock))
    acts.record(ACT)
    (files,) = segments_in(tmp_path)
    times = iter(range(START_US + 1000, START_US + 2000))

    def a_moment_in_which_it_goes():
        files.records.unlink(missing_ok=True)
        return next(times)

    acts = ActsLog(tmp_path, signer=lambda: signer, now_us=a_moment_in_which_it_goes)
    hurried = ChainedSegments.append

    def append(self, lines):
        done = hurried(self, lines)
        files.records.unlink(missing_ok=True)
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ChainedSegments, "append", append)
        with pytest.raises(OSError, match="removed"):
            acts.record(ACT)


def test_acts_go_on_after_a_segment_that_could_not_be_ended(signer, tmp_path):
    """A disk that was full leaves a segment without its final checkpoint, and the log in the next one."""
    clock = iter(range(START_US, START_US + 1000))
    chain = ChainedSegments(tmp_path, "governance", segment_bytes=1, signer=lambda: signer, now_us=lambda: next(clock))
    chain.append([b'{"time_us": 1, "n": 1}\n'])
    chain.checkpoint()
    first = segments_in(tmp_path)[0]
    kept = first.checkpoints.read_bytes()
    chain.append([b'{"time_us": 1, "n": 2}\n'])
    first.checkpoints.write_bytes(kept)  # as if the final one found no room
    chain.leave_open()
    second = segments_in(tmp_path)[1]
    second.checkpoints.unlink(missing_ok=True)
    before = open_below(tmp_path, "/dev/zero")
    acts = ActsLog(tmp_path, signer=lambda: signer, now_us=lambda: next(clock))
    for _ in range(3):
        acts.record(ACT)
    assert open_below(tmp_path, "/dev/zero") == before
    assert judged(tmp_path, signer).findings == ()
