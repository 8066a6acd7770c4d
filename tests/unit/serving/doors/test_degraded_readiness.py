"""Readiness stays what it is when something is out that others stand in for, and says so."""

import orjson

from serving.doors.http.door import HttpDoor
from tests.fakes.serving.inference import FakeInference


async def ready(**given):
    reply = await HttpDoor(FakeInference(), max_body_bytes=1000, **given).respond("GET", b"/v2/health/ready", b"", {}, b"")
    return reply.status, orjson.loads(reply.body)


async def test_a_server_that_is_well_says_nothing_of_it():
    assert await ready(degraded=tuple) == await ready() == (200, {"live": True, "ready": True})


async def test_a_server_that_answers_without_something_stays_ready_and_names_it():
    line = "features: breaker open, 10 of the last 10 calls failed; defaults stand in"
    assert await ready(degraded=lambda: (line,)) == (200, {"live": True, "ready": True, "degraded": [line]})
