"""Logs of many shapes that nobody attacked give no finding: restarts, kills, torn lines, rotations, retention, clocks, in any order."""

import itertools
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.governance.verify.run import Verification
from serving.audit.durability.sealing import seal_abandoned
from serving.audit.keys.trust import KeyNote, Trust
from serving.audit.note_files import append_note
from serving.audit.segment_files import segments_in
from serving.audit.segments import ChainedSegments
from serving.audit.signed_note import Signer
from serving.audit.tombstones import remove_segment
from tests.fakes.audit.honest_logs import record_line
from tests.laws import examples

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 2), st.integers(1, 5)),
        st.tuples(st.sampled_from(["checkpoint", "end", "kill", "tear", "remove", "resume"]), st.integers(0, 2), st.just(0)),
        st.tuples(st.sampled_from(["rotate", "seal", "clock back"]), st.just(0), st.just(0)),
    ),
    max_size=40,
)


@dataclass
class Installation:
    """Three replicas in one folder, and what may happen to them."""

    folder: Path
    keys: list[Signer]
    clock: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1_760_000_000_000_000, 1000))
    logs: dict[int, ChainedSegments] = field(default_factory=dict)
    lives: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))
    back_us: int = 0
    anchored: list[tuple[str, str]] = field(default_factory=list)

    def now_us(self) -> int:
        return next(self.clock) - self.back_us

    def log(self, replica: int) -> ChainedSegments:
        """The replica's log; it starts where it does not run, and ends what others left open."""
        if replica not in self.logs:
            name = f"replica-{replica}-{next(self.lives)}"
            seal_abandoned(self.folder, name, self.keys[-1], self.now_us())
            self.logs[replica] = ChainedSegments(
                self.folder, name, segment_bytes=3000, signer=lambda: self.keys[-1], now_us=self.now_us
            )
        return self.logs[replica]

    def do(self, what: str, replica: int, count: int) -> None:
        if what == "append":
            self.log(replica).append([record_line(str(replica), self.now_us(), size=300) for _ in range(count)])
        elif what in ("checkpoint", "end"):
            note = getattr(self.log(replica), what)()
            self.anchored += [("depot", note)] if note else []
        elif what in ("kill", "tear"):
            self._kill(replica, is_torn=what == "tear")
        elif what == "resume" and replica in self.logs:
            log = self.logs[replica]
            log.leave_open()
            log.resume()
        elif what == "remove":
            for files in segments_in(self.folder)[:1]:
                remove_segment(files, self.keys[-1], now_us=self.now_us(), reason="past retention", by="retention")
        elif what == "rotate":
            new = Signer.create(self.folder.parent / f"key-{len(self.keys)}.pem")
            note = KeyNote(new.verifier, self.keys[-1].verifier, self.now_us()).text()
            append_note(self.folder / "chain" / "keys.jsonl", self.keys[-1].sign(note))
            self.keys.append(new)
        elif what == "seal":
            seal_abandoned(self.folder, "janitor", self.keys[-1], self.now_us())
        elif what == "clock back":
            self.back_us += 50_000

    def _kill(self, replica: int, *, is_torn: bool) -> None:
        log = self.logs.pop(replica, None)
        if log is None or log._segment is None:
            return
        records = log._segment.files.records
        log.leave_open()  # what the end of the process does: files are closed, nothing is written
        if is_torn:
            with records.open("ab") as file:
                file.write(b'{"receipt":"half')


@pytest.mark.heavy
@examples(120)
@given(STEPS)
def test_honest_logs_of_many_shapes_give_no_finding(steps):
    scratch = Path(tempfile.mkdtemp(prefix="honest-"))
    try:
        place = Installation(scratch / "log", [Signer.create(scratch / "key-0.pem")])
        place.folder.mkdir()
        pinned = [place.keys[0].verifier]
        for step in steps:
            place.do(*step)
        report = Verification(next(place.clock), lambda folder: Trust.read(folder, pinned), anchored=place.anchored).verify(
            place.folder
        )
        assert [(f.kind, str(f.place), f.what) for f in report.findings] == []
    finally:
        shutil.rmtree(scratch)
