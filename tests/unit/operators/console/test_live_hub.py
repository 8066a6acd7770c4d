"""Server-sent events: one watcher for all viewers, only what changed, bounded, over when the session is."""

import asyncio
import json
import threading
from pathlib import Path

import pytest

from operators.console import live
from operators.console.live import LiveHub, TooManyStreams
from operators.console.page import LiveTopic
from operators.console.roles import ALL_ROLES, SignedInPerson
from operators.console.sessions import SessionStore
from operators.console.site import Site
from operators.control.folder import ControlFolder
from tests.fakes.clock import ManualClock


class World:
    """A topic whose state a test sets; `looked` counts the looks."""

    def __init__(self, folder: Path) -> None:
        self.state, self.looked, self.clock = {"a": "1", "b": "1"}, 0, ManualClock()
        self.sessions = SessionStore(self.clock.monotonic_s)
        site = Site(ControlFolder(folder), folder, lambda template, values: "")
        self.topic = LiveTopic("t", self.read, every_s=0.001)
        self.hub = LiveHub(site, self.sessions, {"t": self.topic})
        self.session = self.sessions.begin(SignedInPerson("ana", ALL_ROLES))

    def read(self, site, key):
        self.looked += 1
        if self.state is None:
            raise OSError("away")
        return dict(self.state)

    def viewer(self, key: str = ""):
        return self.hub.open(self.topic, key, self.session)


async def parts(stream):
    """The next event's parts."""
    async for message in stream:
        if message.startswith("event: parts"):
            return json.loads(message.partition("data: ")[2])
        if message.startswith("event: over"):
            return None
    return None


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


async def test_a_viewer_gets_everything_first_and_then_what_changed(world):
    viewer = world.viewer()
    assert await parts(viewer) == {"a": "1", "b": "1", "live-problem": ""}
    world.state = {"a": "1", "b": "2"}
    assert await parts(viewer) == {"b": "2"}
    await viewer.aclose()


async def test_viewers_of_one_topic_share_its_looks(world):
    viewers = [world.viewer() for _ in range(live.MOST_OF_SESSION)]
    assert all([await parts(viewer) for viewer in viewers])
    assert world.hub.watched == (("t", ""),)
    for viewer in viewers:
        await viewer.aclose()


async def test_nobody_looks_when_nobody_watches(world):
    assert world.looked == 0
    viewer = world.viewer()
    await parts(viewer)
    await viewer.aclose()
    assert world.hub.watched == ()
    await asyncio.sleep(0)
    looked = world.looked
    await asyncio.to_thread(lambda: None)
    assert world.looked <= looked + 1


async def test_a_session_has_few_streams_and_they_are_given_back(world):
    viewers = [world.viewer() for _ in range(live.MOST_OF_SESSION)]
    for viewer in viewers:
        await parts(viewer)
    with pytest.raises(TooManyStreams):
        world.viewer()
    await viewers[0].aclose()
    again = world.viewer()
    assert await parts(again)
    for viewer in [*viewers[1:], again]:
        await viewer.aclose()


async def test_streams_that_are_asked_for_at_one_moment_are_no_more_than_the_bound(world):
    viewers = [world.viewer() for _ in range(2 * live.MOST_OF_SESSION)]
    first = [await parts(viewer) for viewer in viewers]
    assert sum(one is not None for one in first) == live.MOST_OF_SESSION
    for viewer in viewers:
        await viewer.aclose()


def test_a_browser_keeps_connections_for_its_acts():
    assert live.MOST_OF_SESSION <= 6 - 2


async def test_a_silent_stream_says_in_a_way_that_scripts_see_that_it_is_there(world, monkeypatch):
    monkeypatch.setattr(live, "HEARTBEAT_S", 0.001)
    viewers = [world.viewer() for _ in range(2)]
    for viewer in viewers:
        await parts(viewer)
        assert await anext(viewer) == "event: here\ndata: {}\n\n"
        await viewer.aclose()


async def test_a_stream_that_has_sent_something_since_the_last_tick_says_no_more():
    stream = live.LiveStream()
    messages = stream.messages(lambda: True)
    await anext(messages)
    stream.put(live.LiveParts({"a": "1"}))
    await anext(messages)
    stream.beat()
    stream.put(live.LiveParts({"a": "2"}))
    assert '"2"' in await anext(messages)
    stream.beat()
    stream.end()
    assert "event: over" in await anext(messages)


async def test_what_all_viewers_get_is_written_once(world, monkeypatch):
    written = []
    monkeypatch.setattr(live.json, "dumps", lambda value: written.append(value) or "{}")
    viewers = [world.viewer() for _ in range(live.MOST_OF_SESSION)]
    waiting = [asyncio.create_task(parts(viewer)) for viewer in viewers]
    await asyncio.gather(*waiting)
    assert len(written) == 1
    for viewer in viewers:
        await viewer.aclose()


