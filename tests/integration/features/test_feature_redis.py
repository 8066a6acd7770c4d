"""Redis that is slow, gone, back, refusing: reads say so in time, never raise, and are right again afterwards."""

import asyncio

import pytest
import uvloop

from serving.features.stores import redis_wire
from serving.features.stores.redis import RedisStore
from serving.features.stores.redis_wire import STALLED_S, Address
from serving.ports import ReadOutcome
from tests.fakes.redis_server import RedisServer
from tests.ports import free_port
from tests.waiting import HANG_S, until_so

pytestmark = pytest.mark.integration


@pytest.fixture(params=["asyncio", "uvloop"])
def event_loop_policy(request):
    return uvloop.EventLoopPolicy() if request.param == "uvloop" else asyncio.DefaultEventLoopPolicy()


class OneField:
    """The least a plan asks: one key, one cell, no event time."""

    def __init__(self, url):
        self.store = RedisStore(url)

    async def read(self, key=b"k", timeout_s=HANG_S):
        from serving.features.stores.redis import RedisCommand

        prepared = (RedisCommand(b"*3\r\n$5\r\nHMGET\r\n", b"\r\n$1\r\nf\r\n", 0, 1),)
        found = await self.store.fetch(prepared, [[key]], timeout_s)
        return found if isinstance(found, ReadOutcome) else found[0][0][0]


@pytest.fixture
async def field(redis_server):
    import redis

    redis.Redis.from_url(redis_server.url).hset("k", "f", "value")
    field = OneField(redis_server.url)
    await field.store.start()
    yield field
    await field.store.close()


async def eventually(read, expected):
    async def is_so():
        return await read() == expected

    await until_so(is_so)


async def asked(field, count):
    """Until so many reads have left for Redis."""
    connection = field.store.link.connection
    await until_so(lambda: len(connection._waiting) == count and not connection._out)


async def test_a_read(field):
    assert await field.read() == [b"value"]
    assert await field.read(b"other") == [None]


@pytest.fixture
def patient(monkeypatch):
    """A connection that is not given up because nothing was heard for a while: this machine may be busy."""
    monkeypatch.setattr(redis_wire, "STALLED_S", 10 * HANG_S)


@pytest.mark.usefixtures("patient")
async def test_a_paused_redis_costs_the_timeout_and_no_more_and_late_answers_go_to_nobody_else(field, redis_server):
    redis_server.pause()
    waiting = asyncio.ensure_future(field.read(b"other", timeout_s=HANG_S))
    assert await asyncio.gather(*(field.read(timeout_s=0.1) for _ in range(50))) == [ReadOutcome.TIMED_OUT] * 50
    assert not waiting.done()
    redis_server.resume()
    assert await waiting == [None]
    assert await field.read() == [b"value"]


@pytest.mark.usefixtures("patient")
async def test_each_read_has_its_own_timeout(field, redis_server):
    redis_server.pause()
    long = asyncio.ensure_future(field.read(timeout_s=HANG_S))
    assert await field.read(timeout_s=0.05) is ReadOutcome.TIMED_OUT
    assert not long.done()
    redis_server.resume()
    assert await long == [b"value"]


async def test_reads_with_next_to_no_time_left_say_so_and_nothing_else(field, redis_server):
    redis_server.pause()
    for _ in range(30):
        hurried = [field.read(timeout_s=timeout_s) for timeout_s in (0.01, 0.0004, 0.0001, 1e-6, 0.005)]
        assert await asyncio.gather(*hurried) == [ReadOutcome.TIMED_OUT] * 5
    redis_server.resume()
    await eventually(field.read, [b"value"])


async def test_a_redis_that_stalls_is_left_and_found_again(field, redis_server):
    redis_server.pause()
    assert await field.read(timeout_s=STALLED_S + 0.5) is ReadOutcome.TIMED_OUT
    assert await field.read(timeout_s=HANG_S) is ReadOutcome.NO_CONNECTION, "nobody waits"
    redis_server.resume()
    await eventually(field.read, [b"value"])


async def test_a_redis_that_dies_is_noticed_at_once_and_found_again(field, redis_server):
    redis_server.pause()
    reads = [asyncio.ensure_future(field.read(timeout_s=HANG_S)) for _ in range(3)]
    await asked(field, 3)
    redis_server.kill()
    assert set(map(repr, await asyncio.gather(*reads))) <= {repr(ReadOutcome.LOST), "[b'value']"}
    assert await field.read(timeout_s=HANG_S) is ReadOutcome.NO_CONNECTION
    redis_server.start()
    await eventually(field.read, [None])


async def begun_and_cut_off(field, redis_server, count):
    """Reads whose connection breaks before Redis answers; it answers again."""
    redis_server.pause()
    reads = [asyncio.ensure_future(field.read(timeout_s=HANG_S)) for _ in range(count)]
    await asked(field, count)
    field.store.link.connection._transport.abort()
    await asyncio.sleep(0)
    redis_server.resume()
    return reads


