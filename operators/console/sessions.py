"""Sessions of signed-in people, kept in this process: random names, an end, a bounded number. Pure but for its random source.

A browser holds only the session's id. What the session may do is here, so signing out ends it everywhere at once."""

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from operators.console.roles import SignedInPerson

IDLE_S: Final = 30 * 60.0
"""A session without a request for this long ends. An open stream of events does not prolong it."""
LONGEST_S: Final = 12 * 3600.0
"""A session ends after this time in any case."""
MOST_SESSIONS: Final = 1000
"""Of all people; the one that was idle longest makes room."""
MOST_OF_ONE: Final = 10
"""Of one person."""
_BYTES: Final = 32


@dataclass(slots=True)
class Session:
    """One browser of one person. csrf: must come with each act. said: words for the next page, (text, whether it is a problem)."""

    id: str
    person: SignedInPerson
    csrf: str
    began_s: float
    seen_s: float
    until_s: float
    token: str = field(default="", repr=False)
    """What the person signed in with, where their acts need it (in a cluster). It is never written anywhere."""
    terms: object = None
    """Of the access policy and its files: what the person's rights came from. The session ends when that is another."""
    said: list[tuple[str, bool]] = field(default_factory=list)
    endings: list[Callable[[], None]] = field(default_factory=list)
    """Called when the session ends: open streams close themselves."""

    def is_token(self, given: str) -> bool:
        """Whether this is the session's CSRF token."""
        return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self.csrf.encode())

    def say(self, text: str, *, is_problem: bool = False) -> None:
        """Words for the next page that is shown."""
        self.said = [*self.said[-4:], (text, is_problem)]

    def heard(self) -> list[tuple[str, bool]]:
        """Words that were not shown yet; they are forgotten."""
        said, self.said = self.said, []
        return said


class SessionStore:
    """All sessions. now_s: a clock that never goes back, seconds."""

    def __init__(self, now_s: Callable[[], float], *, idle_s: float = IDLE_S, longest_s: float = LONGEST_S) -> None:
        self._now_s, self._idle_s, self._longest_s = now_s, idle_s, longest_s
        self._by_id: dict[str, Session] = {}
        self._lapsed: list[tuple[Session, str]] = []

    def __len__(self) -> int:
        return len(self._by_id)

    def begin(self, person: SignedInPerson, *, lasts_s: float | None = None, token: str = "", terms: object = None) -> Session:
        """A new session under a new id. token, terms: see Session. lasts_s: as long as the credentials it was begun with count, at most."""
        now_s = self._now_s()
        self.end_over()
        own = [s for s in self._by_id.values() if s.person.name == person.name]
        if len(own) >= MOST_OF_ONE:
            self._lapse(min(own, key=_seen_s), f"another session of the same person began, and {MOST_OF_ONE} are the most")
        elif len(self) >= MOST_SESSIONS:
            self._lapse(min(self._by_id.values(), key=_seen_s), f"another session began, and {MOST_SESSIONS:,} are the most")
        until_s = now_s + min(self._longest_s, self._longest_s if lasts_s is None else lasts_s)
        made = Session(
            secrets.token_urlsafe(_BYTES), person, secrets.token_urlsafe(_BYTES), now_s, now_s, until_s, token, terms
        )
        self._by_id[made.id] = made
        return made

    def find(self, session_id: str, *, touch: bool = True) -> Session | None:
        """The session of an id that has not ended. touch: count this as a request of it."""
        found = self._by_id.get(session_id)
        if found is None:
            return None
        now_s = self._now_s()
        if why := self._why_over(found, now_s):
            self._lapse(found, why)
            return None
        if touch:
            found.seen_s = now_s
        return found

    def end(self, session_id: str) -> Session | None:
        """End a session and return it; nothing happens if there is none."""
        ended = self._by_id.pop(session_id, None)
        for close in tuple(ended.endings) if ended else ():
            close()
        return ended

    def end_unless(self, counts: Callable[[Session], bool]) -> list[Session]:
        """End those that do not count any more, and return them. Call it where streams may be closed: on the event loop."""
        ended = [one for one in tuple(self._by_id.values()) if not counts(one)]
        for one in ended:
            self.end(one.id)
        return ended

    def end_over(self) -> None:
        """End those whose time is over."""
        now_s = self._now_s()
        for session in tuple(self._by_id.values()):
            if why := self._why_over(session, now_s):
                self._lapse(session, why)

    def next_end_s(self) -> float | None:
        """In how many seconds the first session ends if nobody asks for anything; None: there is no session."""
        ends = [min(one.until_s, one.seen_s + self._idle_s) for one in self._by_id.values()]
        return max(min(ends) - self._now_s(), 0.0) if ends else None

    def take_lapsed(self) -> list[tuple[Session, str]]:
        """Sessions that ended although nobody ended them, and why; they are forgotten."""
        lapsed, self._lapsed = self._lapsed, []
        return lapsed

    def _lapse(self, session: Session, why: str) -> None:
        self.end(session.id)
        self._lapsed = [*self._lapsed[1 - MOST_SESSIONS :], (session, why)]

    def _why_over(self, session: Session, now_s: float) -> str:
        """Why the time of a session is over; empty if it is not."""
        if now_s >= session.until_s:
            return "its time was over"
        return f"no request for {self._idle_s / 60:.0f} min" if now_s - session.seen_s >= self._idle_s else ""


def _seen_s(session: Session) -> float:
    return session.seen_s
