"""Writes one feature of given hashes, at a rate, and says what was written when: the other side of the near cache's freshness.

`python -m loadtests.bench.worlds.row_writer URL KEYS FIELD RATE SECONDS`: KEYS is a file with a key in hex on each line, FIELD in hex.
Values are 1, 2, 3, ... as Feast stores a double, after a 0 for each key. It prints `begun`, and leaves KEYS.json: a triple a write, the
key's line, the value, and the monotonic time when Redis had answered (the clock of this machine, the same in every process). SIGTERM ends
it early."""

import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import orjson

from loadtests.bench.errors import BenchError
from loadtests.bench.process import python

BEGUN: Final = "begun"
SETTLE_S: Final = 0.3
"""The zeros are seen everywhere after this time."""

Write = tuple[int, float, float]
"""Key, value, and the monotonic time when it was done."""


def start_writer(
    url: str, keys: Sequence[bytes], field: bytes, folder: Path, *, rate: int, seconds: float
) -> "subprocess.Popen[str]":
    """A writer that has begun."""
    path = folder / "keys"
    path.write_text("\n".join(key.hex() for key in keys))
    command = python("loadtests.bench.worlds.row_writer", url, str(path), field.hex(), str(rate), str(seconds))
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None  # noqa: S101  # nosec B101  # for the type checker
    for line in process.stdout:
        if line.strip() == BEGUN:
            break
    return process


def writes_of(process: "subprocess.Popen[str]", folder: Path) -> list[Write]:
    """Wait for its end, and what it wrote. Raises BenchError if it failed."""
    process.communicate()
    if process.returncode != 0:
        raise BenchError(f"the writer of rows failed with status {process.returncode}")
    return [(key, value, at_s) for key, value, at_s in orjson.loads((folder / "keys.json").read_bytes())]


def _double(value: float) -> bytes:
    return b"\x29" + struct.pack("<d", value)


def main(argv: list[str]) -> int:
    """The program."""
    import redis

    url, path, field, rate, seconds = argv
    keys, name = [bytes.fromhex(line) for line in Path(path).read_text().split()], bytes.fromhex(field)
    done: list[Write] = []
    is_over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: is_over.set())
    with redis.Redis.from_url(url) as client:
        for key in keys:  # what an earlier writer left is no value of this one
            client.hset(key, name, _double(0.0))  # type: ignore[arg-type]
        time.sleep(SETTLE_S)
        print(BEGUN, flush=True)
        start_s = time.monotonic()
        while (now_s := time.monotonic()) < start_s + float(seconds) and not is_over.is_set():
            due_s = start_s + len(done) / float(rate)
            if due_s > now_s:
                time.sleep(due_s - now_s)
            place, value = len(done) % len(keys), float(len(done) + 1)
            client.hset(keys[place], name, _double(value))  # type: ignore[arg-type]
            done.append((place, value, time.monotonic()))
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it may come when all is done
    Path(f"{path}.json").write_bytes(orjson.dumps(done))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
