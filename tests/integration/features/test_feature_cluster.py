"""A real Redis Cluster: slots that move under reads, nodes that die, and rows kept in memory. No answer is ever wrong."""

import asyncio
import random
import time

import pytest

from serving.features.near.near_cache import NearCache
from serving.features.near.near_store import NearPrepared, NearStore
from serving.features.plan.feature_plan import PartlyRead
from serving.features.stores.cluster.client import ClusterClient, KeyCommands, NodeLimits
from serving.features.stores.cluster.slot_map import slot_of
from serving.features.stores.cluster.store import ClusterStore
from serving.features.stores.redis import RedisCommand
from serving.features.stores.redis_wire import command
from serving.ports import ReadOutcome
from serving.resilience.breaker import BreakerLimits
from tests.fakes.redis_many.redis_cluster import HURRIED_MS, RedisClusterServers, client_of
from tests.fakes.redis_server import PROGRAM
from tests.waiting import HANG_S, until_so

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(PROGRAM is None, reason="redis-server is not installed; `make services` installs it"),
]

PREPARED = (RedisCommand(b"*3\r\n$5\r\nHMGET\r\n", b"\r\n$1\r\nf\r\n", 0, 1),)
KEYS = [b"key:%d" % number for number in range(200)]


@pytest.fixture(scope="module")
def servers():
    servers = RedisClusterServers(replicas=1, down_ms=HURRIED_MS)
    with servers.client() as client:
        for key in KEYS:
            client.hset(key, "f", key)
    yield servers
    servers.stop()


@pytest.fixture
async def store(servers):
    store = ClusterStore(servers.url)
    await store.start()
    yield store
    await store.close()


async def read(store, keys=KEYS, timeout_s=HANG_S):
    """The one field of each key, or how the read failed."""
    found = await store.fetch(PREPARED, [keys], timeout_s)
    return found if isinstance(found, ReadOutcome) else [row[0][0] for row in found[0]]


async def test_keys_of_all_nodes_come_with_one_read_and_absent_ones_are_none(store):
    assert await read(store) == KEYS
    assert await read(store, [KEYS[0], b"absent", KEYS[1]]) == [KEYS[0], None, KEYS[1]]
    assert [await read(store, [key]) for key in KEYS[:9]] == [[key] for key in KEYS[:9]]
    assert len(store.client.masters()) == 3


def test_slots_are_those_of_redis(servers):
    rng = random.Random(1)
    names = [bytes(rng.choices(b"{}ab\x00\xff", k=rng.randint(1, 9))) for _ in range(300)]
    with client_of(servers.nodes[0]) as client:
        assert [client.execute_command("CLUSTER KEYSLOT", name) for name in names] == [slot_of(name) for name in names]


async def test_a_map_that_is_wrong_is_mended_by_redirections(store):
    masters = store.client.masters()
    store.client.slots = [masters[0]] * len(store.client.slots)
    assert [await read(store, [key]) for key in KEYS[:30]] == [[key] for key in KEYS[:30]]
    store.client.slots = [masters[1]] * len(store.client.slots)
    assert await read(store) == KEYS


async def test_an_error_of_one_key_costs_that_key(store, servers):
    with servers.client() as client:
        client.set("text", "x")
    found = await store.fetch(PREPARED, [[b"text", KEYS[0]]], HANG_S)
    assert isinstance(found, PartlyRead)
    assert (found[0][1][0], found.outcome, found.is_nothing) == ([KEYS[0]], ReadOutcome.FAILED, False)
    alone = await store.fetch(PREPARED, [[b"text"]], HANG_S)
    assert isinstance(alone, PartlyRead)
    assert alone.is_nothing


async def test_replicas_are_read_if_that_is_asked_for(servers):
    store = ClusterStore(f"{servers.url}?read_from_replicas=true")
    await store.start()
    try:
        await until_so(lambda: len([link for link in store.client.links.values() if link.connection is not None]) == 6)

        async def are_all_there():
            return await read(store) == KEYS

        await until_so(are_all_there)  # replicas may be behind
        reads = [client_of(node).info("commandstats").get("cmdstat_hmget", {"calls": 0})["calls"] for node in servers.nodes]
        for _ in range(5):
            assert await read(store) == KEYS
        after = [client_of(node).info("commandstats").get("cmdstat_hmget", {"calls": 0})["calls"] for node in servers.nodes]
        assert sum(later > before for before, later in zip(reads, after, strict=True)) > 3
    finally:
        await store.close()


