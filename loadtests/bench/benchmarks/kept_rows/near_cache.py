"""Rows of features kept in the replica: what a hit costs next to a read, how many hits there are, and how soon a write is seen.

One row of 20 features in 3 views, on one real Redis and one event loop (uvloop). `read` reads each row, `kept` keeps rows (32 MiB).
`hot`: one host, so that each row is a hit. `zipf`: 29,157 hosts, by 1 / rank^1.1, where the top 51 have about half of the reads, as in
the flow capture. `uniform`: the same hosts, each as often. CPU is that of the replica's process, without Redis'. Each reader yields to
the loop after a read, as a request does. `commands` is what Redis was asked for each read.

`seen-writes`: 32 clients of a replica's HTTP door ask for 51 hosts while another process writes 1,000 rows/s, one by one. For each write,
`behind` is the time from Redis' answer to the writer until the last answer came that does not have it, of those whose request was sent
after the write; 0 if there is none. `cut`: the connection is killed every 0.3 s; `stale` counts answers whose request was sent more than
the bound after a write that they do not have ([seen_writes.py](../../loadtests/bench/benchmarks/kept_rows/seen_writes.py))."""

import asyncio
import gc
import itertools
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from loadtests.bench import targets
from loadtests.bench.benchmarks.features import NOW, SERVICE, fill, redis_server
from loadtests.bench.benchmarks.kept_rows.seen_writes import HOT, SeenWrites, add_bundle, see_writes, seen_rows
from loadtests.bench.process import running
from loadtests.bench.report import Row, row
from loadtests.bench.vedette import hosted

IS_LONG: Final = True
HOSTS: Final = 29_157
EXPONENT: Final = 1.1
KEPT_BYTES: Final = 32 * 1024 * 1024
CHECKS: Final = 100_000
TRAFFIC: Final = (("hot", 1), ("hot", 32), ("zipf", 32), ("uniform", 32))


@dataclass(frozen=True, slots=True)
class Reads:
    """One stretch of reads. hit_percent: of the rows that were asked for; 0 without a cache. commands: to Redis for each read."""

    cpu_us: float
    rate: float
    p50_us: float
    p99_us: float
    hit_percent: float
    commands: float


class World:
    """One reader of the plans, and keys of all hosts."""

    def __init__(self, reader: Any, url: str) -> None:
        self.url = url
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

    worlds = {
        "read": World(await open_features(settings(0)), url),
        "kept": World(await open_features(settings(KEPT_BYTES)), url),
    }
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
    seen = await _seen(worlds["read"], url, folder, rounds=rounds, seconds=max(seconds, 1.0) * 2, checks=checks)
    for world in worlds.values():
        await world.reader.close()
    return [*_rows(found), *seen]


async def _seen(world: World, url: str, folder: Path, *, rounds: int, seconds: float, checks: int) -> list[Row]:
    """How soon writes are seen over HTTP, with rows kept and without, in turn; then with the connection cut."""
    from serving.features.stores.redis import field_of

    columns = [one.name for one in world.reader.service(SERVICE).features]
    view, _, name = columns[0].partition("__")
    add_bundle(folder, columns, columns[0])
    keys, field = _names(world, range(HOT)), field_of(f"{view}:{name}")
    # A slow machine, or a connection that is cut all the time, should make slow answers and not degraded ones, which say nothing here.
    settings = {"redis_url": url, "feature_timeout_s": "1", "breakers": "false"}
    seen: dict[str, list[SeenWrites]] = {"kept": [], "read": []}
    with (
        running(hosted(folder, "vedette-kept", feature_near_cache_bytes=str(KEPT_BYTES), **settings)) as kept,
        running(hosted(folder, "vedette-read", **settings)) as read,
    ):
        servers = {"kept": kept, "read": read}
        for who in ("kept", "read"):
            await see_writes(servers[who], url, keys, field, folder, seconds=1.0)  # warm
        for number in range(rounds):
            for who in ("kept", "read") if number % 2 else ("read", "kept"):
                seen[who].append(await see_writes(servers[who], url, keys, field, folder, seconds=seconds))
        cuts = [await see_writes(kept, url, keys, field, folder, seconds=0.0, checks=checks)]
    return list(seen_rows(seen["kept"], seen["read"], cuts, checks))


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

    commands = _commands(world.url)
    start_s, cpu_s = time.perf_counter(), time.process_time()
    until_s = start_s + seconds
    await asyncio.gather(*(one(order) for order in orders))
    cpu_s, elapsed_s = time.process_time() - cpu_s, time.perf_counter() - start_s
    hits, others = (near.hits - before[0], near.misses + near.unproven - before[1]) if near is not None else (0, 1)
    p50, p99 = np.percentile(took, [50, 99]) * 1e6
    return Reads(
        cpu_s / len(took) * 1e6,
        len(took) / elapsed_s,
        float(p50),
        float(p99),
        100 * hits / max(hits + others, 1),
        (_commands(world.url) - commands) / len(took),
    )


def _commands(url: str) -> int:
    """How many commands of reads Redis has answered."""
    import redis

    with redis.Redis.from_url(url) as client:
        counted = client.info("commandstats")
    return sum(counted.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("hmget", "pttl", "ping"))


def _rows(found: dict[tuple[str, str, int], list[Reads]]) -> Iterator[Row]:
    for (who, traffic, readers), each in found.items():
        path = f"near_cache/{who}/{traffic}/c{readers}"
        beside = found["read", traffic, readers]
        against = None if who == "read" else (f"near_cache/read/{traffic}/c{readers}/cpu", [r.cpu_us for r in beside])
        target = targets.ratio("<=", 0.5) if who == "kept" and traffic == "hot" else None
        yield row(f"{path}/cpu", [r.cpu_us for r in each], "us/read", against=against, target=target)
        yield row(f"{path}/rate", [r.rate for r in each], "reads/s")
        yield row(f"{path}/commands", [r.commands for r in each], "commands/read")
        yield row(f"{path}/p50", [r.p50_us for r in each], "us")
        yield row(f"{path}/p99", [r.p99_us for r in each], "us")
        if who == "kept":
            yield row(f"{path}/hits", [r.hit_percent for r in each], "%")
