"""A log of a store that several processes append to: the governed acts, the labels. Each holds the log's lock while it writes.

What a line means is for the room that writes it. The chain itself is in serving.audit.segments."""

import errno
import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from serving.audit.checkpoint import Witness
from serving.audit.segments import ChainedSegments
from serving.audit.signed_note import Signer
from serving.audit.witnesses import newest_of_others


class SharedLog:
    """One chained log in `FOLDER/segment-*.jsonl`.

    beside: folders of the store's other logs; its checkpoints witness theirs. signer: gives the key of its checkpoints; None leaves them
    unsigned. knows: whether a key of this store signed another log's checkpoint; only such are witnessed. now_us: the clock, microseconds
    since the epoch, UTC."""

    def __init__(
        self,
        folder: Path,
        name: str,
        *,
        segment_bytes: int,
        beside: Sequence[str],
        signer: Callable[[], Signer | None],
        knows: Callable[[str], bool],
        now_us: Callable[[], int],
    ) -> None:
        self.folder, self._name, self._segment_bytes = folder, name, segment_bytes
        self._beside, self._signer, self._knows, self._now_us = beside, signer, knows, now_us

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other writers out until the block ends. Raises OSError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        fd = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def append(self, lines: Sequence[bytes]) -> str:
        """Append lines, which end in a newline, and sync them with a checkpoint over them; the checkpoint's note. Hold the lock.

        Without lines, what an earlier writer did not sync is synced; the note is then empty if nothing was left to do. Raises OSError if
        the lines cannot be stored, NoteError if the log does not match its last checkpoint."""
        chain = ChainedSegments(
            self.folder,
            self._name,
            segment_bytes=self._segment_bytes,
            signer=self._signer,
            now_us=self._now_us,
            beside=self._witnesses,
        )
        try:
            chain.resume()
            if lines:
                chain.append(lines)
            note = chain.checkpoint()
            if note is None and lines:
                raise FileNotFoundError(errno.ENOENT, "the log was removed while it was written", str(self.folder))
            return note or ""
        finally:
            chain.leave_open()

    def _witnesses(self) -> tuple[Witness, ...]:
        store = self.folder.parent
        return tuple(one for name in self._beside for one in newest_of_others(store / name, self._name, self._knows))
