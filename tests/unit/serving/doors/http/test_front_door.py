"""A request that came through Ray Serve's proxy is answered as by the replica's own listener."""

import pytest

from serving.doors.listener import DoorBackend, http_door
from serving.errors import Overloaded
from serving.replica.replica import _through
from tests.fakes.serving.inference import FakeInference


async def union(page):
    return page + b"others 1\n"


def scope(method, path):
    return {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"", "headers": []}


@pytest.fixture
def door():
    behind = DoorBackend(
        FakeInference(), lambda: b"own 1\n", union, admit=lambda: Overloaded("too much to do", retry_after_s=2.0)
    )
    return http_door(behind, 1 << 20)


async def test_its_metrics_are_those_of_all_replicas(door):
    answer = await _through(door, scope("GET", "/metrics"), b"")
    assert answer.body == b"own 1\nothers 1\n"


async def test_an_inference_is_refused_early_under_overload(door):
    answer = await _through(door, scope("POST", "/v2/models/simple/infer"), b"{}")
    assert answer.status_code == 429
    assert dict(answer.raw_headers)[b"retry-after"] == b"2"
    assert b"too much to do" in answer.body


async def test_what_is_no_inference_is_not_refused(door):
    assert (await _through(door, scope("GET", "/v2/health/live"), b"")).status_code == 200
