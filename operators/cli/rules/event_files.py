"""Events out of files, as tools write them: one object, a list, one object a line, or one after another with `Record N` between.

What cannot be read is given back with the reason, and reading goes on with the next line that may begin an event."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from operators.cli.console import CommandError

SUFFIXES: Final = (".json", ".jsonl", ".ndjson")
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")
_DECODER: Final = json.JSONDecoder()
_BETWEEN: Final = re.compile(r"(?:[\s,\]]|^Record \d+\s*$)+", re.MULTILINE)
"""What may stand between two events. `Record N` is evtx_dump's."""
_BEGIN: Final = re.compile(r"^[^\s}\],]", re.MULTILINE)
"""Where an event may begin, after one that cannot be read."""


@dataclass(frozen=True, slots=True)
class Found:
    """One event as it stands in its file. name: of the file, with the line or the number in its list. error: why it cannot be read."""

    name: str
    body: bytes = b""
    error: str | None = None


def read_events(path: Path) -> Iterator[Found]:
    """The events of a file, or of all JSON files of a folder. Raises CommandError."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not files:
        raise CommandError(
            f"{path}: holds no events; name a JSON or JSON lines file, or a folder of *.json, *.jsonl or *.ndjson"
        )
    for file in files:
        yield from events_in(file.name, file.read_bytes())


def events_in(name: str, content: bytes) -> Iterator[Found]:
    """The events of one file's content."""
    if content[:2] in _UTF16:  # what PowerShell writes
        content = content.decode("utf-16", "replace").encode("utf-8", "replace")
    content = content.removeprefix(_BYTE_ORDER_MARK)
    try:
        whole = orjson.loads(content)
    except orjson.JSONDecodeError:
        yield from _one_after_another(name, content.decode("utf-8", "replace"))
        return
    yield from _events(name, whole, content)


def _one_after_another(name: str, text: str) -> Iterator[Found]:
    at, line = 0, 1
    while True:
        between = _BETWEEN.match(text, at)
        begin = between.end() if between else at
        line += text.count("\n", at, begin)
        if begin == len(text):
            return
        where = f"{name}:{line}"
        try:
            value, at = _DECODER.raw_decode(text, begin)
            yield from _events(where, value, text[begin:at].encode("utf-8", "replace"))
        except (ValueError, RecursionError) as problem:
            if text[begin] == "[" and not isinstance(problem, RecursionError):
                at = begin + 1  # a list that is broken somewhere: its events one by one
                continue
            following = _BEGIN.search(text, begin + 1)
            at = following.start() if following else len(text)
            why = "it is nested too deeply" if isinstance(problem, RecursionError) else getattr(problem, "msg", str(problem))
            yield Found(where, error=f"an event is not JSON: {why}")
        line += text.count("\n", begin, at)


def _events(name: str, value: Any, body: bytes) -> Iterator[Found]:
    if not isinstance(value, list):
        yield Found(name, body)
        return
    for number, one in enumerate(value):
        try:
            yield Found(f"{name}[{number}]", json.dumps(one).encode())
        except RecursionError:
            yield Found(f"{name}[{number}]", error="an event is not JSON that can be read: it is nested too deeply")
