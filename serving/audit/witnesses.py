"""Checkpoints name the newest checkpoints of other logs, so that removing or rolling back one log contradicts another.

The first and the final checkpoint of a segment name all other logs. At intervals, one between them names the logs that have grown. Each
start of a replica leaves a log, so a folder may hold many. Only the logs with the newest checkpoints are named. Earlier checkpoints
named the others. Checkpoints signed by unknown keys are not named. Otherwise anybody with write access could forge a missing log: add a
log, wait until a signed checkpoint names it, and remove it."""

import logging
import os
from collections.abc import Callable
from heapq import nlargest
from pathlib import Path
from typing import Final

from serving.audit.checkpoint import Checkpoint, Witness
from serving.audit.segment_files import SegmentFiles, newest_note
from serving.audit.signed_note import NoteError, text_of

log = logging.getLogger(__name__)

MOST_WITNESSED: Final = 64
"""Other logs of the folder that a checkpoint speaks of, those that changed last."""
WITNESS_EVERY_US: Final = 60_000_000
"""Time between two looks at the other logs, within a segment; microseconds."""


def newest_of_others(folder: Path, name: str, is_known: Callable[[str], bool] = lambda note: True) -> tuple[Witness, ...]:
    """What the other logs of the folder say of themselves now, oldest first. is_known: whether a checkpoint's note may be spoken of.

    It reads the names and times of all files of checkpoints, and the ends of MOST_WITNESSED of them."""
    found = []
    for files in _changed_last(folder, name):
        try:
            note = newest_note(files)
            checkpoint = Checkpoint.parse(text_of(note)) if note is not None and is_known(note) else None
        except (NoteError, OSError) as error:
            log.warning("a checkpoint of another log cannot be read: %s", error)
            continue
        if checkpoint is not None:
            found.append((checkpoint.time_us, Witness(files.log, checkpoint.segment, checkpoint.size, checkpoint.root)))
    return tuple(witness for _, witness in sorted(found, key=lambda pair: (pair[0], pair[1].log)))


def _changed_last(folder: Path, name: str) -> list[SegmentFiles]:
    """The newest segment of each other log, of those MOST_WITNESSED whose checkpoints changed last."""
    newest: dict[str, tuple[int, SegmentFiles, int]] = {}
    try:
        with os.scandir(folder / "chain") as entries:
            for entry in entries:
                stem, _, suffix = entry.name.rpartition(".")
                if suffix != "checkpoints":
                    continue
                try:
                    files = SegmentFiles.of(folder, stem)
                    changed_ns = entry.stat().st_mtime_ns
                except (ValueError, OSError):
                    continue  # not ours, or gone
                before = newest.get(files.log)
                if files.log != name and (before is None or before[0] < files.number):
                    newest[files.log] = (files.number, files, changed_ns)
    except FileNotFoundError:
        return []
    return [files for _, files, _ in nlargest(MOST_WITNESSED, newest.values(), key=lambda one: one[2])]
