"""A page that takes long to write holds up nobody, and many who ask for it cost two."""

import asyncio
import threading

import pytest

from serving.doors.http.door import HttpDoor
from serving.doors.http.metrics_page import Page
from serving.resilience.breaker import Breaker, BreakerLimits, Breakers
from serving.scoring.protection import Protection
from serving.telemetry.metrics import ServingMetrics
from serving.telemetry.names import BREAKER_CHANGES, BREAKER_STATE
from tests.fakes.serving.inference import FakeInference

LIMITS = BreakerLimits(slow_s=1.0, cooldown_s=1.0, most_cooldown_s=1.0)


class Slow:
    """Written when it is let be; counts its writings and those at the same time."""

    def __init__(self):
        self.begun, self.at_once, self.gate = 0, 0, threading.Semaphore(0)

    def __call__(self):
        self.begun += 1
        self.at_once += 1
        assert self.at_once == 1
        assert self.gate.acquire(timeout=10)
        self.at_once -= 1
        return b"page %d" % self.begun


async def until(holds):
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.001)


async def test_metrics_are_written_beside_the_loop():
    slow = Slow()
    door = HttpDoor(FakeInference(), max_body_bytes=1 << 20, metrics=slow)
    asked = asyncio.create_task(door.respond("GET", b"/metrics", b"", {}, b""))
    await until(lambda: slow.begun)
    live = await door.respond("GET", b"/v2/health/live", b"", {}, b"")
    assert live.status == 200
    slow.gate.release()
    assert (await asked).body == b"page 1"


async def test_the_thread_ends_with_the_page():
    """A listener that is closed would leave one for each form of the page."""
    name = "page-of-a-test"

    def alive():
        return [thread for thread in threading.enumerate() if thread.name.startswith(name)]

    page = Page(lambda: b"%d" % len(alive()), name)
    assert await page.get() == b"1"
    await until(lambda: not alive())


async def test_who_asks_while_one_is_written_gets_the_next_all_the_same_one():
    """One that began before they asked would leave out what they have counted."""
    slow = Slow()
    page = Page(slow, "test")
    first = asyncio.create_task(page.get())
    await until(lambda: slow.begun)
    later = [asyncio.create_task(page.get()) for _ in range(100)]
    slow.gate.release(2)
    assert await first == b"page 1"
    assert set(await asyncio.gather(*later)) == {b"page 2"}
    slow.gate.release()
    assert await page.get() == b"page 3"


async def test_one_that_cannot_be_written_is_told_and_the_next_is_written():
    answers = [ZeroDivisionError("no"), b"page"]

    def write():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    page = Page(write, "test")
    with pytest.raises(ZeroDivisionError):
        await page.get()
    assert await page.get() == b"page"


async def test_who_leaves_takes_no_page_from_the_others():
    slow = Slow()
    page = Page(slow, "test")
    leaves, stays = (asyncio.create_task(page.get()) for _ in range(2))
    await until(lambda: slow.begun)
    leaves.cancel()
    slow.gate.release()
    assert await stays == b"page 1"


class Counting(int):
    """While a thread reads this number, the loop counts something new."""

    def __new__(cls, count):
        made = super().__new__(cls, 1)
        made.count = count
        return made

    def __float__(self):
        self.count()
        return 1.0

    def __iter__(self):
        self.count()
        return iter((1, 0, 0))

    @property
    def breaker(self):
        self.count()
        return Breaker(LIMITS)


def test_operating_points_that_come_while_the_page_is_written_spoil_it_for_nobody():
    model = ServingMetrics("r").for_model("m", "1", "stable", "http")
    for point in "ab":
        model._verdicts[point] = Counting(lambda: model.answered(0.1, 1, f"new {len(model._verdicts)}", (1, 0, 0)))
    assert list(model.snapshot().verdicts) == ["a", "b"]


def test_breakers_that_come_or_change_while_the_page_is_written_spoil_it_for_nobody():
    breakers = Breakers()
    for name in "ab":
        breakers._guards[name] = Counting(lambda: breakers.new(f"new {len(breakers._guards)}", LIMITS, instead=""))
        breakers.changes[name, "open"] = Counting(lambda: breakers.changes.update({("new", str(len(breakers.changes))): 1}))
    told = dict(Protection(breakers, None, 1.0, 0.05).metrics())
    assert ("a",) in told[BREAKER_STATE]
    assert ("b", "open") in told[BREAKER_CHANGES]


@pytest.mark.parametrize(
    ("accept", "begins", "body"),
    [
        pytest.param(b"", b"text/plain; version=0.0.4", b"classic", id="nothing asked"),
        pytest.param(b"*/*", b"text/plain; version=0.0.4", b"classic", id="anything"),
        pytest.param(
            b"application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2",
            b"application/openmetrics-text; version=1.0.0",
            b"open",
            id="as Prometheus asks",
        ),
    ],
)
async def test_who_takes_openmetrics_gets_it(accept, begins, body):
    door = HttpDoor(FakeInference(), max_body_bytes=1000, metrics=lambda: b"classic", openmetrics=lambda: b"open")
    reply = await door.respond("GET", b"/metrics", b"", {b"accept": accept}, b"")
    assert (reply.body, reply.headers[0][1].startswith(begins)) == (body, True)
