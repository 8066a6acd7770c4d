"""Stored features in a Redis Cluster, in Feast's layout: each entity's hash is on the node of its slot; all nodes are read at once.

A node that does not answer costs the rows of its keys (`PartlyRead`), not those of others. Rows are kept in memory under stricter rules
than with one Redis: every node must prove, by a read of a key of its own, that it still answers for its slots; any sign that slots may
have another owner drops all rows; and two things are never kept: what is absent, because a slot that moves takes no notice of it, and what
a node said by ASK, because a node without slots is not asked for proofs."""

import logging
import time
from collections.abc import Sequence
from typing import Any

from serving.features.near.near_cache import NearCache
from serving.features.plan.feature_plan import Group, PartlyRead, Row, RowMemo
from serving.features.stores.addresses import endpoints_of
from serving.features.stores.cluster.client import Answer, AskedReplies, ClusterClient, KeyCommands, NodeLimits
from serving.features.stores.cluster.slot_map import name_in, slot_of
from serving.features.stores.redis import (
    BOUND_S,
    NOT_TRACKED,
    PROVE_S,
    RedisCommand,
    for_keeping,
    kept_until_s,
    microseconds,
    prepare_group,
)
from serving.features.stores.redis_link import CONNECT_S, RedisLink, tell
from serving.features.stores.redis_wire import RedisConnection, track
from serving.ports import ReadOutcome

log = logging.getLogger(__name__)


