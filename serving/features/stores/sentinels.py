"""Redis Sentinel: asks the sentinels where the master is, and hears from them that another Redis became it.

All sentinels are asked in turn; one that answered is asked first the next time. A Redis that says that it is no master is not used, because
a sentinel may not know yet what the others agreed on. Source: redis.io/docs/latest/develop/reference/sentinel-clients."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

from serving.features.stores.addresses import RedisEndpoints
from serving.features.stores.redis_wire import Address, RedisConnection, ReplyError, command, connect
from serving.ports import ReadOutcome

log = logging.getLogger(__name__)

_ASK_S: Final = 0.5
"""How long one sentinel may take, so that one that hangs does not hold up the next."""
_PROVE_S: Final = 1.0
"""The connection over which a sentinel tells changes is tried this often."""
_PAUSE_S: Final = 0.5
_SWITCH: Final = b"+switch-master"


class Sentinels:
    """The sentinels of one master. is_following: one of them tells changes now."""

    def __init__(self, endpoints: RedisEndpoints) -> None:
        user, password = endpoints.sentinel_login
        self.master = endpoints.master
        self._endpoints = endpoints
        self._addresses = [Address(host, port, 0, user, password, endpoints.is_sentinel_tls) for host, port in endpoints.hosts]
        self._following: asyncio.Task[None] | None = None
        self.is_following = False

    async def find_master(self) -> Address:
        """Where the master is now. Raises OSError if no sentinel can say so."""
        problems = []
        for address in tuple(self._addresses):
            try:
                host, port = await self._ask(address)
            except (OSError, TimeoutError) as problem:
                problems.append(f"{address.host}:{address.port}: {problem or type(problem).__name__}")
                continue
            self._addresses.remove(address)
            self._addresses.insert(0, address)
            end = self._endpoints
            return Address(host, port, end.database, end.username, end.password, end.is_tls)
        raise OSError(f"no sentinel knows the master {self.master!r} ({'; '.join(problems)})")

    def follow(self, switched: Callable[[], None]) -> None:
        """Call `switched` whenever sentinels say that the master is another one now, until closed."""
        self._following = asyncio.get_running_loop().create_task(self._follow(switched))

    async def close(self) -> None:
        """Stop following."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)

    async def _ask(self, address: Address) -> tuple[str, int]:
        connection = await connect(address, lambda _: None, _ASK_S)
        try:
            (reply,) = await _replies(connection, command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.master), 1)
        finally:
            connection.close()
        if not isinstance(reply, list) or len(reply) != 2:
            raise OSError(f"knows no master {self.master!r}")
        return reply[0].decode(), int(reply[1])

    async def _follow(self, switched: Callable[[], None]) -> None:
        while True:
            for address in tuple(self._addresses):
                try:
                    await self._listen(address, switched)
                except (OSError, TimeoutError) as problem:
                    log.debug("features: the sentinel %s:%s tells no changes: %s", address.host, address.port, problem)
            await asyncio.sleep(_PAUSE_S)

    async def _listen(self, address: Address, switched: Callable[[], None]) -> None:
        """Hear one sentinel until it is gone. Raises OSError or TimeoutError."""

        def pushed(push: Sequence[Any]) -> None:
            if push[:2] == [b"message", _SWITCH] and push[2].split(b" ")[0] == self.master.encode():
                log.warning("features: the master %r is another Redis now: %s", self.master, push[2].decode(errors="replace"))
                switched()

        connection = await connect(address, lambda _: None, _ASK_S, pushed)
        try:
            subscribe = command("HELLO", "3") + command("SUBSCRIBE", _SWITCH.decode()) + command("PING")
            await _replies(connection, subscribe, 2)
            self.is_following = True
            while True:
                await asyncio.sleep(_PROVE_S)
                await _replies(connection, command("PING"), 1)
        finally:
            self.is_following = False
            connection.close()


async def check_is_master(connection: RedisConnection, timeout_s: float) -> None:
    """Raises OSError if this Redis says that it is no master. Where the user may not ask, the sentinel's word counts."""
    replies = await connection.ask(command("ROLE"), 1, timeout_s)
    if isinstance(replies, list) and isinstance(replies[0], ReplyError) and str(replies[0]).startswith("NOPERM"):
        return
    if isinstance(replies, ReadOutcome) or not isinstance(replies[0], list) or replies[0][0] != b"master":
        raise OSError("the sentinel names it as master, but it reports another role")


async def _replies(connection: RedisConnection, commands: bytes, count: int) -> list[Any]:
    replies = await connection.ask(commands, count, _ASK_S)
    if isinstance(replies, ReadOutcome):
        raise OSError(f"no answer ({replies.value})")
    for reply in replies:
        if isinstance(reply, ReplyError):
            raise OSError(str(reply))
    return replies