async def test_a_read_whose_connection_breaks_is_tried_once_more_over_the_next(field, redis_server):
    import redis

    reads = await begun_and_cut_off(field, redis_server, 5)
    assert await asyncio.gather(*reads) == [[b"value"]] * 5
    assert field.store.retried == 5
    redis.Redis.from_url(redis_server.url).ping()


async def test_no_more_reads_are_tried_again_than_the_budget_allows(field, redis_server):
    reads = await begun_and_cut_off(field, redis_server, 40)
    found = await asyncio.gather(*reads)
    assert found.count([b"value"]) == field.store.retried == 20
    assert found.count(ReadOutcome.LOST) == 20


async def test_a_read_whose_connection_breaks_does_not_wait_for_a_redis_that_is_gone(field, redis_server):
    redis_server.pause()
    reads = [asyncio.ensure_future(field.read(timeout_s=HANG_S)) for _ in range(5)]
    await asked(field, 5)
    redis_server.kill_paused()
    assert await asyncio.gather(*reads) == [ReadOutcome.LOST] * 5
    assert field.store.retried == 0


async def test_a_redis_that_hangs_under_load_costs_few_timers(field, redis_server):
    redis_server.pause()
    fired = 0
    expire = field.store.link.connection._expire

    def count():
        nonlocal fired
        fired += 1
        expire()

    field.store.link.connection._expire = count
    reads = []
    for _ in range(40):
        reads += [asyncio.ensure_future(field.read(timeout_s=0.02)) for _ in range(50)]
        await asyncio.sleep(0.001)
    assert await asyncio.gather(*reads) == [ReadOutcome.TIMED_OUT] * 2000
    assert fired < 500
    redis_server.resume()
    await eventually(field.read, [b"value"])


async def test_no_redis_at_the_start_is_no_error():
    field = OneField(f"redis://127.0.0.1:{free_port()}/0")
    await field.store.start()
    assert await field.read() is ReadOutcome.NO_CONNECTION
    await field.store.close()


async def test_a_reply_that_is_an_error_is_a_store_that_failed(field, redis_server):
    import redis

    redis.Redis.from_url(redis_server.url).set("text", "x")
    assert await field.read(b"text") is ReadOutcome.FAILED
    assert await field.read() == [b"value"]


async def test_a_redis_that_refuses_every_read_is_said_once(field, redis_server, caplog):
    import redis

    redis.Redis.from_url(redis_server.url).config_set("requirepass", "changed")
    field.store.link.connection._transport.write(b"*1\r\n$5\r\nRESET\r\n")  # logs the connection out; its reply is one too many
    found = {repr(await field.read()) for _ in range(20)}
    assert found <= {repr(o) for o in (ReadOutcome.FAILED, ReadOutcome.NO_CONNECTION, ReadOutcome.LOST)}
    caplog.clear()
    redis.Redis.from_url(redis_server.url, password="changed").config_set("requirepass", "")
    await eventually(field.read, [b"value"])
    redis.Redis.from_url(redis_server.url).set("text", "x")
    assert {repr(await field.read(b"text")) for _ in range(20)} == {repr(ReadOutcome.FAILED)}
    assert sum("refused a read" in record.message for record in caplog.records) <= 1
    assert await field.read() == [b"value"]


async def test_a_given_up_caller_disturbs_nobody(field):
    reads = [asyncio.ensure_future(field.read()) for _ in range(20)]
    await asyncio.sleep(0)
    for read in reads[::2]:
        read.cancel()
    results = await asyncio.gather(*reads, return_exceptions=True)
    assert results[1::2] == [[b"value"]] * 10
    assert await field.read() == [b"value"]


async def test_password_and_database():
    import redis

    server = RedisServer("--requirepass", "s p@ce")
    try:
        redis.Redis(port=server.port, password="s p@ce", db=3).hset("k", "f", "three")
        right, wrong = (OneField(f"redis://:{p}@127.0.0.1:{server.port}/3") for p in ("s%20p%40ce", "no"))
        await right.store.start()
        await wrong.store.start()
        assert await right.read() == [b"three"]
        assert await wrong.read() is ReadOutcome.NO_CONNECTION
        await right.store.close()
        await wrong.store.close()
    finally:
        server.stop()


@pytest.mark.parametrize("url", ["http://x", "redis://", "redis://h/x", "localhost:6379"])
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(ValueError, match=r"redis://|number"):
        Address.of(url)


def test_addresses():
    assert Address.of("redis://h").handshake() == [b"*1\r\n$4\r\nPING\r\n"]
    assert Address.of("rediss://u:p@h:1/2") == Address("h", 1, 2, "u", "p", True)
    assert Address.of("unix:///run/r.sock").socket == "/run/r.sock"
    assert len(Address.of("redis://u:p@h/2").handshake()) == 3
