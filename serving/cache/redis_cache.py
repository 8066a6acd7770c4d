"""The cache in Redis (port Cache): replicas share it, and it survives their restarts. One multiplexed connection; Redis removes expired
entries.

Never waits for a connection: while there is none a get says so at once, and the next attempt to connect is made in the background.
A Redis that is full refuses to keep a value; no caller is notified, because none waits. Give it `maxmemory` and an eviction policy
(`allkeys-lru`); keys begin with `vedette:p:`, so that one Redis may hold features and predictions."""

import asyncio
import logging
from typing import Final

from serving.cache.memory_cache import MAX_VALUE_BYTES
from serving.features.stores.redis_wire import Address, RedisConnection, ReplyError, connect
from serving.ports import CacheDown

PREFIX: Final = b"vedette:p:"
_CONNECT_S: Final = 1.0
_RETRY_S: Final = 0.25
_log = logging.getLogger("vedette.cache")


class RedisCache:
    """ttl_s: how long a value is kept. Raises ValueError if `url` is not an address."""

    def __init__(self, url: str, ttl_s: float) -> None:
        self._address, self._ttl = Address.of(url), b"%d" % max(1, round(ttl_s * 1000))
        self._connection: RedisConnection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._next_try_s = 0.0
        self._is_closed = False

    async def start(self) -> None:
        """Connect; if that fails, it is tried again when somebody asks."""
        await self._connect()

    async def get(self, key: bytes, within_s: float) -> bytes | None:
        """See ports.Cache.get."""
        connection = self._connected()
        if connection is None:
            raise CacheDown("no connection to Redis")
        replies = await connection.ask(_command(b"GET", PREFIX + key), 1, within_s)
        if not isinstance(replies, list) or isinstance(replies[0], ReplyError):
            raise CacheDown("Redis did not answer" if not isinstance(replies, list) else str(replies[0]))
        value: bytes | None = replies[0]
        return value

    def put(self, key: bytes, value: bytes) -> None:
        """See ports.Cache.put."""
        connection = self._connection
        if connection is not None and len(value) <= MAX_VALUE_BYTES:
            connection.ask(_command(b"SET", PREFIX + key, value, b"PX", self._ttl), 1, _CONNECT_S)

    async def close(self) -> None:
        """See ports.Cache.close."""
        self._is_closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            await asyncio.sleep(0)

    def _connected(self) -> RedisConnection | None:
        if self._connection is not None or self._is_closed:
            return self._connection
        loop = asyncio.get_running_loop()
        if (self._connecting is None or self._connecting.done()) and loop.time() >= self._next_try_s:
            self._connecting = loop.create_task(self._connect())
        return None

    async def _connect(self) -> None:
        try:
            self._connection = await connect(self._address, self._lost, _CONNECT_S)
        except (OSError, TimeoutError) as problem:
            self._next_try_s = asyncio.get_running_loop().time() + _RETRY_S
            _log.debug("cache: Redis at %s:%s: %s", self._address.host, self._address.port, problem)

    def _lost(self, connection: RedisConnection) -> None:
        if connection is self._connection:
            self._connection = None


def _command(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words])
