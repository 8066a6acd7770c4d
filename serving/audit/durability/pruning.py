"""Removes the oldest segments beyond the kept number, in a thread of its own. Each segment is read as a whole before it is removed.

A segment that is not what its final checkpoint says stays, is logged, and is found by `vedette audit verify`. What a legal hold needs, and
what a living writer has open, stays too. Policies by time are lifecycle.governance.archive.retention's."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from serving.audit.holds import is_held
from serving.audit.segment_files import has_ended, segments_with_records
from serving.audit.signed_note import NoteError, Signer
from serving.audit.tombstones import remove_segment

log = logging.getLogger(__name__)

PAUSE_S: Final = 0.001
"""After each mebibyte that is hashed: the interpreter is the answers' meanwhile."""


class SegmentPruner:
    """keep: segments of the folder, of all writers; 0 keeps all. seal: ends the segments of killed writers, so that they can go too."""

    def __init__(
        self,
        folder: Path,
        keep: int,
        *,
        signer: Callable[[], Signer | None],
        now_us: Callable[[], int],
        seal: Callable[[], None],
    ) -> None:
        self._folder, self._keep, self._signer, self._now_us, self._seal = folder, keep, signer, now_us, seal
        self._is_due = threading.Event()
        self._thread: threading.Thread | None = None

    def ask(self) -> None:
        """Remove what is too many, soon; from the thread of the writer."""
        if not self._keep:
            return
        self._is_due.set()
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="audit-prune", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """End what was asked for."""
        if self._thread is not None:
            self._thread.join()
        self._run()

    def _run(self) -> None:
        while self._is_due.is_set():
            self._is_due.clear()
            self._prune()

    def _prune(self) -> None:
        if is_held(self._folder):
            return
        reason = f"past retention: the newest {self._keep} segments are kept"
        has_sealed = False
        try:
            past = segments_with_records(self._folder)[: -self._keep]
        except OSError as error:
            log.warning("segments past their retention in %s could not be removed: %s", self._folder, error)
            return
        for files in past:
            try:
                if not has_sealed and not has_ended(files):
                    self._seal()
                    has_sealed = True
                remove_segment(
                    files,
                    self._signer(),
                    now_us=self._now_us(),
                    reason=reason,
                    by="retention",
                    pause=lambda: time.sleep(PAUSE_S),
                )
            except (OSError, NoteError) as error:
                log.warning("%s is past its retention and could not be removed: %s", files.records, error)
