"""Twenty open consoles beside a load: what they cost the data plane.

A replica without Ray is asked by 32 clients, in turn without viewers and with twenty: live streams of the pages Service, Rollouts and
Detections, of five sessions, to a console in a process of its own, which lowers its priority itself. The order alternates from
round to round. Viewers read their streams in this process and keep nothing; a browser would do so on another machine."""

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import httpx

from loadtests.bench import targets
from loadtests.bench.benchmarks.doors import DoorFigures, all_up, bring_up, cell
from loadtests.bench.benchmarks.hostile.tls import UNITS, spent
from loadtests.bench.errors import BenchError
from loadtests.bench.process import Running
from loadtests.bench.report import Row, row
from loadtests.bench.vedette import NAME, fill_store, hosted
from loadtests.bench.workload import Workload, build_workload

IS_LONG: Final = True
VIEWERS: Final = 20
STREAMS_OF_A_SESSION: Final = 4
CLIENTS: Final = 32
TOPICS: Final = ("service", "rollouts", "detections")
_START_S: Final = 60.0
_TARGETS: Final = {"rate": targets.ratio(">=", 0.98)}


def run(*, quick: bool, rounds: int) -> list[Row]:
    """Measure both in turn. Raises BenchError if a viewer sees nothing."""
    duration_s = 1.0 if quick else 5.0
    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as folder, ExitStack() as stack:
        place, found = Path(folder), DoorFigures()
        workload, store = build_workload(place), place / "store"
        fill_store(workload, store)
        up = bring_up(stack, [(NAME, lambda: hosted(store, NAME))], workload, found)
        all_up(up, 1, found)
        address = stack.enter_context(console(store))
        return list(rows(measured(up[0], workload, store, address, rounds=rounds, duration_s=duration_s)))


def rows(taken: Mapping[tuple[str, str], Sequence[float]]) -> Iterator[Row]:
    """Figures without viewers, and with them against those."""
    for figure in ("rate", "p50", "p99", "cpu"):
        alone, beside = taken[NAME, figure], taken["vedette-20-consoles", figure]
        name = f"http/{NAME}/c{CLIENTS}/{figure}"
        yield row(name, alone, UNITS[figure])
        against = (name, alone)
        yield row(
            f"http/vedette-20-consoles/c{CLIENTS}/{figure}", beside, UNITS[figure], against=against, target=_TARGETS.get(figure)
        )


def measured(
    server: Running, workload: Workload, store: Path, address: str, *, rounds: int, duration_s: float
) -> dict[tuple[str, str], list[float]]:
    """By name and figure, one value a round; the first round is the warm-up."""
    taken: dict[tuple[str, str], list[float]] = {}

    def take(name: str, index: int) -> None:
        before = spent(server)
        sample = cell("http", server, workload, clients=CLIENTS, index=index, duration_s=duration_s)
        after = spent(server)
        cpu_us = (after[0] - before[0]) / max(after[1] - before[1], 1) * 1e6
        for figure, value in {"p50": sample.p50_ms, "p99": sample.p99_ms, "rate": sample.rate, "cpu": cpu_us}.items():
            if index:
                taken.setdefault((name, figure), []).append(value)

    for index in range(rounds + 1):
        for is_watched in (False, True) if index % 2 else (True, False):
            if is_watched:
                with viewers(store, address):
                    take("vedette-20-consoles", index)
            else:
                take(NAME, index)
    return taken


@contextmanager
def console(store: Path) -> Iterator[str]:
    """The address of a console of this store, in a process of its own."""
    command = [sys.executable, "-m", "operators.cli.main", "console", "--port", "0", "--json", "--store-dir", str(store)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield str(_first_document(process)["console"])
        finally:
            process.terminate()


def _first_document(process: "subprocess.Popen[str]") -> Mapping[str, object]:
    """What the console says once it listens. Raises BenchError if it ends before."""
    text = ""
    for line in process.stdout or ():
        text += line
        if line.rstrip() == "}":
            found: Mapping[str, object] = json.loads(text)
            return found
    raise BenchError(f"the console ended: {text[-400:]}")


@contextmanager
def viewers(store: Path, address: str) -> Iterator[None]:
    """Twenty open streams, each of which has brought something. Raises BenchError if one does not come, or ends before the block."""
    from operators.console.sign_in import read_link_key

    with ExitStack() as stack:
        _, links = read_link_key(store)
        stopping = threading.Event()
        threads: list[threading.Thread] = []
        seen = [threading.Event() for _ in range(VIEWERS)]
        client = httpx.Client()
        for number in range(VIEWERS):
            if number % STREAMS_OF_A_SESSION == 0:
                client = stack.enter_context(httpx.Client(base_url=address, headers={"origin": address}, timeout=_START_S))
                client.post(f"/sign-in/{links.make()}")
            topic = TOPICS[number % len(TOPICS)]
            thread = threading.Thread(target=_watch, args=(client, topic, seen[number], stopping), daemon=True)
            thread.start()
            threads.append(thread)
        if not all(one.wait(_START_S) for one in seen):
            raise BenchError(f"of {VIEWERS} viewers only {sum(one.is_set() for one in seen)} saw anything")
        try:
            yield
            if ended := sum(not one.is_alive() for one in threads):
                raise BenchError(f"the streams of {ended} of {VIEWERS} viewers ended while the load was measured")
        finally:
            stopping.set()
    for thread in threads:
        thread.join(_START_S)


def _watch(client: httpx.Client, topic: str, seen: threading.Event, stopping: threading.Event) -> None:
    try:
        with client.stream("GET", "/events", params={"topic": topic, "key": ""}) as answer:
            for line in answer.iter_lines():
                if line.startswith("event: parts"):
                    seen.set()
                if stopping.is_set():
                    return
    except httpx.HTTPError:  # its client was closed
        return
