"""Rows of features kept in the replica: what a hit costs next to a read, how many hits there are, and how soon a write is seen.

One row of 20 features in 3 views, on one real Redis and one event loop (uvloop). `read` reads each row, `kept` keeps rows (32 MiB).
`hot`: one host, so that each row is a hit. `zipf`: 29,157 hosts, by 1 / rank^1.1, where the top 51 have about half of the reads, as in
the flow capture. `uniform`: the same hosts, each as often. CPU is that of the replica's process, without Redis'. Each reader yields to
the loop after a read, as a request does. `freshness`: 32 readers of 51 hosts while another process writes 1,000 rows/s, one by one.
`behind` is, for each write, the time from Redis' answer to the writer until the last read began that did not find it; 0 if every read
did. `cut`: the connection is killed every 0.3 s; `stale` counts reads that began more than the bound after a write that they missed."""

import asyncio
import gc
import itertools
import random
import tempfile
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from loadtests.bench import targets
from loadtests.bench.benchmarks.features import NOW, SERVICE, fill, redis_server
from loadtests.bench.errors import BenchError
from loadtests.bench.report import Row, row
from loadtests.bench.worlds.row_writer import Write, start_writer, writes_of

IS_LONG: Final = True
HOSTS: Final = 29_157
HOT: Final = 51
EXPONENT: Final = 1.1
KEPT_BYTES: Final = 32 * 1024 * 1024
WRITES_PER_S: Final = 1_000
CHECKS: Final = 100_000
CUT_EVERY_S: Final = 0.3
TRAFFIC: Final = (("hot", 1), ("hot", 32), ("zipf", 32), ("uniform", 32))


@dataclass(frozen=True, slots=True)
class Reads:
    """One stretch of reads. hit_percent: of the rows that were asked for; 0 without a cache."""

    cpu_us: float
    rate: float
    p50_us: float
    p99_us: float
    hit_percent: float


@dataclass(frozen=True, slots=True)
class Freshness:
    """behind_ms: how long after each write the last read began that did not find it, (n,); 0 where every read did. checks: reads.
    stale: those of them that were older than the bound. cuts: of the connection."""

    behind_ms: np.ndarray[Any, Any]
    checks: int
    stale: int
    cuts: int


class World:
    """One reader of the plans, and keys of all hosts."""

    def __init__(self, reader: Any) -> None:
        self.reader, self.at_us, self.fields = reader, np.array([int(NOW.timestamp() * 1e6)]), dict[str, Any]()
        self.keys = [{"host": np.array([f"host-{i}".encode()], dtype=object)} for i in range(HOSTS)]

    async def read(self, host: int) -> Any:
        """One row."""
        return await self.reader.read(SERVICE, self.keys[host], self.fields, self.at_us)


def run(*, quick: bool, rounds: int) -> list[Row]:
    """Measure. Raises BenchError if there is no redis-server."""
    import uvloop

    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as folder, redis_server() as url:
        fill(Path(folder), url)
        seconds, checks = (0.3, 2_000) if quick else (1.5, CHECKS)
        found: list[Row] = uvloop.run(_measure(Path(folder), url, rounds=rounds, seconds=seconds, checks=checks))
        return found


async def _measure(folder: Path, url: str, *, rounds: int, seconds: float, checks: int) -> list[Row]:
    from serving.features.opening import open_features
    from serving.settings import ServingSettings

    def settings(kept: int) -> ServingSettings:
        return ServingSettings(
            store_dir=folder, redis_url=url, feature_timeout_s=5.0, audit="off", feature_near_cache_bytes=kept
        )

    worlds = {"read": World(await open_features(settings(0))), "kept": World(await open_features(settings(KEPT_BYTES)))}
    _multiply(worlds["read"], url)
    gc.collect()
    gc.freeze()
    found: dict[tuple[str, str, int], list[Reads]] = {}
    for number, (traffic, readers) in itertools.product(range(rounds), TRAFFIC):
        for who, world in worlds.items():
            if not number:
                await _load(world, traffic, readers, seconds=seconds, seed=99)  # the rows that will be kept
            each = await _load(world, traffic, readers, seconds=seconds, seed=number)
            found.setdefault((who, traffic, readers), []).append(each)
    fresh = [await _freshness(worlds["kept"], url, folder, seconds=max(seconds, 1.0) * 2, checks=0) for _ in range(rounds)]
    cut = [await _freshness(worlds["kept"], url, folder, seconds=0.0, checks=checks)]
    for world in worlds.values():
        await world.reader.close()
    return [*_rows(found), *_fresh_rows(fresh, cut)]


