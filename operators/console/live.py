"""Server-sent events: one watcher for each topic and key, shared by all viewers.

It looks only while somebody watches, makes each message once for all viewers, and sends only what has changed. The replicas share the
machine, so a watcher whose looks are dear looks less often. Bounded everywhere: viewers, streams of one session, topics, what waits for a
slow viewer."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final

from operators.console.page import LiveTopic, PageProblem
from operators.console.recording.console_acts import spelt_out
from operators.console.sessions import Session, SessionStore
from operators.console.site import Site
from operators.control.port import ControlError

MOST_STREAMS: Final = 200
"""Of all viewers."""
MOST_OF_SESSION: Final = 4
"""A browser has six connections to a console over HTTP/1.1: two are left for pages and acts, however many windows are open."""
MOST_WATCHERS: Final = 64
"""Pairs of topic and key that are looked at."""
HEARTBEAT_S: Final = 15.0
"""One tick for all streams: a stream that was silent since the last one says that it is there."""
LATE_S: Final = 10.0
"""A look that takes longer is said to be late: what the page shows is older than it seems."""
SHARE_OF_A_CORE: Final = 0.01
"""What the looks of one watcher may take."""
MOST_BETWEEN_S: Final = 15.0
"""Between two looks, however dear they are."""
_HERE: Final = "event: here\ndata: {}\n\n"
"""A script sees no comment, and must know when these end."""
_log = logging.getLogger("vedette.console")


class TooManyStreams(Exception):
    """No more streams now."""


class LiveParts:
    """HTML by element, and the event that carries it: written once, however many viewers it is sent to."""

    __slots__ = ("_event", "html")

    def __init__(self, html: Mapping[str, str]) -> None:
        self.html = html
        self._event: str | None = None

    @property
    def event(self) -> str:
        """In the form of text/event-stream."""
        if self._event is None:
            self._event = f"event: parts\ndata: {json.dumps(self.html)}\n\n"
        return self._event


class LiveStream:
    """What waits to be sent to one viewer: the newest HTML of each element, so it is bounded by the page however slow the viewer is."""

    __slots__ = ("_due", "_is_silent", "_something", "is_over")

    def __init__(self) -> None:
        self._due: LiveParts | None = None
        self._something = asyncio.Event()
        self._is_silent = False
        self.is_over = False

    def put(self, changed: LiveParts) -> None:
        """Send this soon; what waited for the same elements is superseded."""
        self._due = changed if self._due is None else LiveParts({**self._due.html, **changed.html})
        self._something.set()

    def beat(self) -> None:
        """A tick of the heart: a stream that has sent nothing since the last one says that it is there."""
        if self._is_silent:
            self._something.set()
        self._is_silent = True

    def end(self) -> None:
        """Send nothing more."""
        self.is_over = True
        self._something.set()

    async def messages(self, is_signed_in: Callable[[], bool]) -> AsyncIterator[str]:
        """Events in the form of text/event-stream, until the stream or its session ends."""
        yield "retry: 5000\n\n"
        while not self.is_over and is_signed_in():
            await self._something.wait()
            self._something.clear()
            self._is_silent = False
            due, self._due = self._due, None
            if self.is_over or not is_signed_in():
                break
            yield due.event if due is not None else _HERE
        yield "event: over\ndata: {}\n\n"


class _Watcher:
    """Looks at one topic and key for its viewers."""

    def __init__(self, topic: LiveTopic, key: str, site: Site, looking: asyncio.Semaphore) -> None:
        self._topic, self._key, self._site, self._looking = topic, key, site, looking
        self.viewers: set[LiveStream] = set()
        self._shown: dict[str, str] = {}
        self._has_looked = False
        self._problem = ""
        self._state: object = None
        self.cost_s = 0.0
        """Of the last look: processor time of its thread."""
        self.task: asyncio.Task[None] | None = None

    def join(self, viewer: LiveStream) -> None:
        self.viewers.add(viewer)
        if self._shown:
            viewer.put(LiveParts({name: html for name, html in self._shown.items() if name != "announce"}))

    async def watch(self) -> None:
        while True:
            try:
                seen = await self._look()
                self._problem = ""
            except Exception as problem:  # whatever a page cannot read now may be there at the next look
                self._warn(problem)
                seen = {"live-problem": "The newest state cannot be read; what you see may be old."}
            if seen is not None:
                seen.setdefault("live-problem", "")
                self._show(seen)
            await asyncio.sleep(pause_s(self._topic.every_s, self.cost_s))

    def _warn(self, problem: Exception) -> None:
        """Say it once and not at each look; with its trace, where it is none of those that a control plane has."""
        if (words := f"{type(problem).__name__}: {problem}") != self._problem:
            self._problem, is_known = words, isinstance(problem, ControlError | PageProblem | OSError)
            key = spelt_out(self._key)
            _log.warning("live %s %s: %s", self._topic.name, key, spelt_out(words), exc_info=None if is_known else problem)

    async def _look(self) -> dict[str, str] | None:
        """What is to be shown; None: nothing has changed since the last look."""

        async def read() -> dict[str, str] | None:
            async with self._looking:
                return await asyncio.to_thread(self._read)

        reading = asyncio.create_task(read())
        try:
            is_late = not (await asyncio.wait({reading}, timeout=LATE_S))[0]
            if is_late:
                self._tell({"live-problem": "The newest state is not read yet; what you see is old."})
            seen = await reading
            return {} if seen is None and is_late else seen  # so that this is taken back
        finally:
            reading.cancel()

    def _read(self) -> dict[str, str] | None:
        began_s = time.thread_time()
        try:
            topic = self._topic
            before, self._state = self._state, None
            state = topic.state(self._site, self._key) if topic.state is not None else None
            seen = None if state is not None and state == before else dict(topic.read(self._site, self._key))
            self._state = state
            return seen
        finally:
            self.cost_s = time.thread_time() - began_s

    def _show(self, seen: Mapping[str, str]) -> None:
        changed = {name: html for name, html in seen.items() if self._shown.get(name) != html}
        if not self._has_looked:
            changed.pop("announce", None)  # only what happens from now on is news
        self._has_looked = True
        self._shown.update(seen)
        self._tell(changed)

    def _tell(self, changed: Mapping[str, str]) -> None:
        self._shown.update(changed)
        if changed:
            parts = LiveParts(changed)
            for viewer in self.viewers:
                viewer.put(parts)


def pause_s(every_s: float, cost_s: float) -> float:
    """How long to wait after a look that took so much processor time.

    >>> pause_s(2.0, 0.005), pause_s(2.0, 0.05), pause_s(2.0, 3.0)
    (2.0, 5.0, 15.0)
    """
    return max(every_s, min(cost_s / SHARE_OF_A_CORE, MOST_BETWEEN_S))


class LiveHub:
    """All streams of a console."""

    def __init__(self, site: Site, sessions: SessionStore, topics: Mapping[str, LiveTopic]) -> None:
        self._site, self._sessions, self._topics = site, sessions, topics
        self._watchers: dict[tuple[str, str], _Watcher] = {}
        self._streams = 0
        self._of_session: dict[str, int] = {}
        self._looking = asyncio.Semaphore(2)
        self._viewers: set[LiveStream] = set()
        self._beating: asyncio.Task[None] | None = None

    @property
    def watched(self) -> tuple[tuple[str, str], ...]:
        """Topics and keys that are looked at now."""
        return tuple(self._watchers)

    def topic(self, name: str) -> LiveTopic | None:
        """The topic of a name; None: there is none."""
        return self._topics.get(name)

    def open(self, topic: LiveTopic, key: str, session: Session) -> AsyncIterator[str]:
        """Messages for one viewer, until it leaves or its session ends. Raises TooManyStreams."""
        if self._is_crowded((topic.name, key), session):
            raise TooManyStreams
        return self._messages(topic, key, session)

    def _is_crowded(self, place: tuple[str, str], session: Session) -> bool:
        is_full = self._streams >= MOST_STREAMS or self._of_session.get(session.id, 0) >= MOST_OF_SESSION
        return is_full or (place not in self._watchers and len(self._watchers) >= MOST_WATCHERS)

    async def _messages(self, topic: LiveTopic, key: str, session: Session) -> AsyncIterator[str]:
        viewer, place = LiveStream(), (topic.name, key)
        if self._is_crowded(place, session):  # others that were asked for at the same moment have begun
            yield "retry: 30000\n\n"
            return
        self._streams += 1
        self._of_session[session.id] = self._of_session.get(session.id, 0) + 1
        try:
            watcher = self._watchers.get(place)
            if watcher is None:
                watcher = self._watchers[place] = _Watcher(topic, key, self._site, self._looking)
                watcher.task = asyncio.create_task(watcher.watch())
            watcher.join(viewer)
            self._viewers.add(viewer)
            if self._beating is None:
                self._beating = asyncio.create_task(self._beat())
            session.endings.append(viewer.end)
            async for message in viewer.messages(lambda: self._sessions.find(session.id, touch=False) is not None):
                yield message
        finally:
            self._leave(place, viewer, session)

    def _leave(self, place: tuple[str, str], viewer: LiveStream, session: Session) -> None:
        self._streams -= 1
        self._viewers.discard(viewer)
        if not self._viewers and self._beating is not None:
            self._beating.cancel()
            self._beating = None
        left = self._of_session.get(session.id, 1) - 1
        if left > 0:
            self._of_session[session.id] = left
        else:
            self._of_session.pop(session.id, None)
        if viewer.end in session.endings:
            session.endings.remove(viewer.end)
        watcher = self._watchers.get(place)
        if watcher is None:
            return
        watcher.viewers.discard(viewer)
        if not watcher.viewers:
            del self._watchers[place]
            if watcher.task is not None:
                watcher.task.cancel()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            for viewer in tuple(self._viewers):
                viewer.beat()

    def close(self) -> None:
        """End every stream."""
        for watcher in tuple(self._watchers.values()):
            for viewer in tuple(watcher.viewers):
                viewer.end()
