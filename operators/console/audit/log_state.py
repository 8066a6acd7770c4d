"""The state of the logs: the last checkpoint of each, who signed it, the anchors, and the last verification that was run from here."""

import logging
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from lifecycle.governance.archive.place import ArchiveError
from lifecycle.governance.archive.verifying import verify_with_archive
from lifecycle.governance.verify.missing import FOLDERS, beside, with_missing
from lifecycle.governance.verify.run import Verification, VerifyState
from operators.console.log_index.store_index import StoreIndex
from serving.audit.checkpoint import Checkpoint
from serving.audit.keys.trust import Trust, read_pinned, read_revoked, trusted_folder
from serving.audit.segment_files import SegmentFiles, newest_note, segments_in
from serving.audit.signed_note import NoteError, text_of

RESULT: Final = "last-verification.json"
_STATE: Final = "verify-state.json"
_MOST_FINDINGS: Final = 20
_MOST_LOGS: Final = 50
_log = logging.getLogger("vedette.console")


@dataclass(frozen=True, slots=True)
class LogCheckpoint:
    """The newest checkpoint of one log. folder: audit, governance or labels. signers: names of trusted keys; empty: nobody who is trusted.
    problem: why it cannot be read; empty if it can."""

    folder: str
    log: str
    segment: int
    size: int
    time_us: int
    is_final: bool
    signers: tuple[str, ...]
    problem: str = ""


def newest_checkpoints(store: Path) -> list[LogCheckpoint]:
    """Of each log of the store, those that changed last first; MOST_LOGS at most."""
    found: list[LogCheckpoint] = []
    for name in FOLDERS:
        folder = store / name
        if not folder.is_dir():
            continue
        newest: dict[str, SegmentFiles] = {files.log: files for files in segments_in(folder) if files.checkpoints.exists()}
        try:
            trust = Trust.of_store(store, folder)
        except (NoteError, OSError):
            trust = Trust.build((), ())
        found += [_checkpoint(name, files, trust) for files in newest.values()]
    return sorted(found, key=lambda one: -one.time_us)[:_MOST_LOGS]


def _checkpoint(folder: str, files: SegmentFiles, trust: Trust) -> LogCheckpoint:
    try:
        note = newest_note(files)
        if note is None:
            return LogCheckpoint(folder, files.log, files.number, 0, 0, False, (), "it has no checkpoint")
        one = Checkpoint.parse(text_of(note))
        signers = tuple(key.name for key in trust.signers(note))
        return LogCheckpoint(folder, files.log, files.number, one.size, one.time_us, one.is_final, signers)
    except (NoteError, OSError) as problem:
        return LogCheckpoint(folder, files.log, files.number, 0, 0, False, (), str(problem))


class LastVerification(msgspec.Struct, frozen=True, kw_only=True):
    """What a run found. at_us: when it began, microseconds since the epoch. findings: the first ones, in words. found: how many there are.
    problem: why it could not be done; empty if it could."""

    at_us: int
    by: str
    is_sound: bool = False
    records: int = 0
    findings: list[str] = []
    found: int = 0
    problem: str = ""


class StoreVerification:
    """Verifies the logs of a store, in a thread of its own, one run at a time. What an earlier run found right is not hashed again; a full
    run is `vedette audit verify`. is_off: whether no answer is recorded, by the settings."""

    def __init__(self, index: StoreIndex, folder: Path, *, is_off: bool) -> None:
        self._index, self._folder, self._is_off = index, folder, is_off
        self._running = threading.Lock()

    @property
    def is_running(self) -> bool:
        """Whether a run goes on."""
        return self._running.locked()

    def start(self, by: str) -> bool:
        """Begin a run; False if one goes on."""
        if not self._running.acquire(blocking=False):
            return False
        threading.Thread(target=self._run, args=(by,), name="vedette-verify", daemon=True).start()
        return True

    def last(self) -> LastVerification | None:
        """What the last run found; None if there was none."""
        try:
            return msgspec.json.decode((self._folder / RESULT).read_bytes(), type=LastVerification)
        except (OSError, ValueError):
            return None

    def _run(self, by: str) -> None:
        try:
            self._keep(self._verified(by))
        except OSError as problem:
            _log.warning("the result of a verification cannot be kept: %s", problem)
        finally:
            self._running.release()

    def _verified(self, by: str) -> LastVerification:
        now_us, store, state_file = time.time_ns() // 1000, self._index.store, self._folder / _STATE
        try:
            trusted = trusted_folder(store)
            pinned, revoked = read_pinned(trusted), read_revoked(trusted)
            run = Verification(now_us, lambda log: Trust.read(log, pinned, revoked), beside=beside)
            run.state, run.keep = VerifyState.read(state_file), lambda state: state.write(state_file)
            folders = [store / name for name in FOLDERS]  # there or not: one that is gone is a finding
            reports = with_missing(verify_with_archive(run, folders, self._index.archive()), store, is_off=self._is_off)
        except (NoteError, ArchiveError, OSError, ValueError) as problem:
            return LastVerification(at_us=now_us, by=by, problem=str(problem))
        except Exception:
            _log.exception("the verification failed")
            return LastVerification(at_us=now_us, by=by, problem="the console failed at it; its log says why")
        findings = [f"{f.kind}: {f.place}: {f.what}" for report in reports for f in report.findings]
        return LastVerification(
            at_us=now_us,
            by=by,
            is_sound=not findings,
            records=sum(log.records for report in reports for log in report.logs),
            findings=findings[:_MOST_FINDINGS],
            found=len(findings),
        )

    def _keep(self, result: LastVerification) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = self._folder / f".{RESULT}.{os.getpid()}"
        draft.write_bytes(msgspec.json.encode(result))
        draft.replace(self._folder / RESULT)
