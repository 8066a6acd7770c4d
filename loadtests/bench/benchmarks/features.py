"""Online features: the compiled plan next to Feast's own `get_online_features_async`, on one real Redis.

32 concurrent readers on one event loop (uvloop for both), each asking for a random known host: 20 features in 3 views, one row.
Both run in this process, in turn, round by round; their answers are compared first. Feast's figure is its response as it comes,
without the conversion to Python values that a caller would need on top."""

import asyncio
import contextlib
import gc
import itertools
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

import numpy as np

from loadtests.bench.errors import BenchError
from loadtests.bench.report import Row, row

READERS: Final = 32
HOSTS: Final = 2_000
SERVICE: Final = "bench"
NOW: Final = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

FeatureRead = Callable[[int], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Round:
    """The figures of one round of one way of reading."""

    rate: float
    p50_ms: float
    p99_ms: float


def run(*, quick: bool, rounds: int) -> list[Row]:
    """Measure both, in turn. Raises BenchError if there is no redis-server or the two disagree."""
    import uvloop

    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as folder, redis_server() as url:
        _say("features: writing 2,000 hosts through Feast")
        feast = fill(Path(folder), url)
        found = uvloop.run(measure(feast, Path(folder), url, rounds=rounds, duration_s=0.3 if quick else 2.0))
    return list(rows(found))


async def measure(feast: Any, folder: Path, url: str, *, rounds: int, duration_s: float) -> dict[str, list[Round]]:
    """Rounds of `feast` and `plan`, in turn."""
    from serving.features.opening import open_features
    from serving.settings import ServingSettings

    service = feast.get_feature_service(SERVICE)
    reader = await open_features(ServingSettings(store_dir=folder, redis_url=url, feature_timeout_s=5.0, audit="off"))
    at_us, no_fields = np.array([int(NOW.timestamp() * 1e6)]), dict[str, Any]()

    names = [f"host-{i}" for i in range(HOSTS)]
    rows = [[{"host": name}] for name in names]  # each as its reader takes it; making them is no part of a read
    keys = [{"host": np.array([name.encode()], dtype=object)} for name in names]

    async def ask_feast(host: int) -> Any:
        return await feast.get_online_features_async(service, rows[host], full_feature_names=True)

    async def ask_plan(host: int) -> Any:
        return await reader.read(SERVICE, keys[host], no_fields, at_us)

    await _agree(ask_feast, ask_plan)
    gc.collect()
    gc.freeze()  # what is loaded stays; for both, else each collection walks the libraries that Feast imports
    readers: dict[str, FeatureRead] = {"feast": ask_feast, "plan": ask_plan}
    found: dict[str, list[Round]] = {name: [] for name in readers}
    for read in readers.values():
        await load(read, duration_s=min(duration_s, 0.5), seed=0)  # warm
    for number in range(rounds):
        for name, read in readers.items():
            found[name].append(await load(read, duration_s=duration_s, seed=number))
        _say(f"features: round {number + 1} of {rounds}: " + ", ".join(f"{n} {r[-1].rate:,.0f}/s" for n, r in found.items()))
    await reader.close()
    return found


FIGURES: Final[tuple[tuple[str, str, Callable[[Round], float]], ...]] = (
    ("rate", "reads/s", attrgetter("rate")),
    ("p50", "ms", attrgetter("p50_ms")),
    ("p99", "ms", attrgetter("p99_ms")),
)


async def load(read: FeatureRead, *, duration_s: float, seed: int) -> Round:
    """Run READERS readers, each of which asks again as soon as it is answered."""
    took: list[float] = []
    orders = [random.Random(f"{seed}-{i}").sample(range(HOSTS), HOSTS) for i in range(READERS)]  # nosec B311  # a seed, no secret
    until = time.perf_counter() + duration_s

    async def one(hosts: Iterator[int]) -> None:
        while (start := time.perf_counter()) < until:
            await read(next(hosts))
            took.append(time.perf_counter() - start)

    start = time.perf_counter()
    await asyncio.gather(*(one(itertools.cycle(orders[i])) for i in range(READERS)))
    elapsed_s = time.perf_counter() - start
    p50, p99 = np.percentile(took, [50, 99])
    return Round(len(took) / elapsed_s, float(p50 * 1e3), float(p99 * 1e3))


def rows(found: dict[str, list[Round]]) -> Iterator[Row]:
    """Rates and latencies; those of the plan beside Feast's."""
    for figure, unit, pick in FIGURES:
        feast = [pick(r) for r in found["feast"]]
        name = f"features/feast/{READERS}/{figure}"
        yield row(name, feast, unit)
        yield row(f"features/plan/{READERS}/{figure}", [pick(r) for r in found["plan"]], unit, against=(name, feast))


def fill(folder: Path, url: str) -> Any:
    """Apply 20 features in 3 views and write every host's row to Redis through Feast. Returns Feast's store."""
    import pandas as pd
    from feast import FeatureService

    from feature_repo import views
    from feature_repo.flows import FLOWS
    from lifecycle.training.feast_store import FeastStore

    store = FeastStore(folder / "feast", url)
    store.apply(FLOWS)
    last = [aggregate.name for aggregate in FLOWS.aggregates[:-1]]
    store.apply([FeatureService(name=SERVICE, features=[views.host_10s, views.host_60s, views.host_600s[last]])])
    hosts, rng = [f"host-{i}" for i in range(HOSTS)], np.random.default_rng(0)
    for window in FLOWS.windows:
        values = {aggregate.name: rng.random(HOSTS) for aggregate in FLOWS.aggregates}
        store.write_rows(FLOWS.view(window), pd.DataFrame({"host": hosts, "event_timestamp": NOW, **values}))
    store.materialize(NOW - timedelta(hours=1), NOW + timedelta(seconds=1))
    return store.feast


async def _agree(ask_feast: Callable[[int], Awaitable[Any]], ask_plan: Callable[[int], Awaitable[Any]]) -> None:
    expected = (await ask_feast(7)).to_dict()
    ours = {name: column.tolist() for name, column in (await ask_plan(7)).columns.items()}
    del expected["host"]
    if ours != expected or len(ours) != 20 or None in ours.values():
        raise BenchError(f"the plan and Feast disagree on host-7: {ours} and {expected}")


@contextlib.contextmanager
def redis_server() -> Iterator[str]:
    """Run a redis-server that belongs to the benchmark; gives its URL."""
    program = shutil.which("redis-server")
    if program is None:
        raise BenchError("features: redis-server is not installed; `make services` installs it")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with tempfile.TemporaryDirectory() as folder, subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL) as process:
        try:
            _wait(port)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.terminate()


def _wait(port: int) -> None:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise BenchError("features: redis-server did not start within 10 s")


def _say(text: str) -> None:
    print(text, file=sys.stderr)
