"""The Redis connection without a Redis: addresses, and what a broken reply or a server that hangs costs."""

import asyncio
import ssl

import pytest

from serving.features.stores import redis, redis_wire
from serving.features.stores.redis_link import RedisLink
from serving.features.stores.redis_wire import Address, connect, track
from tests.fakes.certificates import write_certificate
from tests.waiting import until_so


@pytest.mark.parametrize(
    "url",
    [
        "redis://:s3cret@host/abc",
        "http://user:s3cret@host",
        "redis://user:s3cret@host:port/1",
        "redis://:s3/s3cret@host/1",
        "redis://user:s3#s3cret@host/1",
        "redis://user:s3cret@host/²",
    ],
)
def test_an_address_that_is_refused_keeps_its_password_to_itself(url):
    with pytest.raises(ValueError, match=r"\*\*\*@host") as caught:
        Address.of(url)
    assert "s3" not in str(caught.value)


async def test_connecting_that_is_cancelled_leaves_no_connection(monkeypatch):
    monkeypatch.setattr(redis_wire, "STALLED_S", 3600.0)
    asked, left = asyncio.Event(), asyncio.Event()

    async def never_answer(reader, writer):
        await reader.readexactly(1)
        asked.set()
        await reader.read()
        left.set()
        writer.close()

    server = await asyncio.start_server(never_answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    connecting = asyncio.create_task(connect(Address.of(f"redis://127.0.0.1:{port}"), lambda _: None, 3600.0))
    async with asyncio.timeout(10):
        await asked.wait()
        connecting.cancel()
        await asyncio.wait([connecting])
        await left.wait()
    server.close()


def test_an_event_time_that_no_clock_can_show_is_none():
    far = b"\x08" + b"\xff" * 8 + b"\x3f"  # 2**62 - 1 seconds, and more than 64 bits in microseconds
    assert redis.microseconds(far, b"\x08\x01") == (0, 1_000_000)


async def test_a_redis_before_version_6_is_not_asked_to_push_and_still_answers():
    async def old_redis(reader, writer):
        writer.write(b"+PONG\r\n")
        await reader.readuntil(b"ON\r\n")
        writer.write(b"-ERR unknown command `HELLO`\r\n-ERR unknown subcommand 'TRACKING'\r\n")
        await reader.readuntil(b"PING\r\n")
        writer.write(b"+PONG\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(old_redis, "127.0.0.1", 0)
    address = Address.of(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    connection = await connect(address, lambda _: None, 10.0, lambda push: None)
    assert "unknown command" in await track(connection, 10.0)
    assert not connection.is_tracking
    assert await connection.ask(b"PING\r\n", 1, 10.0) == [b"PONG"]
    connection.close()
    server.close()


async def test_attempts_with_tls_read_the_files_of_authorities_once_until_they_change(tmp_path, monkeypatch):
    made, make = [], ssl.create_default_context

    def count(**given):
        made.append(make(**given))
        return made[-1]

    write_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "tls.crt"))
    monkeypatch.setattr(ssl, "create_default_context", count)
    for attempts in (1, 2):
        for _ in range(3):
            with pytest.raises(ConnectionRefusedError):
                await connect(Address.of("rediss://127.0.0.1:1"), lambda _: None, 10.0)
        assert len(made) == attempts
        (tmp_path / "new.crt").write_bytes((tmp_path / "tls.crt").read_bytes())
        (tmp_path / "new.crt").rename(tmp_path / "tls.crt")


async def test_why_a_redis_cannot_be_connected_to_is_said_once(caplog):
    attempts = []

    async def refuse(reader, writer):
        attempts.append(await reader.readuntil(b"PING\r\n"))
        writer.write(b"-WRONGPASS invalid username-password pair\r\n-NOAUTH Authentication required.\r\n")

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    address = Address.of(f"redis://:s3cret@127.0.0.1:{server.sockets[0].getsockname()[1]}")

    async def find():
        return address

    link = RedisLink(find, "the Redis node 10.0.0.1:6379")
    await link.start()
    await until_so(lambda: len(attempts) >= 4)
    await link.close()
    server.close()
    (said,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "10.0.0.1:6379" in said
    assert "WRONGPASS" in said
    assert "s3cret" not in caplog.text
