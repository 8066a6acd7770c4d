"""The feature server's adapter where the server is gone: what it says, and how often."""

import logging

import aiohttp
import pytest

from serving.features.stores import feature_server
from serving.features.stores.feature_server import HttpStore
from serving.ports import ReadOutcome


class Failing:
    """A session of a server that cannot be asked."""

    def __init__(self, problem):
        self.problem = problem

    def post(self, *_args, **_options):
        raise self.problem


@pytest.mark.parametrize(("problem", "outcome"), [
    (aiohttp.ClientConnectionError("refused"), ReadOutcome.NO_CONNECTION),
    (ValueError("no JSON"), ReadOutcome.FAILED),
])  # fmt: skip
async def test_a_server_that_fails_every_read_is_said_once_in_a_while(caplog, monkeypatch, problem, outcome):
    now_s = 1000.0
    monkeypatch.setattr(feature_server.time, "monotonic", lambda: now_s)
    store = HttpStore("http://127.0.0.1:1")
    store._session = Failing(problem)
    group = feature_server.ServerRequest(("view:count",), ((0, 1),))
    monkeypatch.setattr(feature_server, "decode_key", lambda _: {"user": "ada"})
    with caplog.at_level(logging.WARNING, logger=feature_server.log.name):
        for _ in range(100):
            assert await store.fetch((group,), [[b"key"]], 1.0) is outcome
        assert len(caplog.records) == 1
        now_s += 11.0
        await store.fetch((group,), [[b"key"]], 1.0)
        assert len(caplog.records) == 2
