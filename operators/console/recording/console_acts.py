"""Writes what happens at the console's door into the log of governed acts: sign-ins, sign-outs, and what was refused.

Acts on rollouts and labels are recorded where they are carried out. Keys and tokens are never written, nor parts of them. A log that cannot
be written keeps nobody out, because looking changes nothing: the person who signs in is told, and the console's log says why."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Final

from lifecycle.governance.acts import LOG, Act, ActsLog
from operators.console.recording.repeats import WINDOW_S, ConsoleAct, Repeats, evidence_of
from operators.console.sessions import Session
from serving.audit.keys.keyring import Keyring
from serving.audit.signed_note import NoteError
from serving.settings import ServingSettings

SIGN_IN: Final = "console.sign-in"
SIGN_OUT: Final = "console.sign-out"
ACT: Final = "console.act"
"""A form that was refused before anything was done."""
_MOST_TEXT: Final = 300
_log = logging.getLogger("vedette.console")

ActRecorder = Callable[[Act], object]
"""Writes one act; durable when it returns. Raises OSError, NoteError."""


class ConsoleActs:
    """Records of one console. record: None where no store is shown; then the console's log is all there is. now_s: never goes back."""

    def __init__(
        self,
        record: ActRecorder | None,
        *,
        now_s: Callable[[], float] = time.monotonic,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self._record, self._now_s, self._now_us = record, now_s, now_us
        self._repeats = Repeats(now_s())
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="console-acts")
        self._flush: asyncio.TimerHandle | None = None
        self._flushing: set[asyncio.Future[str]] = set()

    async def signed_in(self, session: Session) -> str:
        """Somebody has signed in. What is wrong with the record; empty if it is on the disk, or counted."""
        return await self.tell(
            ConsoleAct(SIGN_IN, session.person.name, _subject(session), f"signed in by {session.person.how}")
        )

    async def signed_out(self, session: Session, why: str) -> str:
        """A session was ended by somebody."""
        return await self.tell(ConsoleAct(SIGN_OUT, session.person.name, _subject(session), why))

    async def refused_sign_in(self, address: str, why: str) -> None:
        """Nobody was signed in. address: of the client."""
        await self.tell(ConsoleAct(SIGN_IN, f"address:{address}", "console/sign-in", why, is_refused=True, is_known=False))

    async def refused(self, session: Session | None, address: str, path: str, why: str) -> None:
        """A form to this path was refused, so nothing was done."""
        actor = session.person.name if session is not None else f"address:{address}"
        subject = f"console{path[:_MOST_TEXT]}"
        await self.tell(ConsoleAct(ACT, actor, subject, why[:_MOST_TEXT], is_refused=True, is_known=session is not None))

    async def tell(self, act: ConsoleAct) -> str:
        """Record this, unless it is a repeat that is counted. What is wrong with the record; empty: nothing."""
        first = self._repeats.see(act, self._now_s())
        loop = asyncio.get_running_loop()
        if first is not None:
            return await loop.run_in_executor(self._writer, self._write, [first])
        if self._flush is None:
            self._flush = loop.call_later(WINDOW_S + 0.1, self._write_repeats)
        return ""

    def _write_repeats(self) -> None:
        loop = asyncio.get_running_loop()
        self._flush = None
        writing = loop.run_in_executor(self._writer, self._write, self._repeats.due(self._now_s()))
        self._flushing.add(writing)
        writing.add_done_callback(self._flushing.discard)
        if self._repeats.is_counting:
            self._flush = loop.call_later(WINDOW_S, self._write_repeats)

    def close(self) -> None:
        """Write what was counted. Blocks for a moment."""
        if self._flush is not None:
            self._flush.cancel()
        with contextlib.suppress(RuntimeError):  # closed before
            self._writer.submit(self._write, self._repeats.due(float("inf")))
        self._writer.shutdown(wait=True)

    def _write(self, acts: list[ConsoleAct]) -> str:
        """What is wrong with the first that cannot be written; the others are tried all the same."""
        problems = []
        for one in acts:
            _log.info("%s %s: %s (%s)%s", one.action, one.actor, one.subject, one.reason, " refused" if one.is_refused else "")
            try:
                if self._record is not None:
                    self._record(_as_act(one, self._now_us()))
            except (OSError, NoteError) as problem:
                _log.error("%s of %s is not recorded: %s", one.action, one.actor, problem)
                problems.append(str(problem))
        return problems[0] if problems else ""


def acts_of_store(store_dir: Path | None) -> ConsoleActs:
    """Records in the log of acts of a store."""
    if store_dir is None:
        return ConsoleActs(None)
    made: list[ActsLog] = []

    def record(act: Act) -> object:
        if not made:  # at the first act: a store that nobody writes to stays as it is
            settings = ServingSettings(store_dir=store_dir)
            keyring = Keyring.of(store_dir, settings.audit_key, settings.audit_key_name)
            made.append(ActsLog(store_dir / LOG, signer=keyring.signer, now_us=lambda: time.time_ns() // 1000))
        return made[0].record(act)

    return ConsoleActs(record)


def _as_act(one: ConsoleAct, now_us: int) -> Act:
    return Act(
        time_us=now_us,
        actor=one.actor[:_MOST_TEXT],
        action=one.action,
        subject=one.subject,
        reason=one.reason,
        evidence=evidence_of(one),
        outcome="refused" if one.is_refused else "accepted",
    )


def _subject(session: Session) -> str:
    """The same for sign-in and sign-out of a session, and no help to somebody who wants to take it over."""
    return f"session/{sha256(session.id.encode()).hexdigest()[:16]}"


def spelt_out(text: str) -> str:
    """Text that somebody else wrote, for a log: characters that move the cursor or begin a line are spelt out.

    >>> spelt_out("no\\x1b[2J")
    'no\\\\x1b[2J'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