def _multiply(world: World, url: str) -> None:
    """Give every host the hash of one of those that were filled."""
    import redis

    with redis.Redis.from_url(url) as client:
        names = _names(world, range(HOSTS))
        hashes = [client.hgetall(names[place]) for place in range(100)]
        pipe = client.pipeline(transaction=False)
        for place in range(2_000, HOSTS):
            pipe.hset(names[place], mapping=hashes[place % 100])  # type: ignore[arg-type]
            if place % 1_000 == 0:
                pipe.execute()
        pipe.execute()


def _names(world: World, hosts: Sequence[int]) -> list[bytes]:
    plan = world.reader.plan(SERVICE)
    prepared = getattr(plan.prepared, "inner", plan.prepared)[0]
    project = prepared.tail[: prepared.project_bytes]
    return [plan.groups[0].encode_one(world.keys[host]) + project for host in hosts]


def _order(traffic: str, seed: str) -> Iterator[int]:
    rng = random.Random(seed)  # nosec B311  # a seed, no secret
    if traffic == "hot":
        return itertools.repeat(7)
    weights = [rank**-EXPONENT for rank in range(1, HOSTS + 1)] if traffic == "zipf" else None
    return itertools.cycle(rng.choices(range(HOSTS), weights, k=20_000))


async def _load(world: World, traffic: str, readers: int, *, seconds: float, seed: int) -> Reads:
    took: list[float] = []
    orders = [_order(traffic, f"{seed}-{i}") for i in range(readers)]
    near = world.reader.near
    before = (near.hits, near.misses + near.unproven) if near is not None else (0, 0)

    async def one(hosts: Iterator[int]) -> None:
        while (start_s := time.perf_counter()) < until_s:
            await world.read(next(hosts))
            took.append(time.perf_counter() - start_s)
            await asyncio.sleep(0)

    start_s, cpu_s = time.perf_counter(), time.process_time()
    until_s = start_s + seconds
    await asyncio.gather(*(one(order) for order in orders))
    cpu_s, elapsed_s = time.process_time() - cpu_s, time.perf_counter() - start_s
    hits, others = (near.hits - before[0], near.misses + near.unproven - before[1]) if near is not None else (0, 1)
    p50, p99 = np.percentile(took, [50, 99]) * 1e6
    return Reads(cpu_s / len(took) * 1e6, len(took) / elapsed_s, float(p50), float(p99), 100 * hits / max(hits + others, 1))


async def _freshness(world: World, url: str, folder: Path, *, seconds: float, checks: int) -> Freshness:
    """checks: how many reads to make while the connection is cut again and again; 0: no cut, for `seconds`."""
    import redis

    from serving.features.stores.redis import BOUND_S, field_of

    feature = f"{world.reader.service(SERVICE).features[0].name}"
    view, _, name = feature.partition("__")
    longest_s = seconds or 60.0
    keys = _names(world, range(HOT))
    writer = await asyncio.to_thread(
        start_writer, url, keys, field_of(f"{view}:{name}"), folder, rate=WRITES_PER_S, seconds=seconds or checks / 5_000
    )
    seen: list[tuple[float, int, float]] = []
    until_s, cuts = time.monotonic() + longest_s, 0

    async def one(start: int) -> None:
        host = start
        while writer.poll() is None if checks else time.monotonic() < until_s:
            host = (host + 7) % HOT
            start_s = time.monotonic()
            found = await world.read(host)
            if found.outcome.value == "ok":
                seen.append((start_s, host, float(found.columns[feature][0])))
            await asyncio.sleep(0)
            if checks and len(seen) % 32 == 0:
                await asyncio.sleep(0.001)  # the writer and Redis need the processor too

    async def cut() -> None:
        nonlocal cuts
        with redis.Redis.from_url(url) as client:
            while True:
                await asyncio.sleep(CUT_EVERY_S)
                kept = client.client_id()
                for each in client.client_list():
                    if "resp" in each and each.get("resp") == "3" and int(each["id"]) != kept:
                        client.client_kill_filter(_id=each["id"])
                        cuts += 1

    cutting = asyncio.create_task(cut()) if checks else None
    await asyncio.gather(*(one(i) for i in range(32)))
    if cutting is not None:
        cutting.cancel()
    writes = await asyncio.to_thread(writes_of, writer, folder)
    return judge(writes, seen, BOUND_S, cuts)