async def test_a_replica_that_hangs_costs_a_few_reads_and_then_none(servers):
    limits = BreakerLimits(slow_s=HANG_S, least_calls=3, cooldown_s=HANG_S, most_cooldown_s=HANG_S)
    store = ClusterStore(f"{servers.url}?read_from_replicas=true", limits=NodeLimits(limits, 0.02))
    await store.start()
    await until_so(lambda: len([link for link in store.client.links.values() if link.connection is not None]) == 6)
    master = store.client.slots[slot_of(KEYS[0])]
    (replica,) = store.client._replicas[master]
    node = servers.node_of(int(replica.name.rpartition(":")[2]))
    node.pause()
    try:
        lost = 0
        while store.client._guards[replica].is_closed and replica.connection is not None:
            lost += isinstance(await store.fetch(PREPARED, [[KEYS[0]]], 0.02), PartlyRead)
        assert lost <= 3
        assert [await read(store, [KEYS[0]]) for _ in range(30)] == [[KEYS[0]]] * 30
    finally:
        node.resume()
        await store.close()


@pytest.mark.parametrize("is_kept", [False, True], ids=["read from Redis", "rows kept"])
async def test_a_slot_that_moves_under_reads_gives_no_wrong_value_and_no_failure(servers, is_kept):
    cache = NearCache(1_000_000) if is_kept else None
    source = ClusterStore(servers.url, cache)
    store = source
    prepared = PREPARED
    if cache is not None:
        store = NearStore(source, cache, source)
        prepared = NearPrepared(PREPARED, source.for_keeping(PREPARED), (1,), b"")
    await source.start()
    tag = "moving" if is_kept else "going"
    names = [b"{%b}:%d" % (tag.encode(), number) for number in range(8)]
    with servers.client() as writer:
        for name in names:
            writer.hset(name, "f", b"0")
        written, checked, is_over = 0, 0, False

        async def reads():
            nonlocal checked
            while not is_over:
                least = written
                found = await store.fetch(prepared, [[*names, b"{%b}:absent" % tag.encode(), *KEYS[:5]]], HANG_S)
                assert type(found) is list, found
                values = [row[0][0] for row in found[0]]
                assert values[len(names) :] == [None, *KEYS[:5]]
                bound = least if cache is None else 0  # a row that is kept may be behind by its bound
                assert all(bound <= int(value) <= written + 1 for value in values[: len(names)])
                checked += 1

        reading = [asyncio.ensure_future(reads()) for _ in range(4)]

        async def go_on():
            nonlocal written
            for name in names:
                await asyncio.to_thread(writer.hset, name, "f", b"%d" % (written + 1))
            written += 1
            seen = checked
            await until_so(lambda: checked >= seen + 4 or any(each.done() for each in reading))

        try:
            await servers.migrate(slot_of(names[0]), go_on)
        finally:
            is_over = True
            await asyncio.gather(*reading)
        assert written > len(names)

        async def is_new():
            found = await store.fetch(prepared, [names], HANG_S)
            return [row[0][0] for row in found[0]] == [b"%d" % written] * len(names)

        await until_so(is_new)
    await store.close()


async def test_rows_in_memory_are_true_after_a_write_and_absent_ones_are_not_kept(servers):
    cache = NearCache(1_000_000)
    source = ClusterStore(servers.url, cache)
    near = NearStore(source, cache, source)
    prepared = NearPrepared(PREPARED, source.for_keeping(PREPARED), (1,), b"")
    await source.start()
    await until_so(source.is_following)

    async def is_hit():
        before = cache.hits
        assert (await near.fetch(prepared, [[b"kept"]], HANG_S))[0][0][0][0] == value
        return cache.hits > before

    with servers.client() as client:
        for value in (b"1", b"2", b"3"):
            client.hset("kept", "f", value)
            if value != b"1":  # until the change is told
                await until_so(lambda: cache._rows.get(b"kept") is None)
            await until_so(is_hit)
    hits = cache.hits
    for _ in range(20):
        assert (await near.fetch(prepared, [[b"nothing"]], HANG_S))[0][0][0][0] is None
    assert cache.hits == hits
    await near.close()


