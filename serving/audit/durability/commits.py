"""Answers that wait until their records are on the disk: how the loops hand records to the writer's thread, and how it notifies them."""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from serving.audit.record import AuditRecord
from serving.errors import ServingError


@dataclass(frozen=True, slots=True, eq=False)
class Commit:
    """Records of one answer; all of them are kept or none. waiting: a future of `loop`; a caller that gave up has cancelled it."""

    records: Sequence[AuditRecord]
    loop: asyncio.AbstractEventLoop
    waiting: "asyncio.Future[None]"

    @property
    def rows(self) -> int:
        """Rows of all records."""
        return sum(record.rows for record in self.records)


def time_of(item: AuditRecord | Commit) -> int:
    """When what waits was answered, microseconds since the epoch."""
    return item.time_us if isinstance(item, AuditRecord) else min((record.time_us for record in item.records), default=0)


def tell(commits: Iterable[Commit], problem: ServingError | None) -> None:
    """Let the answers go, or refuse them; called in the writer's thread. Each loop is woken once."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Commit]] = {}
    for commit in commits:
        by_loop.setdefault(commit.loop, []).append(commit)
    for loop, of_loop in by_loop.items():
        with suppress(RuntimeError):  # the loop has ended, and with it the waiting calls
            loop.call_soon_threadsafe(_settle, of_loop, problem)


def _settle(commits: Iterable[Commit], problem: ServingError | None) -> None:
    for commit in commits:
        if commit.waiting.done():
            continue  # its client has left, or its time is over
        if problem is None:
            commit.waiting.set_result(None)
        else:
            commit.waiting.set_exception(type(problem)(problem.message, retry_after_s=problem.retry_after_s))