def judge(writes: Sequence[Write], seen: Sequence[tuple[float, int, float]], bound_s: float, cuts: int) -> Freshness:
    """seen: when a read began, its key and the value that it found, in any order.

    >>> writes = [(0, 1.0, 10.0), (0, 2.0, 20.0)]
    >>> judge(writes, [(10.001, 0, 1.0), (20.05, 0, 1.0), (20.06, 0, 2.0)], 0.1, 0).behind_ms.round().tolist()
    [0.0, 50.0]
    >>> judge(writes, [(20.05, 0, 1.0), (20.2, 0, 1.0)], 0.1, 0).stale
    1
    """
    times: dict[int, tuple[list[float], list[float]]] = {}
    for key, value, at_s in writes:
        values, ats = times.setdefault(key, ([], []))
        values.append(value)
        ats.append(at_s)
    behind: list[float] = []
    stale = checks = 0
    for key, (values, ats) in times.items():
        late = [0.0] * len(ats)
        for start_s, place, value in seen:
            if place != key:
                continue
            checks += 1
            done = bisect_right(ats, start_s)
            first_unseen = bisect_right(values, value)
            for write in range(first_unseen, done):
                late[write] = max(late[write], start_s - ats[write])
            stale += first_unseen < done and start_s - ats[first_unseen] > bound_s
        behind += late
    return Freshness(np.array(behind) * 1e3, checks, stale, cuts)


def _rows(found: dict[tuple[str, str, int], list[Reads]]) -> Iterator[Row]:
    for (who, traffic, readers), each in found.items():
        path = f"near_cache/{who}/{traffic}/c{readers}"
        beside = found["read", traffic, readers]
        against = None if who == "read" else (f"near_cache/read/{traffic}/c{readers}/cpu", [r.cpu_us for r in beside])
        target = targets.ratio("<=", 0.5) if who == "kept" and traffic == "hot" else None
        yield row(f"{path}/cpu", [r.cpu_us for r in each], "us/read", against=against, target=target)
        yield row(f"{path}/rate", [r.rate for r in each], "reads/s")
        yield row(f"{path}/p50", [r.p50_us for r in each], "us")
        yield row(f"{path}/p99", [r.p99_us for r in each], "us")
        if who == "kept":
            yield row(f"{path}/hits", [r.hit_percent for r in each], "%")


def _fresh_rows(fresh: Sequence[Freshness], cut: Sequence[Freshness]) -> Iterator[Row]:
    if not all(len(each.behind_ms) for each in fresh):
        raise BenchError("near_cache: nothing was written")
    for name, share in (("p50", 50), ("p99", 99), ("max", 100)):
        target = targets.value("<=", 5) if name == "p99" else None
        values = [float(np.percentile(each.behind_ms, share)) for each in fresh]
        yield row(f"near_cache/freshness/behind/{name}", values, "ms", target=target)
    yield row("near_cache/freshness/writes", [float(len(each.behind_ms)) for each in fresh], "writes")
    yield row("near_cache/freshness/stale", [float(each.stale) for each in fresh], "reads", target=targets.value("<=", 0))
    yield row("near_cache/cut/cuts", [float(each.cuts) for each in cut], "cuts", target=targets.value(">=", 1))
    yield row("near_cache/cut/checks", [float(each.checks) for each in cut], "reads")
    yield row("near_cache/cut/stale", [float(each.stale) for each in cut], "reads", target=targets.value("<=", 0))