async def test_what_is_read_by_ask_is_not_kept(servers):
    """The node that has it already, and not its slot yet, is not asked for proofs: if it hung, nobody would notice."""
    cache = NearCache(1_000_000)
    source = ClusterStore(servers.url, cache)
    near = NearStore(source, cache, source)
    prepared = NearPrepared(PREPARED, source.for_keeping(PREPARED), (1,), b"")
    await source.start()
    name, stage = b"asked-for", 0

    async def is_proven():
        return source.is_following() and source.is_current(time.monotonic())

    async def reads():
        nonlocal stage
        stage += 1
        if stage == 2:  # moved, and the slot is not
            await until_so(lambda: cache._rows.get(name) is None)
            hits = 0
            for _ in range(20):
                await until_so(is_proven)
                before = cache.hits
                assert (await near.fetch(prepared, [[name]], HANG_S))[0][0][0] == [b"1"]
                hits += cache.hits - before
            assert hits == 0

    with servers.client() as client:
        client.hset(name, "f", b"1")
    for _ in range(3):
        await until_so(is_proven)
        assert (await near.fetch(prepared, [[name]], HANG_S))[0][0][0] == [b"1"]
    assert cache.hits
    await servers.migrate(slot_of(name), reads)
    assert stage > 2
    await near.close()


async def test_a_user_who_may_only_read_features_reads_them_and_keeps_none(servers, caplog):
    for node in servers.nodes:
        with node.client() as client:
            rights = ("~key:*", "+@read", "+@connection", "+cluster|slots", "-pttl")
            client.execute_command("ACL", "SETUSER", "narrow", "on", ">pw", *rights)
    cache = NearCache(1_000_000)
    source = ClusterStore(servers.url.replace("://", "://narrow:pw@"), cache)
    near = NearStore(source, cache, source)
    prepared = NearPrepared(PREPARED, source.for_keeping(PREPARED), (1,), b"")
    await source.start()
    await until_so(source.is_following)
    found = await source.fetch(source.for_keeping(PREPARED), [KEYS], HANG_S)
    assert (type(found), [row[0][0] for row in found[0]]) == (list, KEYS), "when they expire is not known, what they are is"

    async def is_off():
        found = await near.fetch(prepared, [KEYS], HANG_S)
        assert [row[0][0] for row in found[0]] == KEYS
        return not source.is_following()

    await until_so(is_off)
    assert "NOPERM" in caplog.text
    await near.close()


async def test_rows_in_memory_are_dropped_when_a_master_steps_down_though_it_lives_on(servers):
    """It answers a PING, and would tell of nothing that its successor takes."""
    cache = NearCache(1_000_000)
    source = ClusterStore(servers.url, cache)
    near = NearStore(source, cache, source)
    prepared = NearPrepared(PREPARED, source.for_keeping(PREPARED), (1,), b"")
    await source.start()
    await until_so(source.is_following)

    async def value():
        found = await near.fetch(prepared, [[b"stepping"]], HANG_S)
        return found[0][0][0][0] if type(found) is list else None

    with servers.client() as client:
        client.hset("stepping", "f", b"before")

        async def is_hit():
            hits = cache.hits
            assert await value() == b"before"
            return cache.hits > hits

        await until_so(is_hit)
        place = next(
            s for s in source.client.shards if source.client.slots[slot_of(b"stepping")] is source.client.links[s.master]
        )
        successor = servers.node_of(servers.replica_of(place.master[1]))
        with successor.client() as node:
            node.execute_command("CLUSTER FAILOVER")
            await until_so(lambda: node.execute_command("ROLE")[0] == b"master")
            node.hset("stepping", "f", b"after")

        async def is_new():
            return await value() == b"after"

        await until_so(is_new)
        for _ in range(50):
            assert await value() == b"after"
    await near.close()


