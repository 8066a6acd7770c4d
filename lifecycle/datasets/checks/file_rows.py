"""Rows of a file as they stand in it, with their lines. A line that is no row is set aside; a file that is damaged is refused.

CSV is looked at line by line before pandas reads it. A line with too few or too many fields, with a NUL byte, that is no UTF-8, that is
very long, or whose quote is never closed would otherwise end the reading, shift values, or swallow the lines after it."""

import bz2
import csv
import gzip
import io
import json
import lzma
from array import array
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lifecycle.datasets.checks.bad_rows import BadRow, RowFault, cut
from lifecycle.datasets.detector import Detector
from lifecycle.errors import DataError

LONGEST_LINE: Final = 1024 * 1024
"""Bytes of a line, its end left out; a longer one is no row."""
_MOST_LINES: Final = 50
"""Lines that one quoted row may have."""
_CHUNK: Final = 20_000
_AT_ONCE: Final = 1_000
_OPEN: Final = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_BOM: Final = b"\xef\xbb\xbf"


@dataclass(slots=True)
class FileRows:
    """Readable rows of a file. frame: the declared columns by their name in the file, values as they were found.

    places: shape (n,), each row's place among all rows of the file. lines: its first line; None: the format has none.
    unreadable: lines that are no row."""

    frame: Any
    places: NDArray[np.int64]
    lines: NDArray[np.int64] | None
    unreadable: tuple[BadRow, ...] = ()

    @property
    def total(self) -> int:
        """All rows of the file."""
        return len(self.places) + len(self.unreadable)


def read_rows(detector: Detector, path: Path) -> FileRows:
    """The rows of a file. Raises DataError if it is not what `source.format` says, is cut short, or lacks a column."""
    readers = {"parquet": _parquet, "csv": _csv, "jsonl": _jsonl}
    try:
        return readers[detector.source.format](detector, path)
    except DataError:
        raise
    except (
        Exception
    ) as problem:  # pandas, pyarrow and the decompressors raise many kinds for a file that is not what it should be
        reason = " ".join(str(problem).split())[:300]
        raise DataError(
            f"{path}: cannot be read as {detector.source.format} ({type(problem).__name__}: {reason}); "
            "correct the file, or source.format of the detector"
        ) from problem


def require_columns(detector: Detector, there: Sequence[str], where: str) -> None:
    """Raises DataError that names the columns which the file does not have."""
    wanted = [spec.source or name for name, spec in detector.source.columns.items()]
    if missing := [c for c in wanted if c not in there]:
        raise DataError(
            f"{where}: has no column {', '.join(map(repr, missing))}; it has {[cut(str(c)) for c in sorted(map(str, there))]}; "
            f"correct the file, or source.columns of detector {detector.name!r}"
        )
    if twice := [c for c in wanted if list(there).count(c) > 1]:
        raise DataError(f"{where}: has column {', '.join(map(repr, twice))} twice; keep one")


def _wanted(detector: Detector) -> list[str]:
    return list(dict.fromkeys(spec.source or name for name, spec in detector.source.columns.items()))


def _parquet(detector: Detector, path: Path) -> FileRows:
    import pyarrow.parquet as pq

    require_columns(detector, pq.read_schema(path).names, str(path))
    frame = pd.read_parquet(path, columns=_wanted(detector)).reset_index(drop=True)  # pandas may have kept an index of its own
    return FileRows(frame, np.arange(len(frame), dtype=np.int64), None)


@dataclass(slots=True)
class _Lines:
    """Lines of a text file, in order, with what was set aside. A line that was read may be put back."""

    stream: IO[bytes]
    number: int = 0
    places: "array[int]" = field(default_factory=lambda: array("q"))
    numbers: "array[int]" = field(default_factory=lambda: array("q"))
    unreadable: list[BadRow] = field(default_factory=list)
    back: deque[bytes] = field(default_factory=deque)

    def next(self) -> bytes | None:
        """The next line with its end, at most LONGEST_LINE bytes and one more; None: the end."""
        if self.back:
            self.number += 1
            return self.back.popleft()
        line = self.stream.readline(LONGEST_LINE + 2)
        if not line:
            return None
        self.number += 1
        rest = line
        while len(rest) > LONGEST_LINE and not rest.endswith(b"\n"):  # the rest of a long line is read and not kept
            rest = self.stream.readline(LONGEST_LINE + 2)
        return line

    def keep(self, line: int) -> None:
        self.places.append(len(self.places) + len(self.unreadable))
        self.numbers.append(line)

    def set_aside(self, line: int, content: bytes, words: str) -> None:
        text = cut(content.decode("utf-8", "backslashreplace").rstrip("\r\n"))
        fault = RowFault(None, "line", text, f"line {line} {words}")
        self.unreadable.append(BadRow(len(self.places) + len(self.unreadable), line, (fault,)))

    def of(self, frame: Any) -> FileRows:
        places, lines = (np.frombuffer(a, dtype=np.int64) if a else np.empty(0, np.int64) for a in (self.places, self.numbers))
        return FileRows(frame, places, lines, tuple(self.unreadable))


def _open(path: Path) -> IO[bytes]:
    opener: Any = _OPEN.get(path.suffix.lower(), open)
    return cast("IO[bytes]", opener(path, "rb"))


def _fault_of(line: bytes) -> str | None:
    """Why a line is no text of one row, whatever its format; None: it is."""
    if len(line) > LONGEST_LINE and not line.endswith(b"\n"):
        return f"is longer than {LONGEST_LINE} bytes"
    if b"\0" in line:
        return "holds a NUL byte"
    if not line.isascii():
        try:
            line.decode("utf-8")
        except UnicodeDecodeError as problem:
            return f"is not UTF-8 text (byte {problem.start})"
    return None


