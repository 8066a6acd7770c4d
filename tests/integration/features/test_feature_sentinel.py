"""Real sentinels: the master is found by any of them, with logins of its own and theirs, and followed when it is another one."""

import pytest

from serving.features.stores.addresses import endpoints_of
from serving.features.stores.redis import RedisCommand, RedisStore
from serving.features.stores.sentinels import Sentinels
from serving.ports import ReadOutcome
from tests.fakes.redis_many.redis_cluster import HURRIED_MS, SentinelServers, client_of
from tests.fakes.redis_server import PROGRAM
from tests.ports import free_port
from tests.waiting import HANG_S, until_so

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(PROGRAM is None, reason="redis-server is not installed; `make services` installs it"),
]
PREPARED = (RedisCommand(b"*3\r\n$5\r\nHMGET\r\n", b"\r\n$1\r\nf\r\n", 0, 1),)


@pytest.fixture(scope="module")
def servers():
    servers = SentinelServers("requirepass watch", down_ms=HURRIED_MS).ready_with("watch")
    yield servers
    servers.stop()


def url(servers, *sentinels):
    places = ",".join(f"127.0.0.1:{port}" for port in sentinels or [each.port for each in servers.sentinels])
    return f"redis+sentinel://{places}/{servers.name}?sentinel_password=watch"


async def read(store):
    found = await store.fetch(PREPARED, [[b"k"]], HANG_S)
    return found if isinstance(found, ReadOutcome) else found[0][0][0]


async def test_sentinels_that_are_gone_or_refuse_are_passed_over(servers):
    ends = endpoints_of(url(servers, free_port(), servers.master.port, servers.sentinels[2].port))
    found = await Sentinels(ends).find_master()
    assert found.port == servers.master.port


async def test_what_no_sentinel_knows_is_said_with_what_each_said(servers):
    ends = endpoints_of(url(servers).replace(f"/{servers.name}", "/other"))
    with pytest.raises(OSError, match=r"no sentinel knows the master 'other' \(.*knows no master"):
        await Sentinels(ends).find_master()
    with pytest.raises(OSError, match="NOAUTH"):
        await Sentinels(endpoints_of(url(servers).partition("?")[0])).find_master()


async def test_a_user_who_may_only_read_reads_the_master(servers):
    for server in (servers.master, servers.replica):
        with client_of(server) as client:
            client.execute_command("ACL", "SETUSER", "narrow", "on", ">pw", "~*", "+@read", "+ping", "+hello")
    store = RedisStore(url(servers).replace("://", "://narrow:pw@"))
    await store.start()
    assert await read(store) == [None]
    await store.close()


async def test_sentinels_tell_that_the_master_is_another_one(servers):
    """The push alone, for a master that is cut off from the sentinels and not from us."""
    sentinels, told = Sentinels(endpoints_of(url(servers))), []
    sentinels.follow(lambda: told.append(True))
    await until_so(lambda: sentinels.is_following)
    with servers.sentinels[0].client("watch") as client:
        client.sentinel_failover(servers.name)
    await until_so(lambda: told)
    await sentinels.close()
    await until_so(lambda: client_of(servers.replica).execute_command("ROLE")[0] == b"master")
    await until_so(lambda: is_replica(servers.master))


def is_replica(server):
    with client_of(server) as client:
        return client.info("replication").get("master_link_status") == "up"


async def test_a_dead_master_is_left_for_the_one_that_sentinels_name(servers):
    store = RedisStore(url(servers))
    with client_of(servers.replica) as client:  # the master by now
        client.hset("k", "f", "value")
        client.wait(1, 5000)
    await store.start()
    assert await read(store) == [b"value"]
    servers.replica.kill()

    async def is_back():
        return await read(store) == [b"value"]

    await until_so(is_back)
    assert (await store._sentinels.find_master()).port == servers.master.port
    await store.close()
