"""Ends sessions at their time and when the console stops, and records each end that nobody asked for. Of one event loop.

Without the timer a session would end with the next request of it, and its open streams with their next message."""

import asyncio
from typing import Final

from operators.console.recording.console_acts import ConsoleActs
from operators.console.sessions import Session, SessionStore

STOPPED: Final = "the console was stopped"
"""Why a session ended that nobody ended, and whose time was not over."""


class SessionEnds:
    """sessions: those that are watched."""

    def __init__(self, sessions: SessionStore, acts: ConsoleActs) -> None:
        self._sessions, self._acts = sessions, acts
        self._timer: asyncio.TimerHandle | None = None
        self.recording: set[asyncio.Future[str]] = set()
        """Records that are being written."""

    def watch(self) -> None:
        """Wake up when the first session ends. Call it when a session has begun: it may be the first."""
        self.record_lapsed()
        if self._timer is not None:
            self._timer.cancel()
        left_s = self._sessions.next_end_s()
        self._timer = None if left_s is None else asyncio.get_running_loop().call_later(left_s, self.look)

    def look(self) -> None:
        """End those whose time is over, and wake up again for the next."""
        self._sessions.end_over()
        self.watch()

    def record_lapsed(self) -> None:
        """Record the sessions that have ended without anybody's doing."""
        for session, why in self._sessions.take_lapsed():
            self.record(session, why)

    def record(self, session: Session, why: str) -> None:
        """Record that a session has ended; returns at once."""
        writing = asyncio.ensure_future(self._acts.signed_out(session, why))
        self.recording.add(writing)
        writing.add_done_callback(self.recording.discard)

    async def close(self) -> None:
        """The console stops: end every session, wake up no more, and wait for the records."""
        if self._timer is not None:
            self._timer.cancel()
        self._sessions.end_over()
        self.record_lapsed()
        for session in self._sessions.end_unless(lambda _: False):
            self.record(session, STOPPED)
        await asyncio.gather(*self.recording, return_exceptions=True)
