"""The minimum of a feature read in Python: the same HMGETs, pipelined on one connection and parsed by hiredis, without using the replies.

It is a reference for the reads in a request, not a reader to use. The commands are made from what Redis holds."""

import asyncio
import time
from collections import deque
from itertools import cycle
from typing import Any
from urllib.parse import urlsplit

import hiredis

from feature_repo.flows import FLOWS
from loadtests.bench.errors import BenchError
from loadtests.bench.load.results import Sample, sample
from loadtests.bench.process import HOST


def commands_for(url: str, most: int = 2000) -> list[bytes]:
    """One HMGET for each hash, of every field except the one of the last view that the service leaves out.

    Raises BenchError if Redis does not hold what the benchmark wrote."""
    import redis
    from feast.infra.online_stores.helpers import _mmh3

    unread = _mmh3(f"{FLOWS.view(FLOWS.windows[-1])}:{FLOWS.aggregates[-1].name}")

    with redis.Redis.from_url(url) as client:
        keys = [key for key in client.scan_iter(count=1000) if client.type(key) == b"hash"][:most]
        if not keys:
            raise BenchError(f"{url} holds no features")
        fields: list[bytes] = sorted(client.hkeys(keys[0]))  # type: ignore[arg-type,type-var]
    if unread not in fields:
        raise BenchError(
            f"{url} does not hold what was written: {len(fields)} fields, and none for the feature that is left out"
        )
    fields.remove(unread)
    return [bytes(hiredis.pack_command(("HMGET", key, *fields))) for key in keys]


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self._reader, self._asked = hiredis.Reader(), deque[asyncio.Future[Any]]()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not False:
            self._asked.popleft().set_result(reply)

    def ask(self, command: bytes) -> asyncio.Future[Any]:
        answer = self._loop.create_future()
        self._asked.append(answer)
        self._transport.write(command)  # type: ignore[attr-defined]
        return answer


async def _read(url: str, commands: list[bytes], readers: int, duration_s: float) -> Sample:
    place = urlsplit(url)
    _, connection = await asyncio.get_running_loop().create_connection(_Connection, place.hostname or HOST, place.port or 6379)
    took: list[float] = []
    start = time.perf_counter()
    until = start + duration_s

    async def one(first: int) -> None:
        for command in cycle(commands[first:] + commands[:first]):
            before = time.perf_counter()
            if before >= until:
                return
            await connection.ask(command)
            took.append(time.perf_counter() - before)

    await asyncio.gather(*(one(i * len(commands) // readers) for i in range(readers)))
    elapsed_s = time.perf_counter() - start
    connection._transport.close()
    return sample(took, elapsed_s)


def read_raw(url: str, commands: list[bytes], *, readers: int, duration_s: float) -> Sample:
    """Measure: each reader asks again as soon as it is answered."""
    import uvloop

    found: Sample = uvloop.run(_read(url, commands, readers, duration_s))
    return found
