"""Finds the bundles that this machine names: in what is served, in service documents with their status, and in the prediction log with
its archive.

Reads only. Digests are searched as text, so documents of every version count."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from lifecycle.governance.archive.record_log import RecordLog
from lifecycle.governance.registry.errors import RegistryError

_DIGEST: Final = re.compile(rb"sha256:[0-9a-f]{64}")
_FOLDERS: Final = ("served*.json", "control/**/*")


class UnreadableRecord(RegistryError):
    """A line of a log is not a record, so the version that answered is unknown."""


class _Answered(msgspec.Struct):
    model: str
    version: str
    time_us: int


def named_bundles(store_dir: Path) -> dict[str, str]:
    """Digests that are served, or that a service document or its status names: digest -> the file that names it, relative to the store."""
    found: dict[str, str] = {}
    for pattern in _FOLDERS:
        for path in sorted(store_dir.glob(pattern)):
            if path.is_file() and not path.is_symlink():
                for digest in _DIGEST.findall(path.read_bytes()):
                    found.setdefault(digest.decode(), path.relative_to(store_dir).as_posix())
    return found


def digests_in(text: bytes, where: str) -> dict[str, str]:
    """Digests that a text of any form names, e.g. the output of `kubectl get modelservices -A -o json`: digest -> `where`."""
    return {digest.decode(): where for digest in _DIGEST.findall(text)}


def answered_versions(
    log: RecordLog, *, since_us: int, progress: Callable[[int], None] = lambda size: None
) -> dict[tuple[str, str], int]:
    """(model, version) -> time of its newest record in a prediction log and its archive, in microseconds since the epoch.

    since_us: segments that ended before it are skipped. progress: called with the bytes of each line. Raises OSError, ArchiveError, and
    UnreadableRecord for a line that is not a record, because nobody can tell then which bundles are needed."""
    newest: dict[tuple[str, str], int] = {}
    decoder = msgspec.json.Decoder(_Answered)
    for segment in log.segments():
        if segment.until_us() < since_us:
            continue
        for number, line in enumerate(segment.entries(), start=1):
            progress(len(line))
            try:
                record = decoder.decode(line)
            except (ValueError, RecursionError) as problem:  # no JSON, no record, no UTF-8, or nested without end
                raise UnreadableRecord(f"{segment.files.stem}, line {number}: a record cannot be read ({problem})") from problem
            key = (record.model, record.version)
            newest[key] = max(record.time_us, newest.get(key, 0))
    return newest
