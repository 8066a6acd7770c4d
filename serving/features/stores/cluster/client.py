"""A client of a Redis Cluster: a link to each node, the map of slots, and commands sent to the nodes of their keys all at once.

The map is read again after a redirection, a lost connection or a refusal for the state of the cluster, and then until every slot has a
node that answers. A node that is lost costs only its own keys."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from serving.features.stores.addresses import RedisEndpoints
from serving.features.stores.cluster.slot_map import SLOTS, NodePlace, Redirect, Shard, redirect_of, shards_of
from serving.features.stores.redis_link import CONNECT_S, PAUSE_S, RedisLink
from serving.features.stores.redis_wire import Address, RedisConnection, Replies, ReplyError, command, connect
from serving.ports import ReadOutcome
from serving.resilience.breaker import BreakerLimits, BreakerState, Guard
from serving.resilience.retry import RetryBudget

log = logging.getLogger(__name__)

_KEPT_S: Final = 10.0
"""How long a link stays that the map does not name: nodes do not hear of a moved slot at the same moment."""
_HOPS: Final = 4
"""Redirections that one command follows."""
_AGAIN_S: Final = 0.005
_QUIET_S: Final = 10
_SLOTS: Final = command("CLUSTER", "SLOTS")
_ASKING: Final = command("ASKING")


@dataclass(frozen=True, slots=True)
class KeyCommands:
    """Commands of one key, in RESP, each with one reply."""

    slot: int
    commands: tuple[bytes, ...]


@dataclass(slots=True)
class _Unit:
    """A KeyCommands on its way. link: where it goes; replies: what came, or why nothing did."""

    place: int
    wanted: KeyCommands
    link: RedisLink | None
    is_asking: bool = False
    is_redirected: bool = False

    def raw(self) -> bytes:
        return b"".join([_ASKING + each for each in self.wanted.commands] if self.is_asking else self.wanted.commands)

    def count(self) -> int:
        return len(self.wanted.commands) * (2 if self.is_asking else 1)


@dataclass(frozen=True, slots=True)
class NodeLimits:
    """Of each node's breaker. least_s: a read that had less time than this says nothing. late_s: how late the loop has been lately."""

    breaker: BreakerLimits
    least_s: float
    late_s: Callable[[], float] = lambda: 0.0


Answer = list[Any] | ReadOutcome
"""The replies to the commands of one key, or why there are none. A command behind the first may have been refused alone."""


class AskedReplies(list[Any]):
    """Replies of a node that does not own the slot yet (ASK). It proves nothing and may tell no change: what it says is not kept."""