class ClusterStore:
    """Implements plan.Store and ChangeSource. Belongs to the event loop it was started on."""

    decodes = False

    def __init__(self, url: str, near: NearCache | None = None, limits: NodeLimits | None = None) -> None:
        """Read from the cluster at `url`. near: gets every reported change of the read rows. limits: of each node's breaker.

        Raises ValueError if that is no address."""
        endpoints = endpoints_of(url)
        if near is not None and endpoints.reads_replicas:
            log.warning(
                "features: no rows are kept in memory (VEDETTE_FEATURE_NEAR_CACHE_BYTES): replicas are read "
                "(read_from_replicas=true), and they cannot prove how far behind they are"
            )
            near = None
        self._near = near
        self._is_refusal_told = self._is_telling = False
        self._proofs: dict[RedisLink, bytes] = {}
        self.client = ClusterClient(
            endpoints,
            greet=None if near is None else self._track,
            pushed=None if near is None else lambda push: tell(near, push),
            unsure=self._forget_all,
            limits=limits,
        )

    async def start(self) -> None:
        """Connect; what fails is tried again in the background."""
        await self.client.start()

    def prepare(self, project: str, groups: Sequence[Group]) -> tuple[RedisCommand, ...]:
        """Write the commands without the keys."""
        return tuple(prepare_group(project.encode(), group) for group in groups)

    async def fetch(
        self, prepared: tuple[RedisCommand, ...], keys: Sequence[Sequence[bytes]], timeout_s: float
    ) -> list[list[Row]] | ReadOutcome:
        """Read every group, one round trip to each node that has one of the keys."""
        start_s = time.monotonic()
        until_s = start_s + timeout_s
        if len(prepared) == 1 == len(keys[0]) and not prepared[0].asks_expiry:
            row = await self._fetch_one(prepared[0], keys[0][0], timeout_s)
            if row is not None:
                return [[row]]
        wanted = [key_commands(group, key) for group, asked in zip(prepared, keys, strict=True) for key in asked]
        answers = iter(await self.client.run(wanted, until_s, timeout_s))
        found: list[list[Row]] = []
        failures: list[ReadOutcome] = []
        for group, asked in zip(prepared, keys, strict=True):
            found.append([_row(group, next(answers), start_s, failures) for _ in asked])
        if not failures:
            return found
        if all(link.connection is None for link in self.client.links.values()):
            return ReadOutcome.NO_CONNECTION
        return PartlyRead(found, failures[0], is_nothing=len(failures) == len(wanted))

    def for_keeping(self, prepared: Sequence[RedisCommand]) -> tuple[RedisCommand, ...]:
        """See ChangeSource: the same commands, which also ask when a key expires."""
        return for_keeping(prepared)

    def is_following(self) -> bool:
        """See ChangeSource: whether every node pushes changes now."""
        masters = self.client.masters() if self._near is not None else ()
        self._is_telling = bool(masters) and all(
            link.connection is not None and link.connection.is_tracking for link in masters
        )
        return self._is_telling

    def is_current(self, now_s: float) -> bool:
        """See ChangeSource: whether every node told every change until BOUND_S before now_s. Asks for proofs in time."""
        oldest_s = now_s
        for link in self.client.masters():
            connection = link.connection
            if connection is None or not connection.is_tracking:
                return False
            if now_s - connection.proven_s > PROVE_S:
                self._prove(link, connection)
            oldest_s = min(oldest_s, connection.proven_s)
        return now_s - oldest_s <= BOUND_S

    def is_telling(self) -> bool:
        """See ChangeSource: at the last read."""
        return self._is_telling

    def lag_s(self) -> float:
        """See ChangeSource: of the slowest node."""
        connections = [
            link.connection for link in self.client.masters()
        ]  # each is looked at once: the loop may lose it meanwhile
        return max((one.lag_s for one in connections if one is not None), default=0.0)

    async def close(self) -> None:
        """Close the connections and stop connecting."""
        await self.client.close()
        self._forget_all()

    async def _fetch_one(self, group: RedisCommand, key: bytes, timeout_s: float) -> Row | None:
        """The usual request: one entity. None if it does not succeed at once; then it is read with all care, in the time that is left."""
        link = self.client.link_for(slot_of(key + group.tail[: group.project_bytes]))
        if link is None or link.connection is None:
            return None
        raw = b"%b$%d\r\n%b%b" % (group.head, len(key) + group.project_bytes, key, group.tail)
        replies = await self.client.ask(link, link.connection, raw, 1, timeout_s, timeout_s)
        if type(replies) is not list or type(reply := replies[0]) is not list:
            return None
        return reply, microseconds(*reply[group.cells :])

    def _prove(self, link: RedisLink, connection: RedisConnection) -> None:
        """Ask the node for a key of one of its slots: a node that has lost them refuses, and a PING it would still answer."""
        if connection.is_idle:
            asked = connection.ask(self._proof_of(link), 1, CONNECT_S)
            asked.add_done_callback(lambda done: self._judge(connection, done.result()))

    def _proof_of(self, link: RedisLink) -> bytes:
        if link not in self._proofs:
            shard = next(shard for shard in self.client.shards if self.client.links.get(shard.master) is link)
            name = name_in(shard)
            self._proofs[link] = b"*2\r\n$6\r\nEXISTS\r\n$%d\r\n%b\r\n" % (len(name), name)
        return self._proofs[link]

    def _judge(self, connection: RedisConnection, replies: object) -> None:
        """A node whose user may not read the key can never prove anything: nothing is kept then."""
        if type(replies) is not list or type(replies[0]) is int:
            return
        self._forget_all()
        if str(replies[0]).startswith("NOPERM"):
            connection.is_tracking = False
            self._tell_refusal(str(replies[0]))
        else:
            self.client.refresh()

    async def _track(self, connection: RedisConnection) -> None:
        refused = await track(connection, CONNECT_S)
        if refused is not None and connection.is_open:
            self._tell_refusal(refused)

    def _tell_refusal(self, refused: str) -> None:
        if not self._is_refusal_told:
            self._is_refusal_told = True
            log.warning(NOT_TRACKED, refused)

    def _forget_all(self) -> None:
        self._proofs.clear()
        if self._near is not None:
            self._near.flush("lost")


def key_commands(group: RedisCommand, key: bytes) -> KeyCommands:
    """What is asked for one key."""
    project, size = group.tail[: group.project_bytes], len(key) + group.project_bytes
    read = b"%b$%d\r\n%b%b" % (group.head, size, key, group.tail)
    name = key + project
    if not group.asks_expiry:
        return KeyCommands(slot_of(name), (read,))
    return KeyCommands(slot_of(name), (read, b"*2\r\n$4\r\nPTTL\r\n$%d\r\n%b\r\n" % (size, name)))


def _row(group: RedisCommand, answer: Answer, start_s: float, failures: list[ReadOutcome]) -> Row:
    """The row of an answer; one without values if there is none, and then why goes to failures."""
    cells: Any = None if isinstance(answer, ReadOutcome) else answer[0]
    if type(cells) is not list:
        failures.append(answer if isinstance(answer, ReadOutcome) else ReadOutcome.FAILED)
        return [None] * group.cells, (0,) * group.views
    stamps = microseconds(*cells[group.cells :])
    if not group.asks_expiry or isinstance(answer, ReadOutcome):
        return cells, stamps
    is_not_kept = isinstance(answer, AskedReplies) or cells.count(None) == len(cells)
    return cells, stamps, RowMemo(start_s if is_not_kept else kept_until_s(start_s, answer[1]))