async def test_a_node_that_hangs_costs_its_keys_their_time_and_the_others_nothing(servers, store):
    port, _ = next(iter(servers.masters().items()))
    node = servers.node_of(port)
    link = store.client.links["127.0.0.1", port]
    theirs = [key for key in KEYS if store.client.slots[slot_of(key)] is link]
    others = [key for key in KEYS if key not in theirs]
    node.pause()
    try:
        found = await store.fetch(PREPARED, [[*theirs, *others]], 0.05)
        assert isinstance(found, PartlyRead)
        assert [row[0][0] for row in found[0]] == [None] * len(theirs) + others
        assert found.outcome in {ReadOutcome.TIMED_OUT, ReadOutcome.NO_CONNECTION}
        assert await read(store, others) == others
    finally:
        node.resume()

    async def is_well():
        return await read(store) == KEYS

    await until_so(is_well)


@pytest.mark.parametrize("rows", [1, 2])
async def test_a_node_that_answers_too_late_is_left_alone_and_only_it(servers, rows):
    limits = BreakerLimits(slow_s=HANG_S, least_calls=3, cooldown_s=0.5, most_cooldown_s=0.5)
    store = ClusterStore(servers.url, limits=NodeLimits(limits, 0.02))
    await store.start()
    await until_so(store.client._is_whole)
    port, _ = next(iter(servers.masters().items()))
    node, link = servers.node_of(port), store.client.links["127.0.0.1", port]
    theirs = [key for key in KEYS if store.client.slots[slot_of(key)] is link][:rows]
    other = next(key for key in KEYS if store.client.slots[slot_of(key)] is not link)
    node.pause()
    try:
        outcomes = [(await store.fetch(PREPARED, [theirs], 0.02)).outcome for _ in range(4)]
        assert outcomes == [ReadOutcome.TIMED_OUT] * 3 + [ReadOutcome.NOT_ASKED]
        assert await read(store, [other]) == [other]
    finally:
        node.resume()

    async def is_well():
        return await read(store) == KEYS

    await until_so(is_well)
    await store.close()


async def test_a_node_that_dies_costs_its_keys_until_its_replica_takes_over(servers, store):
    masters = servers.masters()
    dead = next(iter(masters))
    theirs = [key for key in KEYS if store.client.slots[slot_of(key)] is store.client.links["127.0.0.1", dead]]
    others = [key for key in KEYS if key not in theirs]

    def has_all(node):
        with client_of(node) as client:
            return client.execute_command("ROLE")[0] == b"master" or client.info("replication")["master_link_status"] == "up"

    await until_so(lambda: all(has_all(node) for node in servers.nodes))
    with servers.client() as client:
        client.wait(1, 5000, target_nodes=client.get_primaries())
    servers.node_of(dead).kill()
    try:
        await until_so(lambda: store.client.links["127.0.0.1", dead].connection is None)
        seen = set()

        async def is_back():
            found = await store.fetch(PREPARED, [[*theirs, *others]], HANG_S)
            values = [row[0][0] for row in found[0]]
            assert values[len(theirs) :] == others, "the other nodes answer all the time"
            assert all(value in {None, key} for value, key in zip(values, theirs, strict=False))
            seen.add(type(found))
            return values == [*theirs, *others]

        await until_so(is_back)
        assert PartlyRead in seen
        assert dead not in {shard.master[1] for shard in store.client.shards}
    finally:
        servers.node_of(dead).start()


async def test_what_is_written_follows_redirections_too(servers):
    from serving.features.stores.addresses import endpoints_of

    client = ClusterClient(endpoints_of(servers.url))
    await client.start()
    await until_so(lambda: None not in client.slots and all(link.connection for link in client.masters()))
    client.slots = [client.masters()[0]] * len(client.slots)
    wanted = [KeyCommands(slot_of(key), (command("HSET", key.decode(), "g", "1"),)) for key in KEYS]
    answers = await client.run(wanted, asyncio.get_running_loop().time() + HANG_S)
    assert set(map(str, answers)) <= {"[1]", "[0]"}
    await client.close()
