"""The verbs that the drift demonstration runs beside the server, as a person would type them. However it ends, none is left running."""

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from operators.cli.demo.server import environment, interrupt

_STOP_S: Final = 30.0
_SHOWN: Final = 2000


class VerbError(Exception):
    """A verb failed; the end of what it printed is in the message."""


async def verb(store_dir: Path, *words: str) -> str:
    """Run one verb to its end; its stdout. Raises VerbError. It is stopped where the caller is cancelled."""
    process = await asyncio.create_subprocess_exec(
        *_command(store_dir, words), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=environment()
    )
    try:
        out, err = await process.communicate()
    except asyncio.CancelledError:
        process.terminate()
        await process.wait()
        raise
    if process.returncode != 0:
        output = (out + err).decode(errors="replace").strip()[-_SHOWN:]
        raise VerbError(f"`vedette {' '.join(words)}` ended with status {process.returncode}:\n{output}")
    return out.decode()


async def answer_of(store_dir: Path, *words: str) -> Any:
    """The same with --json, parsed."""
    return json.loads(await verb(store_dir, *words, "--json"))


@contextlib.contextmanager
def running(store_dir: Path, *words: str) -> Iterator["RunningVerb"]:
    """A verb that goes on until the block ends."""
    log = store_dir / f"{words[0]}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(_command(store_dir, words), stdout=out, stderr=subprocess.STDOUT, env=environment())
        try:
            yield RunningVerb(f"vedette {' '.join(words)}", log, process)
        finally:
            interrupt(process, _STOP_S)


class RunningVerb:
    """A verb that is under way, and its log."""

    def __init__(self, words: str, log: Path, process: "subprocess.Popen[bytes]") -> None:
        self._words, self._log, self._process = words, log, process

    def check(self) -> None:
        """Raises VerbError if it has ended by itself."""
        if self._process.poll() is not None:
            raise VerbError(f"`{self._words}` ended with status {self._process.returncode}:\n{self.end_of_log()}")

    def end_of_log(self) -> str:
        """The last lines that it has printed."""
        return self._log.read_text(encoding="utf-8", errors="replace")[-_SHOWN:]


def _command(store_dir: Path, words: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-m", "operators.cli.main", *words, "--store-dir", str(store_dir)]
