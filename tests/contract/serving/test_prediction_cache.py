"""What every cache of predictions keeps to, in memory and in a real Redis."""

import asyncio

import pytest

from serving.cache.memory_cache import MAX_VALUE_BYTES, MemoryCache
from serving.cache.redis_cache import RedisCache
from tests.waiting import until_so

LONG_S = 600.0
"""Longer than any test takes, however busy the machine."""


@pytest.fixture
def ttl_s():
    return LONG_S


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.integration)])
async def cache(request, ttl_s):
    if request.param == "memory":
        made = MemoryCache(1_000_000, ttl_s)
    else:
        made = RedisCache(request.getfixturevalue("redis_url"), ttl_s)
        await made.start()
    yield made
    await made.close()


async def get(cache, key):
    return await cache.get(key, LONG_S)


async def test_what_was_put_is_got_and_nothing_else(cache):
    values = {b"a%d" % i: bytes([i]) * i for i in range(1, 50)}
    for key, value in values.items():
        cache.put(key, value)
    assert {key: await get(cache, key) for key in values} == values
    assert await get(cache, b"a") is None


async def test_keys_and_values_are_bytes_of_any_kind(cache):
    key, value = bytes(range(256))[:20], b"\r\n$-1\r\n\0" * 3
    cache.put(key, value)
    assert await get(cache, key) == value


async def test_the_newest_value_is_the_one(cache):
    cache.put(b"again", b"1")
    cache.put(b"again", b"2")
    assert await get(cache, b"again") == b"2"


@pytest.mark.parametrize("ttl_s", [0.2])
async def test_nothing_outlives_its_time(cache):
    cache.put(b"old", b"1")

    async def is_gone():
        return await get(cache, b"old") is None

    await until_so(is_gone)


async def test_a_value_that_is_too_large_is_not_kept(cache):
    cache.put(b"large", bytes(MAX_VALUE_BYTES + 1))
    cache.put(b"largest", bytes(MAX_VALUE_BYTES))
    assert await get(cache, b"large") is None
    assert len(await get(cache, b"largest")) == MAX_VALUE_BYTES


async def test_many_at_once_do_not_mix(cache):
    for i in range(200):
        cache.put(b"m%d" % i, b"%d" % i)
    found = await asyncio.gather(*(get(cache, b"m%d" % (i % 250)) for i in range(1000)))
    assert found == [b"%d" % (i % 250) if i % 250 < 200 else None for i in range(1000)]
