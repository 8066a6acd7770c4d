"""Connections to a Redis Cluster or to sentinels: with TLS, refused, or to nobody. Why there is none is in the log in plain words."""

import pytest

from serving.features.stores.cluster.store import ClusterStore
from serving.features.stores.redis import RedisCommand, RedisStore
from serving.ports import ReadOutcome
from tests.fakes.certificates import write_certificate
from tests.fakes.redis_many.redis_cluster import PATIENT_MS, RedisClusterServers, SentinelServer, TlsRedisServer
from tests.fakes.redis_server import PROGRAM
from tests.ports import free_port
from tests.waiting import HANG_S, until_so

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(PROGRAM is None, reason="redis-server is not installed; `make services` installs it"),
]
PREPARED = (RedisCommand(b"*3\r\n$5\r\nHMGET\r\n", b"\r\n$1\r\nf\r\n", 0, 1),)
KEYS = [b"key:%d" % number for number in range(30)]


@pytest.fixture
def secret(tmp_path):
    """The folder of a certificate that signs itself."""
    folder = tmp_path / "secret"
    folder.mkdir()
    write_certificate(folder)
    return folder


@pytest.fixture
def other(tmp_path):
    """Of another one, of the same name."""
    folder = tmp_path / "other"
    folder.mkdir()
    write_certificate(folder)
    return folder


async def read(store, keys=KEYS):
    found = await store.fetch(PREPARED, [keys], HANG_S)
    return found if isinstance(found, ReadOutcome) else [row[0][0] for row in found[0]]


def assert_refused_in_plain_words(logged):
    assert "its certificate is not accepted" in logged
    assert "SSL_CERT_FILE" in logged


async def test_tls_and_a_password_are_for_every_node_and_another_authority_is_refused(secret, monkeypatch, other, caplog):
    servers = RedisClusterServers(secret=secret)
    try:
        with servers.client() as client:
            for key in KEYS:
                client.hset(key, "f", key)
        monkeypatch.setenv("SSL_CERT_FILE", str(secret / "tls.crt"))
        store = ClusterStore(servers.url)
        await store.start()
        assert await read(store, KEYS) == KEYS
        await store.close()
        wrong = ClusterStore(servers.url.replace("s%20", "x"))
        await wrong.start()
        assert await read(wrong) is ReadOutcome.NO_CONNECTION
        await wrong.close()
        caplog.clear()
        monkeypatch.setenv("SSL_CERT_FILE", str(other / "tls.crt"))
        strange = ClusterStore(servers.url)
        await strange.start()
        assert await read(strange, KEYS) is ReadOutcome.NO_CONNECTION
        await strange.close()
        assert "cannot connect to a node of the Redis Cluster" in caplog.text
        assert_refused_in_plain_words(caplog.text)
    finally:
        servers.stop()


async def test_no_cluster_at_the_start_is_no_error():
    store = ClusterStore(f"redis+cluster://127.0.0.1:{free_port()}")
    await store.start()
    assert await read(store) is ReadOutcome.NO_CONNECTION
    await store.close()


async def test_a_redis_that_is_no_cluster_degrades_and_says_so(redis_url, caplog):
    store = ClusterStore(redis_url.replace("redis://", "redis+cluster://"))
    await store.start()
    assert await read(store) is ReadOutcome.NO_CONNECTION
    assert "cluster support disabled" in caplog.text
    await store.close()


async def test_sentinels_and_their_master_over_tls_and_another_authority_is_refused(secret, monkeypatch, other, caplog):
    master = TlsRedisServer(secret)
    sentinel = SentinelServer("features", master.port, PATIENT_MS, secret=secret)
    url = f"rediss+sentinel://127.0.0.1:{sentinel.port}/features?sentinel_ssl=true"
    try:
        for authority, expected in ((secret, [None] * 30), (other, ReadOutcome.NO_CONNECTION)):
            monkeypatch.setenv("SSL_CERT_FILE", str(authority / "tls.crt"))
            caplog.clear()
            store = RedisStore(url)
            await store.start()
            assert await read(store) == expected
            if authority is other:
                await until_so(lambda: "cannot connect" in caplog.text)
            await store.close()
        assert_refused_in_plain_words(caplog.text)
    finally:
        sentinel.stop()
        master.stop()
