"""Alerts that a destination refused for good: lines of JSON in a file, with the reason. There are two files at most. When the first is
full it becomes `NAME.1.jsonl`, and the former one of that name is removed and counted."""

import logging
import os
from pathlib import Path
from typing import Final

from serving.files.folder_sync import sync_folder
from serving.sinks.errors import SpoolError
from serving.sinks.spool.segments import make_durable
from serving.sinks.text import clean, encode_json, rfc3339

_log = logging.getLogger("vedette.sinks")
MOST_BYTES: Final = 64 * 1024 * 1024


class DeadLetters:
    """The dead letters of one sink. most_bytes: bound of both files together."""

    def __init__(self, folder: Path, name: str, most_bytes: int = MOST_BYTES) -> None:
        self.path = folder / f"{name}.jsonl"
        self._before = folder / f"{name}.1.jsonl"
        self._most_bytes = most_bytes // 2
        self.kept = 0
        """Letters that were written since the start."""
        self.removed = 0
        """Letters that were removed since then, to make room for others."""

    def put(self, value: bytes, reason: str, now_us: int, record: str = "") -> None:
        """Keep one letter, durably. value: JSON, or what was to be JSON. record: where it stood. Raises SpoolError."""
        letter = {
            "time": rfc3339(now_us),
            "reason": clean(reason, 2000),
            **({"record": record} if record else {}),
            "alert": value.decode("utf-8", "replace"),
        }
        line = encode_json(letter) + b"\n"
        try:
            make_durable(self.path.parent)
            is_new = not self.path.exists()
            if not is_new and self.path.stat().st_size + len(line) > self._most_bytes:
                if self._before.exists():
                    gone = self._before.read_bytes().count(b"\n")
                    self.removed += gone
                    _log.error("%s: %d dead letters were removed to make room", self._before, gone)
                self.path.replace(self._before)
                is_new = True
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                os.write(descriptor, line)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            if is_new:
                sync_folder(self.path.parent)
        except OSError as problem:
            raise SpoolError(f"{self.path}: a dead letter cannot be kept: {problem}") from problem
        self.kept += 1
