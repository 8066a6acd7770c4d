"""The HTTP adapter against Feast's own feature server: the same rows as reading the store directly; failures are defaults."""

import asyncio
import threading

import numpy as np
import pytest
import uvicorn

from serving.features.opening import open_features
from serving.settings import ServingSettings
from tests.contract.serving.feast_world import NOW_US, FeastWorld, columns
from tests.ports import free_port
from tests.waiting import HANG_S, until

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = FeastWorld(tmp_path_factory.mktemp("world"), None)
    world.write("ages", {"user": "ada"}, {"count": 3, "ratio": 0.25})
    world.write("ages", {"user": "nil"}, {"count": None, "ratio": 1.0})
    world.write("pairs", {"site": "east", "account": 7}, {"balance": 1.5, "note": "first"})
    return world


@pytest.fixture(scope="module")
def server(world):
    from feast.feature_server import get_app

    port = free_port()
    server = uvicorn.Server(uvicorn.Config(get_app(world.store), host="127.0.0.1", port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(HANG_S)


async def opened(world, url=None):
    return await open_features(ServingSettings(feature_repo=world.folder, store_dir=world.folder, feature_server_url=url))


@pytest.mark.parametrize(
    ("service", "keys", "request_fields"),
    [
        pytest.param("ages", {"user": ["ada", "nobody", "nil", "ada"]}, {}, id="values, nulls and nobody"),
        pytest.param("pairs", {"site": ["east", "west"], "account": [7, 7]}, {}, id="a composite key"),
        pytest.param("mapped", {"site": ["x"], "account": [1], "peer": ["east"], "peer_account": [7]}, {}, id="mapped keys"),
        pytest.param("total", {"site": ["east"], "account": [7]}, {"amount": [2], "word": ["hi"]}, id="a computed view"),
    ],
)
async def test_the_server_and_the_store_say_the_same(world, server, service, keys, request_fields):
    there, here = await opened(world, server), await opened(world)
    at_us = np.full(len(next(iter(keys.values()))), NOW_US + 1_000_000)
    over_http, direct = [await r.read(service, columns(keys), columns(request_fields), at_us, HANG_S) for r in (there, here)]
    assert {n: c.tolist() for n, c in over_http.columns.items()} == {n: c.tolist() for n, c in direct.columns.items()}
    assert {n: c.dtype for n, c in over_http.columns.items()} == {n: c.dtype for n, c in direct.columns.items()}
    assert over_http.degraded.tolist() == direct.degraded.tolist()
    assert {n: t.tolist() for n, t in over_http.event_times_us.items()} == {
        n: t.tolist() for n, t in direct.event_times_us.items()
    }
    await there.close()
    await here.close()


async def test_a_key_that_is_no_text_finds_nobody(world, server):
    reader = await opened(world, server)
    rows = await reader.read("ages", {"user": np.array([b"\xff", b"ada"], dtype=object)}, {}, np.full(2, NOW_US), HANG_S)
    assert rows.columns["ages__count"].tolist() == [-1, 3]
    await reader.close()


async def test_a_server_that_is_gone_or_answers_nonsense_or_nothing_is_a_store_that_failed(world):
    async def nonsense(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")

    over = asyncio.Event()

    async def nothing(reader, writer):
        await over.wait()

    for answer in (None, nonsense, nothing):
        listener = await asyncio.start_server(answer, "127.0.0.1", 0) if answer else None
        port = listener.sockets[0].getsockname()[1] if listener else free_port()
        reader = await opened(world, f"http://127.0.0.1:{port}")
        async with asyncio.timeout(HANG_S):
            rows = await reader.read("ages", columns({"user": ["ada"]}), {}, np.full(1, NOW_US), 0.3)
        assert (rows.columns["ages__count"].tolist(), rows.degraded.tolist()) == ([-1], [True])
        await reader.close()
        over.set()
        if listener:
            listener.close()
