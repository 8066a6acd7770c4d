"""What somebody with write access to a log's folder may put there: pipes, links, folders, giant and malformed files, odd names."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from serving.audit.checkpoint import Checkpoint
from serving.audit.merkle import EMPTY_ROOT
from serving.audit.segment_files import SegmentFiles, note_line
from serving.audit.signed_note import unsigned

START_US = 1_700_000_000_000_000
DEEP = b'{"note": "x", "y": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n"
ENTRY = b'{"time_us": 1700000000000000, "receipt": "r"}\n'


class HostileFile(NamedTuple):
    """put: places it in the folder of a log whose name is given."""

    name: str
    put: Callable[[Path, str], None]


def _files(folder: Path, log: str, number: int = 1) -> SegmentFiles:
    (folder / "chain").mkdir(parents=True, exist_ok=True)
    return SegmentFiles.new(folder, START_US, log, number)


def _records(folder: Path, log: str) -> SegmentFiles:
    files = _files(folder, log)
    files.records.write_bytes(ENTRY * 3)
    return files


def _pipe_for_records(folder: Path, log: str) -> None:
    os.mkfifo(_files(folder, log).records)


def _pipe_for_checkpoints(folder: Path, log: str) -> None:
    os.mkfifo(_records(folder, log).checkpoints)


def _pipe_for_hashes(folder: Path, log: str) -> None:
    os.mkfifo(_records(folder, log).hashes)


def _folder_for_records(folder: Path, log: str) -> None:
    _files(folder, log).records.mkdir()


def _folder_for_checkpoints(folder: Path, log: str) -> None:
    _records(folder, log).checkpoints.mkdir()


def _link_to_zeros_for_records(folder: Path, log: str) -> None:
    _files(folder, log).records.symlink_to("/dev/zero")


def _link_to_zeros_for_checkpoints(folder: Path, log: str) -> None:
    _records(folder, log).checkpoints.symlink_to("/dev/zero")


def _dangling_link(folder: Path, log: str) -> None:
    _files(folder, log).records.symlink_to(folder / "nothing")


def _pipe_for_tombstones(folder: Path, log: str) -> None:
    _files(folder, log)
    (folder / "chain" / "removed.jsonl").unlink(missing_ok=True)
    os.mkfifo(folder / "chain" / "removed.jsonl")


def _pipe_for_keys(folder: Path, log: str) -> None:
    _files(folder, log)
    (folder / "chain" / "keys.jsonl").unlink(missing_ok=True)
    os.mkfifo(folder / "chain" / "keys.jsonl")


def _names(folder: Path, log: str) -> None:
    _files(folder, log)
    for name in (
        "segment-0.jsonl",
        "segment-.jsonl",
        f"segment-{START_US}-{log}-1.jsonl",
        f"segment-{START_US}-{log}-000001.jsonl\n",
        f"segment-{START_US}-a\nb-000001.jsonl",
        f"segment-{START_US}-a b-000001.jsonl",
        f"segment-{START_US}-[bold][!x]-000001.jsonl",
        f"segment-{START_US}-\x1b[2J-000001.jsonl",
        f"segment-{START_US}-\udcff-000001.jsonl",
        f"segment-17000000000000٠٠-{log}-000001.jsonl",
        f"segment-{START_US}--000001.jsonl",
    ):
        at = os.path.join(os.fsencode(folder), name.encode("utf-8", "surrogateescape"))  # whatever the locale says
        with open(at, "wb") as file:
            file.write(ENTRY)


def _highest_number(folder: Path, log: str) -> None:
    _files(folder, log, 999_999).records.write_bytes(ENTRY)


def _notes(lines: bytes) -> Callable[[Path, str], None]:
    def put(folder: Path, log: str) -> None:
        files = _records(folder, log)
        files.checkpoints.write_bytes(lines)
        (folder / "chain" / "removed.jsonl").write_bytes(lines)
        (folder / "chain" / "keys.jsonl").write_bytes(lines)

    return put


def _records_of(lines: bytes) -> Callable[[Path, str], None]:
    def put(folder: Path, log: str) -> None:
        files = _files(folder, log)
        files.records.write_bytes(lines)
        files.hashes.write_bytes(b"\x00" * 33)
        _said(0, 1, b"\x01" * 32)(folder, log)

    return put


def _said(time_us: int, size: int, root: bytes = EMPTY_ROOT, before: int = 0) -> Callable[[Path, str], None]:
    """A checkpoint that nobody signed. It is written as text, because it may be one that cannot be."""

    def put(folder: Path, log: str) -> None:
        files = _files(folder, log)
        if not files.records.exists():
            files.records.write_bytes(ENTRY * 3)
        text = Checkpoint(log, 1, size, root, time_us, before, None, is_final=True).text()
        files.checkpoints.write_bytes(note_line(unsigned(text)))

    return put


def _no_signature_lines(folder: Path, log: str) -> None:
    text = Checkpoint(log, 1, 1, EMPTY_ROOT, 1, 0, None).text()
    lines = [
        text + "\n— audit !!!\n",
        text + "\n— \n",
        text + "\n— a AAAA",
        text + "\r\n\r\n",
        text.replace("\n", "\r\n") + "\n",
    ]
    _records(folder, log).checkpoints.write_bytes(b"".join(map(note_line, lines)))


HOSTILE = [
    HostileFile("a pipe for records", _pipe_for_records),
    HostileFile("a pipe for checkpoints", _pipe_for_checkpoints),
    HostileFile("a pipe for hashes", _pipe_for_hashes),
    HostileFile("a pipe for tombstones", _pipe_for_tombstones),
    HostileFile("a pipe for notes about keys", _pipe_for_keys),
    HostileFile("a folder for records", _folder_for_records),
    HostileFile("a folder for checkpoints", _folder_for_checkpoints),
    HostileFile("a link to zeros for records", _link_to_zeros_for_records),
    HostileFile("a link to zeros for checkpoints", _link_to_zeros_for_checkpoints),
    HostileFile("a link to nothing", _dangling_link),
    HostileFile("names that are nearly segments", _names),
    HostileFile("the highest number", _highest_number),
    HostileFile("notes of deep JSON", _notes(DEEP)),
    HostileFile("notes that are not UTF-8", _notes(b'{"note": "\xff\xfe"}\n')),
    HostileFile("notes of NUL bytes", _notes(b"\x00" * 5000 + b"\n")),
    HostileFile("notes with a lone surrogate", _notes(b'{"note": "\\ud800\\n\\n"}\n')),
    HostileFile("notes that end their lines as Windows does", _notes(b'{"note": "a\\r\\n\\r\\n"}\r\n')),
    HostileFile("a note without an end", _notes(b'{"note": "' + b"x" * 3_000_000)),
    HostileFile("a note longer than any", _notes(b'{"note": "' + b"x" * 3_000_000 + b'"}\n')),
    HostileFile("notes that are other JSON", _notes(b'[]\nnull\n{"note": 1e400}\n{"note": {}}\n' + b"9" * 5000 + b"\n")),
    HostileFile("signature lines that are none", _no_signature_lines),
    HostileFile("records of deep JSON", _records_of(b'{"receipt": "r", "x": ' + b"[" * 100_000 + b"\n")),
    HostileFile("records that are not UTF-8", _records_of(b'{"receipt": "\xff", "time_us": ' + b"9" * 40 + b"}\n")),
    HostileFile("a checkpoint of a negative size", _said(1, -5)),
    HostileFile("a checkpoint of 40 digits", _said(1, 10**40)),
    HostileFile("a checkpoint at a time of 40 digits", _said(10**40, 0)),
    HostileFile("a checkpoint at a negative time", _said(-(10**16), 0)),
    HostileFile("a checkpoint behind a number of 40 digits", _said(1, 0, before=10**40)),
]
