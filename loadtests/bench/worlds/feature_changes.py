"""Changes of a feature store while requests are answered: a registry that changes, rows that are materialised.

`python -m loadtests.bench.worlds.feature_changes FOLDER URL registry|rows SECONDS` makes changes for this many seconds, in a process of
its own as in production. It prints `begun` when it starts, and one JSON line with its rate at the end. It uses Feast itself."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Literal

import orjson

from loadtests.bench.benchmarks.features import HOSTS, NOW, SERVICE
from loadtests.bench.errors import BenchError
from loadtests.bench.process import python

ChangeKind = Literal["registry", "rows"]
ROWS_PER_S: Final = 5_000
APPLY_EVERY_S: Final = 1.0
BEGUN: Final = "begun"


class Changes:
    """One process that makes changes. rate: changes, or rows, per second; known once it has ended."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def wait_begun(self) -> None:
        """Return when the changes have begun. Raises BenchError if the process ends before."""
        for line in self._process.stdout or ():
            if line.strip() == BEGUN:
                return
        raise BenchError(f"the feature store could not be changed: status {self._process.wait()}")

    def rate(self) -> float:
        """Wait for the end, and return changes or rows per second. Raises BenchError if it fails."""
        output = self._process.stdout.read() if self._process.stdout else ""
        if self._process.wait() != 0 or not output:
            raise BenchError(f"changing the feature store failed with status {self._process.returncode}")
        return float(orjson.loads(output.splitlines()[-1])["rate"])


@contextmanager
def changing(feast: Path, url: str, kind: ChangeKind, duration_s: float) -> Iterator[Changes]:
    """Make changes that have begun when the block begins, and end with it at the latest."""
    command = python("loadtests.bench.worlds.feature_changes", str(feast), url, kind, str(duration_s))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            changes = Changes(process)
            changes.wait_begun()
            yield changes
        finally:
            process.terminate()


def _registry(store: Any, until_s: float) -> float:
    """Apply the service under another description each second, so that every look of a replica finds a new registry."""
    service = store.feast.get_feature_service(SERVICE)
    start, applied = time.monotonic(), 0
    while (now := time.monotonic()) < until_s:
        service.description = f"applied {applied}"
        store.apply([service])
        applied += 1
        time.sleep(max(0.0, now + APPLY_EVERY_S - time.monotonic()))
    return applied / (time.monotonic() - start)


def _rows(store: Any, until_s: float) -> float:
    """Materialize one view after the other, as often as the wanted rate of rows needs."""
    names = [projection.name for projection in store.service(SERVICE).feature_view_projections]
    start, written = time.monotonic(), 0
    while time.monotonic() < until_s:
        view = names[written // HOSTS % len(names)]
        store.feast.materialize(NOW - timedelta(hours=1), NOW + timedelta(seconds=1), feature_views=[view])
        written += HOSTS
        time.sleep(max(0.0, start + written / ROWS_PER_S - time.monotonic()))
    return written / (time.monotonic() - start)


def main(argv: list[str]) -> int:
    """The program."""
    from lifecycle.training.feast_store import FeastStore, quiet

    folder, url, kind, duration_s = argv
    out = sys.stdout  # Feast's own prints are kept off it
    with quiet():
        store = FeastStore(Path(folder), url)
        store.service(SERVICE)  # Feast is imported and the registry read
        out.write(f"{BEGUN}\n")
        out.flush()
        until_s = time.monotonic() + float(duration_s)
        rate = (_registry if kind == "registry" else _rows)(store, until_s)
    out.write(orjson.dumps({"rate": rate}).decode() + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
