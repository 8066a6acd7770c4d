"""Questions about risks as a door asks them: in a thread, so that the event loop never waits for a disk or for Redis."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import orjson

from serving.errors import NotFound, Unavailable
from serving.risk.json_form import risk_as_json, risk_as_record
from serving.risk.ledger import LedgerDown, RiskLedger
from serving.risk.opening import open_ledger
from serving.risk.rules_of_risk import RiskRulesError
from serving.risk.sqlite_ledger import FILE

T = TypeVar("T")
MOST_ANSWERED: Final = 1000
"""Entities in one answer."""
MOST_WAITING: Final = 32
"""Questions under way; each holds a thread."""


class RiskQuestions:
    """Opens the ledger at the first question. A ledger that could not be opened is tried again at the next one."""

    def __init__(self, store_dir: Path, url: str | None) -> None:
        self._store_dir, self._url = store_dir, url
        self._ledger: RiskLedger | None = None
        self._lock, self._waiting = asyncio.Lock(), 0

    async def of(self, entity: str) -> bytes:
        """The risk of an entity as JSON. Raises NotFound, Unavailable."""
        found = await self._ask(lambda ledger: ledger.find(entity, time.time_ns() // 1000))
        if found is None:
            raise NotFound(f"nothing was ever said of the entity {entity[:200]!r}")
        return risk_as_json(found)

    async def highest(self, most: int, is_wanted: Callable[[str], bool] | None = None) -> bytes:
        """The entities with the highest risks as JSON; of those that are wanted, if that is asked. Raises Unavailable."""
        now_us = time.time_ns() // 1000
        found = await self._ask(lambda ledger: ledger.highest(min(most, MOST_ANSWERED), now_us, is_wanted))
        return orjson.dumps({"risks": [risk_as_record(risk) for risk in found or []]})

    def close(self) -> None:
        """Let go of the ledger."""
        if self._ledger is not None:
            self._ledger.close()

    async def _ask(self, question: Callable[[RiskLedger], T]) -> T | None:
        if self._waiting >= MOST_WAITING:
            raise Unavailable(f"{MOST_WAITING} questions about risks are under way; ask again soon", retry_after_s=1.0)
        self._waiting += 1
        try:
            async with self._lock:  # one connection, one question at a time
                return await asyncio.to_thread(self._answer, question)
        except (LedgerDown, RiskRulesError) as problem:
            raise Unavailable(f"the ledger of risks does not answer: {problem}", retry_after_s=5.0) from problem
        finally:
            self._waiting -= 1

    def _answer(self, question: Callable[[RiskLedger], T]) -> T | None:
        if self._ledger is None:
            if self._url is None and not (self._store_dir / FILE).exists():
                return None  # nobody has written yet; a question makes no file
            self._ledger = open_ledger(self._store_dir, self._url)
        return question(self._ledger)