class ClusterClient:
    """Belongs to the event loop it was started on. masters, slots: as the cluster was last seen; a slot without a node has None."""

    def __init__(
        self,
        endpoints: RedisEndpoints,
        *,
        greet: Callable[[RedisConnection], Awaitable[None]] | None = None,
        pushed: Callable[[Any], None] | None = None,
        unsure: Callable[[], None] = lambda: None,
        limits: NodeLimits | None = None,
    ) -> None:
        """greet, pushed: see RedisLink. unsure: called when slots may have got another owner, or a connection is lost. limits: of the
        breaker that each node gets; None for none."""
        self._endpoints, self._greet, self._pushed, self._unsure = endpoints, greet, pushed, unsure
        self._limits = limits
        self._guards: dict[RedisLink, Guard] = {}
        self._wanted: set[NodePlace] = set()
        self.links: dict[NodePlace, RedisLink] = {}
        self.shards: tuple[Shard, ...] = ()
        self.slots: list[RedisLink | None] = [None] * SLOTS
        self._replicas: dict[RedisLink, tuple[RedisLink, ...]] = {}
        self._refreshing: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._is_stale = self._is_closed = self._is_absence_told = False
        self._quiet_until_s = 0.0
        self.retries, self._rng = RetryBudget(), random.Random()  # noqa: S311  # nosec B311  # spreads reads, hides nothing

    async def start(self) -> None:
        """Read the map and connect to every node; what fails is tried again in the background."""
        if not await self._read_map() or not self._is_whole():
            self.refresh()

    async def close(self) -> None:
        """Close all connections."""
        self._is_closed = True
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.gather(self._refreshing, return_exceptions=True)
        await asyncio.gather(*self._closing, *(link.close() for link in self.links.values()), return_exceptions=True)

    def refresh(self) -> None:
        """Read the map again, in the background."""
        self._is_stale = True
        if not self._is_closed and (self._refreshing is None or self._refreshing.done()):
            self._refreshing = asyncio.get_running_loop().create_task(self._refresh())

    def masters(self) -> list[RedisLink]:
        """The links to the nodes that have slots."""
        return [self.links[shard.master] for shard in self.shards if shard.master in self.links]

    def link_for(self, slot: int) -> RedisLink | None:
        """Where a read of this slot goes: to its master; if replicas are read, to any node of its shard that is connected and whose breaker
        lets a read pass. A node that is left alone gets a few reads after its cooldown, so that it comes back."""
        link = self.slots[slot]
        if link is None or not self._endpoints.reads_replicas:
            return link
        now_s = time.monotonic()
        usable = [each for each in (link, *self._replicas.get(link, ())) if self._is_usable(each, now_s)]
        return self._rng.choice(usable) if usable else link

    def _is_usable(self, link: RedisLink, now_s: float) -> bool:
        guard = self._guards.get(link)
        return link.connection is not None and (guard is None or guard.would_ask(now_s))

    def node_states(self) -> Mapping[str, BreakerState]:
        """The breaker of each node that the map names, by its place in the map: `features/shard-1/master`, `features/shard-1/replica-2`.

        Shards are numbered in the order of their slots, so the names are as many as the cluster has nodes, whatever addresses they have."""
        found: dict[str, BreakerState] = {}
        for number, shard in enumerate(sorted(self.shards, key=lambda each: each.ranges[0]), 1):
            places = {"master": shard.master} | {f"replica-{n}": place for n, place in enumerate(sorted(shard.replicas), 1)}
            for role, place in places.items():
                guard = self._guards.get(self.links[place]) if place in self.links else None
                if guard is not None:
                    found[f"features/shard-{number}/{role}"] = guard.breaker.state
        return found

    async def run(self, wanted: Sequence[KeyCommands], until_s: float, given_s: float = 0.0) -> list[Answer]:
        """Send every key's commands to its node, all nodes at once, and follow redirections, until a monotonic time at most.

        given_s: the time that the whole read has, for the nodes' breakers. An answer for each, in their order."""
        answers: list[Answer] = [ReadOutcome.NO_CONNECTION] * len(wanted)
        going = [_Unit(place, each, self.link_for(each.slot)) for place, each in enumerate(wanted)]
        for hop in range(_HOPS + 1):
            by_link: dict[RedisLink, list[_Unit]] = {}
            for unit in going:
                if unit.link is not None:
                    by_link.setdefault(unit.link, []).append(unit)
                elif hop == 0:
                    self.refresh()
            sent = [self._send(link, units, until_s, given_s) for link, units in by_link.items()]
            replies = [await sent[0]] if len(sent) == 1 else await asyncio.gather(*sent)
            going = []
            for (link, units), reply in zip(by_link.items(), replies, strict=True):
                going += self._sort(link, units, reply, answers)
            if not going or time.monotonic() >= until_s:
                break
            if any(unit.link is None for unit in going):  # TRYAGAIN
                await asyncio.sleep(_AGAIN_S)
                for unit in going:
                    unit.link = unit.link or self.slots[unit.wanted.slot]
        return answers

    async def _send(self, link: RedisLink, units: Sequence[_Unit], until_s: float, given_s: float) -> Replies:
        connection = link.connection
        if connection is None and any(
            unit.is_redirected for unit in units
        ):  # a node that was not known: it is being connected to
            await link.is_back(until_s)
            connection = link.connection
        if connection is None:
            return ReadOutcome.NO_CONNECTION
        left_s = until_s - time.monotonic()
        if left_s <= 0:
            return ReadOutcome.TIMED_OUT
        raw, count = b"".join([unit.raw() for unit in units]), sum([unit.count() for unit in units])
        had_s = given_s if left_s >= given_s / 2 else left_s  # what went by before is the read's own work
        return await self.ask(link, connection, raw, count, left_s, had_s)

    async def ask(
        self, link: RedisLink, connection: RedisConnection, raw: bytes, count: int, timeout_s: float, had_s: float
    ) -> Replies:
        """Ask one node, unless its breaker is open. A node that answers too late too often is left alone, and only it. had_s: the time
        that it is judged by."""
        guard, limits, start_s = self._guards.get(link), self._limits, time.monotonic()
        ticket = guard.ask(start_s) if guard is not None else None
        if guard is not None and ticket is None:
            return ReadOutcome.NOT_ASKED
        try:
            replies: Replies = await connection.ask(raw, count, timeout_s)
            self.retries.earn()
            if replies is ReadOutcome.LOST:
                replies = await link.ask_again(raw, count, start_s + timeout_s)
        except BaseException:
            if guard is not None and ticket is not None:
                guard.unused(ticket)
            raise
        if guard is not None and ticket is not None and limits is not None:
            now_s = time.monotonic()
            if type(replies) is list:
                guard.succeeded(ticket, max(now_s - start_s - limits.late_s(), 0.0), now_s)
            elif replies is ReadOutcome.TIMED_OUT and had_s >= limits.least_s and limits.late_s() <= timeout_s / 2:
                guard.failed(ticket, now_s - start_s, now_s)
            else:  # a lost connection is opened again, and a short time says nothing
                guard.unused(ticket)
        return replies

    def _sort(self, link: RedisLink, units: Sequence[_Unit], replies: Replies, answers: list[Answer]) -> list[_Unit]:
        """Note the answers of one node; gives the units that have to go elsewhere."""
        again, at = [], 0
        for unit in units:
            if isinstance(replies, ReadOutcome):
                answers[unit.place] = replies
                continue
            own = replies[at : at + unit.count()]
            at += unit.count()
            own = AskedReplies(own[1::2]) if unit.is_asking else own
            refusal = next((reply for reply in own if isinstance(reply, ReplyError)), None)
            if refusal is None or (own[0] is not refusal and redirect_of(str(refusal), "")[0] is Redirect.REFUSED):
                answers[unit.place] = own
            else:
                answers[unit.place] = ReadOutcome.FAILED
                if (redirected := self._redirected(link, unit, str(refusal))) is not None:
                    again.append(redirected)
        return again

    def _redirected(self, link: RedisLink, unit: _Unit, message: str) -> _Unit | None:
        """The unit as it goes on, or None if it ends here."""
        meaning, place = redirect_of(message, _host_of(link))
        if meaning is Redirect.REFUSED or meaning is Redirect.UNAVAILABLE:
            self._log_refusal(link, message)
            if meaning is Redirect.UNAVAILABLE:
                self._unsure()
                self.refresh()
            return None
        if meaning is Redirect.AGAIN or place is None:
            return _Unit(unit.place, unit.wanted, None, is_redirected=True)
        target = self.links.get(place) or self._open(place)
        if meaning is Redirect.MOVED:
            self.slots[unit.wanted.slot] = target
            self._unsure()
            self.refresh()
        return _Unit(unit.place, unit.wanted, target, meaning is Redirect.ASK, is_redirected=True)

    def _log_refusal(self, link: RedisLink, message: str) -> None:
        now_s = time.monotonic()
        if now_s >= self._quiet_until_s:
            self._quiet_until_s = now_s + _QUIET_S
            log.warning("features: %s refused a read (logged at most once in %d s): %s", link.name, _QUIET_S, message)

    def _address(self, place: NodePlace) -> Address:
        ends = self._endpoints
        return Address(place[0], place[1], 0, ends.username, ends.password, ends.is_tls)

    def _open(self, place: NodePlace) -> RedisLink:
        """A link to this node, which begins to connect."""
        address = self._address(place)

        async def find() -> Address:
            return address

        async def greet(connection: RedisConnection) -> None:
            if self._endpoints.reads_replicas:
                await connection.ask(command("READONLY"), 1, CONNECT_S)
            if self._greet is not None:
                await self._greet(connection)

        made = self.links[place] = RedisLink(
            find,
            f"the Redis node {place[0]}:{place[1]}",
            greet=greet,
            pushed=self._pushed,
            lost=self._lost,
            retries=self.retries,
        )
        if self._limits is not None:
            instead = "other nodes of its shard are read" if self._endpoints.reads_replicas else "its rows get defaults"
            self._guards[made] = Guard(made.name, self._limits.breaker, instead=instead, changed=_log_change)
        made.connect()
        return made

    def _lost(self) -> None:
        self._unsure()
        self.refresh()

    async def _refresh(self) -> None:
        attempt = 0
        while self._is_stale or not self._is_whole():
            self._is_stale = False
            if not await self._read_map():
                self._is_stale = True
            if self._is_stale or not self._is_whole():
                await asyncio.sleep(PAUSE_S[min(attempt, len(PAUSE_S) - 1)])
                attempt += 1

    def _is_whole(self) -> bool:
        """Whether every slot has a master that is connected."""
        return None not in self.slots and all(link.connection is not None for link in self.masters())

    async def _read_map(self) -> bool:
        """Read the map from any node that gives one, in random order: one that was cut off would tell of the past again and again."""
        connected = [(place, link.connection) for place, link in self.links.items() if link.connection is not None]
        self._rng.shuffle(connected)
        for place, connection in connected:
            if connection is not None and await self._use_map(place, await connection.ask(_SLOTS, 1, CONNECT_S)):
                return True
        problems = []
        for place in [place for place in (*self._endpoints.hosts, *self.links) if place not in dict(connected)]:
            try:
                seed = await connect(self._address(place), lambda _: None, CONNECT_S)
            except (OSError, TimeoutError) as problem:
                problems.append(f"{place[0]}:{place[1]}: {problem or type(problem).__name__}")
                continue
            try:
                if await self._use_map(place, await seed.ask(_SLOTS, 1, CONNECT_S)):
                    return True
            finally:
                seed.close()
        if problems and not self.links and not self._is_absence_told:  # later each link says why it has no connection
            self._is_absence_told = True
            log.warning(
                "features: cannot connect to a node of the Redis Cluster, which is tried again: %s", "; ".join(problems)
            )
        return False

    async def _use_map(self, place: NodePlace, replies: Replies) -> bool:
        if isinstance(replies, ReadOutcome):
            return False
        try:
            shards = shards_of(replies[0], place[0]) if not isinstance(replies[0], ReplyError) else ()
        except ValueError as problem:
            log.warning("features: the Redis node %s:%s: %s", *place, problem)
            return False
        if not shards:
            self._log_no_map(place, replies[0])
            return False
        if shards != self.shards:
            self._unsure()
        self._put_to_use(shards)
        opening = [link for link in self.links.values() if link.connection is None]
        until_s = time.monotonic() + CONNECT_S
        await asyncio.gather(*(link.is_back(until_s) for link in opening))
        return True

    def _log_no_map(self, place: NodePlace, reply: object) -> None:
        now_s = time.monotonic()
        if now_s >= self._quiet_until_s:
            self._quiet_until_s = now_s + _QUIET_S
            log.warning("features: the Redis node %s:%s has no map of slots: %s", *place, reply if reply else "no slots")

    def _put_to_use(self, shards: tuple[Shard, ...]) -> None:
        """Have these owners from now on, and close the links that nobody needs any more."""
        slots: list[RedisLink | None] = [None] * SLOTS
        replicas: dict[RedisLink, tuple[RedisLink, ...]] = {}
        wanted: set[NodePlace] = set()
        for shard in shards:
            places = (shard.master, *shard.replicas) if self._endpoints.reads_replicas else (shard.master,)
            wanted.update(places)
            master, *others = (self.links.get(place) or self._open(place) for place in places)
            replicas[master] = tuple(others)
            for first, last in shard.ranges:
                slots[first : last + 1] = [master] * (last + 1 - first)
        self.shards, self.slots, self._replicas = shards, slots, replicas
        self._wanted = wanted
        for place in self.links.keys() - wanted:
            asyncio.get_running_loop().call_later(_KEPT_S, self._close_unwanted, place, self.links[place])

    def _close_unwanted(self, place: NodePlace, link: RedisLink) -> None:
        if place in self._wanted or self.links.get(place) is not link or self._is_closed:
            return
        del self.links[place]
        self._guards.pop(link, None)
        task = asyncio.get_running_loop().create_task(link.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _log_change(guard: Guard, before: BreakerState) -> None:
    if guard.breaker.state is BreakerState.OPEN and before is BreakerState.CLOSED:
        log.warning("features: %s is not asked for now: %s; %s", guard.dependency, guard.breaker.why, guard.instead)


def _host_of(link: RedisLink) -> str:
    return link.name.rpartition(" ")[2].rpartition(":")[0]
