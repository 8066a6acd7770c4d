"""Where this machine names bundles: what is served, service documents with their status, and the prediction log with its archive.

Reads only. Digests are looked for as text, so that a document of any version counts."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from lifecycle.governance.archive.record_log import RecordLog

_DIGEST: Final = re.compile(rb"sha256:[0-9a-f]{64}")
_FOLDERS: Final = ("served*.json", "control/**/*")


class _Answered(msgspec.Struct):
    model: str
    version: str
    time_us: int


def named_bundles(store_dir: Path) -> dict[str, str]:
    """Digests that are served or that a service document or its status names: digest -> the file that does, within the store."""
    found: dict[str, str] = {}
    for pattern in _FOLDERS:
        for path in sorted(store_dir.glob(pattern)):
            if path.is_file() and not path.is_symlink():
                for digest in _DIGEST.findall(path.read_bytes()):
                    found.setdefault(digest.decode(), path.relative_to(store_dir).as_posix())
    return found


def answered_versions(
    log: RecordLog, *, since_us: int, progress: Callable[[int], None] = lambda size: None
) -> dict[tuple[str, str], int]:
    """Time of the newest record of each (model, version) in a prediction log and its archive, in microseconds since the epoch.

    since_us: segments that ended before it are passed over. progress: told the bytes read. Raises OSError, ArchiveError, and
    msgspec.DecodeError for a line that cannot be read: then nobody knows what is needed."""
    newest: dict[tuple[str, str], int] = {}
    decoder = msgspec.json.Decoder(_Answered)
    for segment in log.segments():
        if segment.until_us() < since_us:
            continue
        for line in segment.entries():
            progress(len(line))
            record = decoder.decode(line)
            key = (record.model, record.version)
            newest[key] = max(record.time_us, newest.get(key, 0))
    return newest
