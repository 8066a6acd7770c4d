"""Logs and checkpoints that an attacker puts into the folder, so that an honest writer signs for them or speaks of them."""

import shutil

import pytest

from lifecycle.governance.verify.findings import FindingKind, RemarkKind, Report
from lifecycle.governance.verify.run import Verification
from serving.audit.checkpoint import Checkpoint
from serving.audit.durability.sealing import seal_abandoned
from serving.audit.keys.trust import Trust
from serving.audit.merkle import leaf_hash, root_of
from serving.audit.note_files import append_note
from serving.audit.segment_files import SegmentFiles, read_notes, segments_in
from serving.audit.segments import ChainedSegments
from serving.audit.signed_note import Signer, unsigned
from tests.fakes.audit.hostile_files import START_US

SECOND_US = 1_000_000


@pytest.fixture(scope="module")
def signer(tmp_path_factory) -> Signer:
    return Signer.create(tmp_path_factory.mktemp("key") / "audit.pem")


def judged(folder, signer) -> Report:
    return Verification(START_US + 20_000 * SECOND_US, lambda place: Trust.read(place, [signer.verifier])).verify(folder)


def writer(folder, name, signer, clock=None):
    times = iter(clock or range(START_US, START_US + 10_000))
    return ChainedSegments(folder, name, segment_bytes=1 << 20, signer=lambda: signer, now_us=lambda: next(times))


def line(number: int) -> bytes:
    return b'{"time_us": %d, "receipt": "r-%d"}\n' % (START_US + number * SECOND_US, number)


def planted(folder, name, records: int, *, note_of=None) -> SegmentFiles:
    """A segment that no writer wrote. note_of: makes its one checkpoint's note of the text; None: it has none."""
    folder.mkdir(parents=True, exist_ok=True)
    files = SegmentFiles.new(folder, START_US, name, 1)
    lines = [line(number) for number in range(records)]
    files.records.write_bytes(b"".join(lines))
    if note_of is not None:
        root = root_of([leaf_hash(one[:-1]) for one in lines])
        append_note(files.checkpoints, note_of(Checkpoint(name, 1, records, root, START_US, 0, None).text()))
    return files


def named(report: Report) -> list[tuple[str, str]]:
    return [(str(finding.kind), str(finding.place)) for finding in report.findings]


@pytest.mark.parametrize(
    "note_of",
    [
        pytest.param(None, id="without a checkpoint"),
        pytest.param(unsigned, id="with a checkpoint that nobody signed"),
    ],
)
def test_a_log_that_nobody_wrote_and_an_honest_writer_ended_is_a_finding(signer, tmp_path, note_of):
    planted(tmp_path, "ghost", 5, note_of=note_of)
    assert seal_abandoned(tmp_path, "honest", signer, START_US + 60 * SECOND_US)
    assert named(judged(tmp_path, signer)) == [("unsigned", "ghost, segment 1, line 1 to 5")]


def test_a_segment_planted_behind_those_of_a_killed_writer_is_a_finding(signer, tmp_path):
    log = writer(tmp_path, "dead", signer)
    log.append([line(1)])
    log.checkpoint()
    log.leave_open()
    files = SegmentFiles.new(tmp_path, START_US + 5, "dead", 2)
    files.records.write_bytes(line(2))
    seal_abandoned(tmp_path, "honest", signer, START_US + 60 * SECOND_US)
    assert named(judged(tmp_path, signer)) == [("unsigned", "dead, segment 2, line 1")]


def test_an_honest_writer_killed_before_its_first_second_is_remarked_and_no_finding(signer, tmp_path):
    log = writer(tmp_path, "short", signer)
    log.append([line(1), line(2)])
    log.leave_open()
    seal_abandoned(tmp_path, "next", signer, START_US + 60 * SECOND_US)
    report = judged(tmp_path, signer)
    assert report.findings == ()
    assert [(r.kind, str(r.place)) for r in report.remarks] == [(RemarkKind.SEALED, "short, segment 1, line 1 to 2")]


def test_minutes_of_records_under_checkpoints_that_nobody_signed_are_a_finding_though_another_writer_ended_them(
    signer, tmp_path
):
    """The dead writer's own checkpoints end; what follows is covered by forged ones, so that no gap of time shows."""
    log = writer(tmp_path, "dead", signer)
    log.append([line(0)])
    log.checkpoint()
    log.leave_open()
    (files,) = segments_in(tmp_path)
    lines = [line(number) for number in range(100)]
    for number in range(1, 100):
        files.records.open("ab").write(lines[number])
        root = root_of([leaf_hash(one[:-1]) for one in lines[: number + 1]])
        forged = Checkpoint("dead", 1, number + 1, root, START_US + number * SECOND_US, 0, None)
        append_note(files.checkpoints, unsigned(forged.text()))
    assert seal_abandoned(tmp_path, "honest", signer, START_US + 200 * SECOND_US)
    report = judged(tmp_path, signer)
    assert named(report) == [("unsigned", "dead, segment 1, line 2 to 100")]
    assert "98 s" in report.findings[0].what


@pytest.mark.parametrize("is_foreign", [pytest.param(False, id="unsigned"), pytest.param(True, id="signed by a foreign key")])
def test_a_checkpoint_put_there_and_taken_away_again_makes_no_honest_writer_speak_of_it(signer, tmp_path, is_foreign):
    foreign = Signer.create(tmp_path / "foreign.pem")
    folder = tmp_path / "log"
    files = planted(folder, "ghost", 3, note_of=foreign.sign if is_foreign else unsigned)
    honest = writer(folder, "honest", signer)
    honest.append([line(1)])
    honest.end()
    files.records.unlink()
    files.checkpoints.unlink()
    assert named(judged(folder, signer)) == []


def test_a_log_of_a_known_key_is_still_spoken_of(signer, tmp_path):
    one, two = writer(tmp_path, "one", signer), writer(tmp_path, "two", signer)
    one.append([line(1)])
    one.end()
    two.append([line(2)])
    two.end()
    for path in [*tmp_path.glob("*-one-*"), *tmp_path.glob("chain/*-one-*")]:
        path.unlink()
    assert named(judged(tmp_path, signer)) == [("replica missing", "one, segment 1")]


def test_the_first_checkpoint_is_there_before_the_first_record(signer, tmp_path):
    log = writer(tmp_path, "one", signer)
    log.append([line(1)])
    (files,) = segments_in(tmp_path)
    (note,) = read_notes(files.checkpoints)
    assert Checkpoint.parse(note.partition("\n\n")[0] + "\n").size == 0
    assert judged(tmp_path, signer).findings == ()
    shutil.rmtree(tmp_path / "chain")
    log.leave_open()
    assert seal_abandoned(tmp_path, "next", signer, START_US + SECOND_US)
    assert [f.kind for f in judged(tmp_path, signer).findings] == [FindingKind.UNSIGNED]