def _csv(detector: Detector, path: Path) -> FileRows:
    text = {spec.source or c: str for c, spec in detector.source.columns.items() if spec.type in ("string", "port")}
    with _open(path) as stream:
        lines = _Lines(stream)
        header = lines.next()
        if header is None:
            raise DataError(f"{path}: is empty; the first line of a CSV file names its columns")
        header = header.removeprefix(_BOM)
        names = _names(header, path)
        require_columns(detector, names, str(path))
        good = _Stream(_csv_rows(lines, header, len(names)))
        frame = pd.read_csv(
            io.BufferedReader(good), dtype=text, keep_default_na=False, na_values=[""], low_memory=False, index_col=False,
            skip_blank_lines=False, usecols=_wanted(detector),
        )  # fmt: skip
        return lines.of(frame)


def _names(header: bytes, path: Path) -> list[str]:
    try:
        return next(csv.reader([header.decode("utf-8", "backslashreplace")]), [])
    except csv.Error as problem:
        raise DataError(
            f"{path}: its first line names no columns ({problem}); it must name them and end with a line feed"
        ) from problem


def _csv_rows(lines: _Lines, header: bytes, width: int) -> Iterator[bytes]:
    """The header and the lines of rows that have its number of fields."""
    yield header if header.endswith(b"\n") else header + b"\n"
    while (line := lines.next()) is not None:
        if not line.strip():
            continue
        number, record = lines.number, line
        fault = _fault_of(line)
        if fault is None and (b'"' in line or b"\r" in line.rstrip(b"\r\n")):
            record, fault = _quoted(lines, line, width)
        elif fault is None and (found := line.count(b",") + 1) != width:
            fault = _miscounted(found, width)
        if fault is not None:
            lines.set_aside(number, line, fault)
            continue
        lines.keep(number)
        yield record if record.endswith(b"\n") else record.rstrip(b"\r") + b"\n"


def _quoted(lines: _Lines, first: bytes, width: int) -> tuple[bytes, str | None]:
    """The row that begins with a line that has quotes, further lines included, and what is wrong with it.

    Of a wrong row only the first line is taken: the lines after it are rows of their own."""
    record, fault = [first], None
    while fault is None:
        text = [part.decode("utf-8", "replace") for part in record]
        text[-1] = text[-1].removesuffix("\n") + "\n"
        try:
            rows = list(csv.reader([*text, "\n"]))
        except csv.Error as problem:  # a field of more than 128 KiB, a carriage return within the line
            fault = f"is not a row ({problem})"
            break
        if not rows[-1]:  # the empty line is a row of its own: the quote was closed before it
            fields = rows[0]
            fault = None if len(fields) == width else _miscounted(len(fields), width)
            break
        following = lines.next() if len(record) < _MOST_LINES else None
        if following is None:
            fault = "has a quote that is not closed"
        else:
            record.append(following)
            fault = "has a quoted field with a line that is not text" if _fault_of(following) else None
    if fault is None:
        return b"".join(record), None
    lines.back.extendleft(reversed(record[1:]))
    lines.number -= len(record) - 1
    return first, fault


def _miscounted(found: int, width: int) -> str:
    return f"has {found} field{'' if found == 1 else 's'}, the header has {width}"


class _Stream(io.RawIOBase):
    """Pieces of bytes as a file."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._rest = pieces, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            self._rest = memoryview(b"".join(islice(self._pieces, _AT_ONCE)))
        part, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)


def _jsonl(detector: Detector, path: Path) -> FileRows:
    columns = {spec.source or name: spec.type for name, spec in detector.source.columns.items()}
    parts, chunk, seen = [], [], set[str]()
    with _open(path) as stream:
        lines = _Lines(stream)
        while (line := lines.next()) is not None:
            if lines.number == 1:
                line = line.removeprefix(_BOM)
            if not line.strip():
                continue
            row = _json_row(line)
            if isinstance(row, str):
                lines.set_aside(lines.number, line, row)
                continue
            lines.keep(lines.number)
            seen.update(row)
            chunk.append([row.get(c) for c in columns])
            if len(chunk) == _CHUNK:
                parts.append(_frame(chunk, columns))
                chunk = []
    if lines.places:
        first = "".join(f" ({row.faults[0].words})" for row in lines.unreadable[:1])
        require_columns(detector, sorted(seen), f"{path}{first}")
    parts += [_frame(chunk, columns)] if chunk or not parts else []
    return lines.of(pd.concat(parts, ignore_index=True))


def _json_row(line: bytes) -> Mapping[str, Any] | str:
    """The row of a line, or the reason why the line is no row."""
    if fault := _fault_of(line):
        return fault
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    return row if isinstance(row, dict) else "is not a JSON object"


def _frame(rows: list[list[Any]], columns: Mapping[str, str]) -> Any:
    """Some rows as columns: plain numbers as such, all else as it stands."""
    values = zip(*rows, strict=True) if rows else [()] * len(columns)
    made = {}
    for (name, kind), column in zip(columns.items(), values, strict=True):
        types = set(map(type, column))
        is_plain = bool(types) and (types <= {int} if kind == "int" else kind == "float" and types <= {int, float})
        try:
            made[name] = pd.Series(column, dtype=None if is_plain else object)
        except OverflowError:  # a whole number that no float holds is a fault of its row
            made[name] = pd.Series(column, dtype=object)
    return pd.DataFrame(made)
