"""A writer that is killed between any two file operations: after the next one has sealed what it left, the logs are sound and whole."""

import os
from contextlib import suppress

import pytest

from lifecycle.governance.verify.run import Verification
from serving.audit.durability.sealing import seal_abandoned
from serving.audit.keys.trust import Trust
from serving.audit.segment_files import read_entries, segments_in
from serving.audit.segments import ChainedSegments
from serving.audit.signed_note import Signer
from serving.audit.tombstones import remove_segment
from tests.fakes.audit.hostile_files import START_US

CALLS = ("open", "write", "fsync", "fdatasync", "ftruncate", "unlink")


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture(scope="module")
def signer(tmp_path_factory) -> Signer:
    return Signer.create(tmp_path_factory.mktemp("key") / "audit.pem")


def live(folder, signer, clock, synced: list[bytes]) -> None:
    """A life of a writer: two segments, the first of which is removed; `synced` are the lines that were acknowledged."""
    chain = ChainedSegments(folder, "short", segment_bytes=60, signer=lambda: signer, now_us=lambda: next(clock))
    for number in range(3):
        line = b'{"time_us": %d, "receipt": "r-%d"}\n' % (START_US, number)
        chain.append([line])
        if chain.sync():
            synced.append(line[:-1])
        chain.checkpoint()
    chain.end()
    files = segments_in(folder)[0]
    synced[:] = [line for line in synced if line not in set(read_entries(files.records))]
    remove_segment(files, signer, now_us=next(clock), reason="past retention", by="retention")


def killed_at(point: int, folder, signer, monkeypatch) -> tuple[bool, list[bytes]]:
    """Whether the life ended before, and what it had acknowledged."""
    opens, opened, left, synced, clock = os.open, list[int](), [point], [], iter(range(START_US, START_US + 1000))

    def counted(real):
        def call(*args, **options):
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            done = real(*args, **options)
            if real is opens:
                opened.append(done)
            return done

        return call

    with monkeypatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, counted(getattr(os, name)))
        with suppress(Killed):
            live(folder, signer, clock, synced)
    for fd in opened:  # as the kernel does for a process that ended
        with suppress(OSError):
            os.close(fd)
    return left[0] >= 0, synced


@pytest.mark.heavy
def test_a_writer_killed_at_any_point_leaves_logs_that_are_sound_and_whole(signer, tmp_path, monkeypatch):
    point, has_ended = 0, False
    while not has_ended:
        folder = tmp_path / str(point)
        folder.mkdir()
        has_ended, synced = killed_at(point, folder, signer, monkeypatch)
        seal_abandoned(folder, "next", signer, START_US + 2000)
        report = Verification(START_US + 3000, lambda place: Trust.read(place, [signer.verifier])).verify(folder)
        assert not report.findings, (point, report.findings)
        kept = [entry for files in segments_in(folder) if files.records.exists() for entry in read_entries(files.records)]
        assert set(synced) <= set(kept), point
        assert all(figures.unprotected == 0 for figures in report.logs), point
        point += 1
    assert point > 30
