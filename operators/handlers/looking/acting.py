"""An act on a backend: only while we lead, and over before another operator may lead. Decides nothing."""

import asyncio
from collections.abc import Awaitable, Callable

from operators.handlers.looking.look_spans import part
from operators.handlers.watching.work_queue import TryLater
from operators.ports import BackendError
from operators.telemetry.span_names import ACT


class Acting:
    """Guards acts. leads: whether we do, asked before each. timeout_s: how long one may take in all, reads and repetitions included;
    less than the time between the end of our lease and the beginning of the next."""

    def __init__(self, leads: Callable[[], bool], timeout_s: float) -> None:
        self._leads, self._timeout_s = leads, timeout_s

    async def do(self, act: Callable[[], Awaitable[None]]) -> None:
        """Raises TryLater: we do not lead; BackendError: refused, or not done in time; what was under way is not waited for."""
        if not self._leads():
            raise TryLater("this operator no longer leads")
        try:
            with part(ACT):
                async with asyncio.timeout(self._timeout_s):
                    await act()
        except TimeoutError as problem:
            raise BackendError(
                f"the API server did not accept it within {self._timeout_s:g} s (VEDETTE_OPERATOR_ACT_TIMEOUT_S); it is tried again"
            ) from problem
