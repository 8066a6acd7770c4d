"""What verification remarks without accusing anybody, and the log of governed acts under attack."""

import itertools

import pytest

from lifecycle.governance.acts import Act, ActsLog
from lifecycle.governance.verify.findings import FindingKind, RemarkKind
from lifecycle.governance.verify.run import Verification
from serving.audit.keys.trust import Trust
from serving.audit.segment_files import segments_in
from serving.audit.segments import ChainedSegments
from serving.audit.signed_note import Signer
from tests.fakes.audit.honest_logs import record_line


@pytest.fixture
def signer(tmp_path):
    return Signer.create(tmp_path / "audit.pem")


def verified(folder, signer, **more):
    return Verification(2_000_000_000_000_000, lambda log: Trust.read(log, [signer.verifier]), **more).verify(folder)


def log_in(folder, key, clock):
    return ChainedSegments(folder, "one", segment_bytes=1 << 20, signer=key, now_us=lambda: next(clock))


def test_checkpoints_without_a_key_are_covered_by_a_later_signed_one(tmp_path, signer):
    keys = iter([None, None, None, signer])  # a segment has a checkpoint before its first record too
    log = log_in(tmp_path / "log", lambda: next(keys), itertools.count(1_760_000_000_000_000))
    for number in range(2):
        log.append([record_line("one", number)])
        log.checkpoint()
    log.end()
    report = verified(tmp_path / "log", signer)
    assert report.findings == ()
    assert [remark.kind for remark in report.remarks] == [RemarkKind.UNSIGNED]
    assert report.logs[0].protected == 2


def test_a_signed_checkpoint_of_the_next_segment_covers_an_unsigned_end(tmp_path, signer):
    keys = iter([None, None, None, signer])
    log = log_in(tmp_path / "log", lambda: next(keys), itertools.count(1_760_000_000_000_000))
    for number in range(2):
        log.append([record_line("one", number)])
        log.end()
    report = verified(tmp_path / "log", signer)
    assert report.findings == ()
    assert report.logs[0].protected == 2


def test_records_whose_checkpoints_nobody_signed_are_a_finding_unless_that_is_allowed(tmp_path, signer):
    log = log_in(tmp_path / "log", lambda: None, itertools.count(1_760_000_000_000_000))
    log.append([record_line("one", 1)])
    log.end()
    (finding,) = verified(tmp_path / "log", signer).findings
    assert (finding.kind, finding.place.line) == (FindingKind.UNSIGNED, 1)
    assert verified(tmp_path / "log", signer, must_sign=False).findings == ()


def test_a_checkpoint_from_the_future_is_remarked(tmp_path, signer):
    log = log_in(tmp_path / "log", lambda: signer, itertools.count(3_000_000_000_000_000))
    log.append([record_line("one", 1)])
    log.end()
    report = verified(tmp_path / "log", signer)
    assert report.findings == ()
    assert [(remark.kind, remark.place.line) for remark in report.remarks] == [(RemarkKind.CLOCK, 1), (RemarkKind.CLOCK, 2)]
    assert all("in the future" in remark.what for remark in report.remarks), "of the opening checkpoint and of the last"


def test_records_that_waited_too_long_for_a_checkpoint_had_one(tmp_path, signer):
    """Somebody removed the checkpoints of a log that nobody witnessed: a writer makes one each second."""
    log = log_in(tmp_path / "log", lambda: signer, itertools.count(1_760_000_000_000_000))
    for minute in range(3):
        log.append([record_line("one", 1_760_000_000_000_000 + minute * 60_000_000)])
        log.checkpoint()
    log.leave_open()
    (files,) = segments_in(tmp_path / "log")
    files.checkpoints.unlink()
    (finding,) = verified(tmp_path / "log", signer).findings
    assert finding.kind is FindingKind.CHECKPOINT_FILE_MISSING


@pytest.fixture
def acts(tmp_path, signer):
    log = ActsLog(tmp_path / "governance", signer=lambda: signer, now_us=itertools.count(1_760_000_000_000_000).__next__)
    for number in range(5):
        act = Act(time_us=number, actor="ada", action="rollout.promote", subject=f"modelservice/soc/m{number}", reason="r")
        log.record(act)
    return log.folder


def lines_of(folder):
    (files,) = segments_in(folder)
    return files, files.records.read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize(
    ("change", "kind", "line"),
    [
        pytest.param(lambda s: [*s[:2], s[2].replace(b"ada", b"eve"), *s[3:]], FindingKind.CHANGED, 3, id="another actor"),
        pytest.param(lambda s: [*s[:2], *s[3:]], FindingKind.REMOVED, 3, id="an act that never happened"),
        pytest.param(lambda s: s[:3], FindingKind.CUT_OFF, 4, id="the last acts forgotten"),
        pytest.param(lambda s: [s[1], s[0], *s[2:]], FindingKind.MOVED, 1, id="approved after it was promoted"),
    ],
)
def test_an_attack_on_the_acts_is_found(acts, signer, change, kind, line):
    assert verified(acts, signer).findings == ()
    files, lines = lines_of(acts)
    files.records.write_bytes(b"".join(change(lines)))
    first = verified(acts, signer).findings[0]
    assert (first.kind, first.place.line) == (kind, line)
