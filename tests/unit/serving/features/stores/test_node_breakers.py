"""The breakers of single nodes of a Redis Cluster: a replica that is slow is not read from, and each node is named by its place."""

from types import SimpleNamespace

import pytest

from serving.features.stores.addresses import endpoints_of
from serving.features.stores.cluster.client import AskedReplies, ClusterClient, NodeLimits
from serving.features.stores.cluster.slot_map import SLOTS, Shard
from serving.features.stores.cluster.store import ClusterStore, _row
from serving.features.stores.redis import RedisCommand
from serving.resilience.breaker import BreakerLimits, BreakerState

MASTER, REPLICAS = ("127.0.0.1", 1), (("127.0.0.1", 3), ("127.0.0.1", 2))
OTHER = ("127.0.0.1", 9)
SHARDS = (Shard(OTHER, (), ((8000, SLOTS - 1),)), Shard(MASTER, REPLICAS, ((0, 7999),)))


@pytest.fixture
async def client():
    """Of a cluster whose nodes are all connected; nothing is sent. Nobody listens on its ports."""
    limits = BreakerLimits(slow_s=1.0, least_calls=3, cooldown_s=1000.0, most_cooldown_s=1000.0)
    client = ClusterClient(endpoints_of("redis+cluster://127.0.0.1:1?read_from_replicas=true"), limits=NodeLimits(limits, 0.01))
    client._put_to_use(SHARDS)
    for link in client.links.values():
        link.connection = SimpleNamespace(close=lambda *_: None)
    yield client
    await client.close()


def time_out(client, place, times=3):
    guard = client._guards[client.links[place]]
    for _ in range(times):
        guard.failed(guard.ask(0.0), 0.05, 0.0)
    return guard


def read_from(client, slot=5):
    """The ports that reads of a slot go to."""
    return {client.link_for(slot).name.rpartition(":")[2] for _ in range(200)}


async def test_reads_go_to_every_node_of_the_shard_while_all_are_well(client):
    assert read_from(client) == {"1", "2", "3"}
    assert read_from(client, SLOTS - 1) == {"9"}


async def test_a_replica_that_timed_out_too_often_gets_no_reads_and_comes_back_by_a_few(client, monkeypatch):
    guard = time_out(client, ("127.0.0.1", 2))
    monkeypatch.setattr("serving.features.stores.cluster.client.time.monotonic", lambda: 1.0)
    assert read_from(client) == {"1", "3"}
    due_s = guard.breaker.until_s
    monkeypatch.setattr("serving.features.stores.cluster.client.time.monotonic", lambda: due_s)
    assert "2" in read_from(client), "after its cooldown it is tried"
    for _ in range(guard.breaker.limits.probes):
        assert guard.ask(due_s) is not None
    assert read_from(client) == {"1", "3"}, "by as many reads as its breaker lets pass"


async def test_a_master_that_timed_out_too_often_leaves_reads_to_its_replicas(client, monkeypatch):
    time_out(client, MASTER)
    monkeypatch.setattr("serving.features.stores.cluster.client.time.monotonic", lambda: 1.0)
    assert read_from(client) == {"2", "3"}
    for place in REPLICAS:
        time_out(client, place)
    assert read_from(client) == {"1"}, "where no node may be asked, the master's breaker says so"


async def test_nodes_are_named_by_their_place_and_not_by_their_address(client):
    time_out(client, ("127.0.0.1", 3))
    assert client.node_states() == {
        "features/shard-1/master": BreakerState.CLOSED,
        "features/shard-1/replica-1": BreakerState.CLOSED,
        "features/shard-1/replica-2": BreakerState.OPEN,
        "features/shard-2/master": BreakerState.CLOSED,
    }


def test_what_a_node_said_by_ask_is_used_and_not_kept():
    group = RedisCommand(b"", b"", 0, 1, asks_expiry=True)
    start_s = 5.0
    cells, _, memo = _row(group, [[b"x"], -1], start_s, [])
    assert (cells, memo.until_s > start_s) == ([b"x"], True)
    cells, _, memo = _row(group, AskedReplies([[b"x"], -1]), start_s, [])
    assert (cells, memo.until_s) == ([b"x"], start_s)


class _Fading:
    """A link that is lost after it was looked at once."""

    def __init__(self, lag_s):
        self._there = [SimpleNamespace(lag_s=lag_s)]

    @property
    def connection(self):
        return self._there.pop() if self._there else None


def test_a_connection_that_is_lost_while_a_thread_asks_for_the_lag_fails_no_page_of_metrics(monkeypatch):
    store = ClusterStore("redis+cluster://127.0.0.1:1")
    monkeypatch.setattr(store.client, "masters", lambda: [_Fading(0.25), _Fading(0.5), SimpleNamespace(connection=None)])
    assert store.lag_s() == 0.5