async def test_while_the_state_is_the_same_nothing_is_made_and_nothing_is_sent(world):
    states = ["first", "first", "first", "second", "third"]
    left = asyncio.Event()
    loop = asyncio.get_running_loop()

    def state(site, key):
        if len(states) == 1:
            loop.call_soon_threadsafe(left.set)
            return states[0]
        world.state = {"a": states[0]}
        return states.pop(0)

    world.topic = LiveTopic("t", world.read, every_s=0.0, state=state)
    viewer = world.viewer()
    assert (await parts(viewer))["a"] == "first"
    assert (await parts(viewer))["a"] == "second"
    await left.wait()
    await viewer.aclose()
    assert world.looked <= 3


async def test_a_state_that_is_the_same_after_a_look_that_failed_is_shown(world):
    states = iter(["one", "one", "one", "one"])
    world.topic = LiveTopic("t", world.read, every_s=0.001, state=lambda site, key: next(states, "one"))
    world.state = None
    viewer = world.viewer()
    assert "cannot be read" in (await parts(viewer))["live-problem"]
    world.state = {"a": "1"}
    assert await parts(viewer) == {"a": "1", "live-problem": ""}
    await viewer.aclose()


def test_a_watcher_whose_looks_are_dear_looks_less_often_and_never_stops():
    assert live.pause_s(2.0, 0.0) == 2.0
    assert live.pause_s(2.0, 0.1) * live.SHARE_OF_A_CORE == pytest.approx(0.1)
    assert live.pause_s(2.0, 1e6) == live.MOST_BETWEEN_S


async def test_signing_out_ends_the_streams(world):
    viewer = world.viewer()
    await parts(viewer)
    world.sessions.end(world.session.id)
    assert await parts(viewer) is None
    await viewer.aclose()
    assert world.hub.watched == ()


async def test_an_idle_session_ends_its_streams_although_they_are_open(world):
    viewer = world.viewer()
    await parts(viewer)
    world.clock.advance(10**6)
    world.state = {"a": "2", "b": "2"}
    assert await parts(viewer) in ({"a": "2", "b": "2"}, None)
    assert await parts(viewer) is None


async def test_a_slow_viewer_gets_the_newest_only(world):
    stream = live.LiveStream()
    for n in range(10_000):
        stream.put(live.LiveParts({"a": str(n)}))
    messages = stream.messages(lambda: True)
    assert await parts(messages) == {"a": "9999"}


async def test_a_look_that_fails_is_said_and_the_next_one_counts(world):
    world.state = None
    viewer = world.viewer()
    assert "cannot be read" in (await parts(viewer))["live-problem"]
    world.state = {"a": "1"}
    assert await parts(viewer) == {"a": "1", "live-problem": ""}
    await viewer.aclose()


async def test_a_look_that_takes_long_is_said_and_what_it_brings_counts(world, monkeypatch):
    monkeypatch.setattr(live, "LATE_S", 0.001)
    going, answered = threading.Event(), world.read
    world.topic = LiveTopic("t", lambda site, key: (going.wait(), answered(site, key))[1], every_s=0.001)
    viewer = world.viewer()
    try:
        assert "not read yet" in (await parts(viewer))["live-problem"]
    finally:
        going.set()
    assert await parts(viewer) == {"a": "1", "b": "1", "live-problem": ""}
    await viewer.aclose()


async def test_news_is_what_happens_after_the_first_look(world):
    world.state = {"announce": "paused"}
    viewer = world.viewer()
    assert await parts(viewer) == {"live-problem": ""}
    world.state = {"announce": "aborted"}
    assert await parts(viewer) == {"announce": "aborted"}
    await viewer.aclose()


async def test_a_look_that_fails_again_and_again_is_in_the_log_once_with_its_trace_where_it_is_a_defect(world, caplog):
    looks = iter([ValueError("a\x1bb"), ValueError("a\x1bb"), ValueError("a\x1bb"), OSError("away")])

    def read(site, key):
        world.looked += 1
        if (problem := next(looks, None)) is not None:
            raise problem
        return {"a": "1"}

    world.topic = LiveTopic("t", read, every_s=0.0)
    viewer = world.viewer()
    while "a" not in (await parts(viewer)):
        pass
    await viewer.aclose()
    first, second = [one for one in caplog.records if one.name == "vedette.console"]
    assert (first.exc_info is not None, second.exc_info is not None) == (True, False)
    assert "a\\x1bb" in first.getMessage()
