"""Tells somebody of what people must know or do about rollouts, by a signed webhook, where no Alertmanager does.

A notice reports a state, not an event: a rollout that was aborted, that waits for an approval. So it is sent again after a restart, with
the same id, by which the receiver knows it: at least once, whatever ends in between. Messages are signed as those of sinks are."""

import asyncio
import logging
import random
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Final, Literal

import aiohttp
import msgspec

from operators.handlers.documents import Key
from operators.handlers.metrics import ServiceView, waits_for
from operators.rollout.status import Phase
from serving.sinks.forms.standard_webhooks import secret_bytes, sign
from serving.sinks.transports.backoff import Backoff

NoticeKind = Literal["aborted", "needs_approval", "inconclusive", "overdue", "glass_broken"]
NoticeOutcome = Literal["sent", "failed", "postponed", "dropped"]
OLD: Final = timedelta(days=1)
"""An abort that is older is not told after a restart."""
MOST_WAITING: Final = 1000
MOST_KNOWN: Final = 10_000
_TIMEOUT_S: Final = 10.0
_MOST_SECRET: Final = 64 * 1024
_BACKOFF: Final = Backoff(first_s=1.0, most_s=300.0)
_log = logging.getLogger("vedette.operator")


@dataclass(frozen=True, slots=True)
class Notice:
    """One notice. id: the same whenever it is sent."""

    id: str
    kind: NoticeKind
    namespace: str
    name: str
    message: str
    since: str | None
    """When it came to be, ISO 8601; None: not known."""

    def body(self) -> bytes:
        """The JSON that is sent."""
        return msgspec.json.encode({"type": f"rollout.{self.kind}", **asdict(self)})


def notices_of(key: Key, view: ServiceView, now: datetime) -> Iterator[Notice]:
    """What people must know of one service now. Pure."""
    rollout = view.rollout
    ended = rollout.history[0] if rollout.history else None
    if rollout.phase is Phase.ABORTED and ended is not None and ended.outcome == "aborted" and now - ended.ended < OLD:
        yield _notice("aborted", key, f"{ended.candidate.digest} {ended.ended}", ended.reason, ended.ended)
    at = f"{rollout.attempt} {rollout.step_index}"
    waits = waits_for(rollout)
    if waits == "approval":
        yield _notice("needs_approval", key, at, rollout.waiting_for, rollout.step_started)
    elif waits == "inconclusive":
        yield _notice("inconclusive", key, at, rollout.waiting_for, rollout.step_started)
    if rollout.is_overdue:
        yield _notice("overdue", key, at, rollout.message, rollout.last_progress)
    for use in rollout.break_glass:
        yield _notice("glass_broken", key, f"{use.at} {use.by}", f"{use.by} passed an approval alone: {use.why}", use.at)


def _notice(kind: NoticeKind, key: Key, what: str, message: str, since: datetime | None) -> Notice:
    named = sha256(f"{kind} {key[0]}/{key[1]} {what}".encode()).hexdigest()[:32]
    return Notice(f"notice_{named}", kind, *key, message, None if since is None else since.isoformat())


class NoticeSender:
    """Sends them, one after the other, each until it is taken. url: of the receiver. secret_file: of the key that signs, one for each line
    while it is rotated; read for each message. None: unsigned. count: called with each outcome."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        secret_file: Path | None,
        count: Callable[[NoticeOutcome], None],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._session, self._url, self._secret_file, self._count, self._now = session, url, secret_file, count, now
        self._known: OrderedDict[str, None] = OrderedDict()
        self._waiting: asyncio.Queue[Notice] = asyncio.Queue(MOST_WAITING)
        self._postponed: dict[Key, set[str]] = {}
        self._rng = random.Random()  # noqa: S311  # nosec B311  # spreads tries, guards nothing
        self._is_busy = False

    @property
    def waiting(self) -> int:
        """Notices that the receiver has not taken yet."""
        return self._waiting.qsize() + self._is_busy

    def saw(self, key: Key, view: ServiceView) -> None:
        """Take what is new of a service. Never waits: what finds no room is postponed to the next look, and dropped if it no longer holds
        then."""
        notices = {notice.id: notice for notice in notices_of(key, view, self._now()) if notice.id not in self._known}
        postponed = self._postponed.pop(key, set())
        for _ in postponed - notices.keys():
            self._count("dropped")
        for notice in notices.values():
            try:
                self._waiting.put_nowait(notice)
            except asyncio.QueueFull:
                self._postpone(key, notice, is_new=notice.id not in postponed)
                continue
            self._known[notice.id] = None
            if len(self._known) > MOST_KNOWN:
                self._known.popitem(last=False)

    def _postpone(self, key: Key, notice: Notice, *, is_new: bool) -> None:
        self._postponed.setdefault(key, set()).add(notice.id)
        if is_new:
            self._count("postponed")

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            notice = await self._waiting.get()
            self._is_busy = True
            tries = 0
            while (problem := await self._send(notice)) is not None:
                tries += 1
                self._count("failed")
                if tries == 1:
                    _log.warning("%s/%s: %s was not told: %s; tried again", notice.namespace, notice.name, notice.kind, problem)
                await asyncio.sleep(_BACKOFF.wait_s(tries, self._rng))
            self._is_busy = False
            self._count("sent")

    async def _send(self, notice: Notice) -> str | None:
        """One try; why it failed."""
        body = notice.body()
        headers = {"content-type": "application/json", "idempotency-key": notice.id}
        try:
            if self._secret_file is not None:
                secrets = await asyncio.to_thread(_secrets_in, self._secret_file)
                headers |= sign(secrets, notice.id, int(time.time()), body)
            timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
            async with self._session.post(
                self._url, data=body, headers=headers, timeout=timeout, allow_redirects=False
            ) as answer:
                return None if 200 <= answer.status < 300 else f"HTTP {answer.status}"
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as problem:
            return f"{type(problem).__name__}: {problem}"


def _secrets_in(path: Path) -> list[bytes]:
    """Raises OSError, ValueError."""
    with path.open(encoding="utf-8") as file:
        lines = file.read(_MOST_SECRET).splitlines()
    return [secret_bytes(line.strip()) for line in lines if line.strip()]
