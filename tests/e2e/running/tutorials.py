"""Tutorials that are followed on a server which other pages use too."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator

from tests.e2e.running.how_to import Reader
from tests.e2e.running.vedette import environment


@contextlib.contextmanager
def beside(reader: Reader, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A Python program that runs as in another terminal, until the end of the block."""
    process = subprocess.Popen([sys.executable, *arguments], cwd=reader.folder, env=environment(**reader.exported))
    try:
        yield process
        assert process.poll() is None, f"{' '.join(arguments)} ended with {process.returncode}"
    finally:
        process.kill()
        process.wait()


def first_canary(reader: Reader, page: str) -> None:
    """The tutorial in the folder of a server that serves version 1 of flows; afterwards it serves it again, and version 2 is there too."""
    reader.makes_files(page)
    traffic = reader.folder / "traffic.py"
    traffic.write_text(reader.addressed(traffic.read_text(encoding="utf-8")), encoding="utf-8")
    with beside(reader, traffic.name):
        assert len(reader.follows(page)) == 5
    reader.waits("vedette rollout get flows --json", lambda said: json.loads(said)["status"]["phase"] == "Healthy")
