"""grpc.health.v1 over the InferenceService port: the server (""), the inference service, and each model by its name.

Values and waiting only; how a door carries them is the door's."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

from grpc_health.v1 import health_pb2

from serving.errors import NotFound
from serving.ports import InferenceService
from serving.protocol.stubs import SERVICE

WATCH_EVERY_S: Final = 0.5
"""How often somebody looks on behalf of all that watch."""
_LONGEST_NAME: Final = 256
"""Characters; no model has a longer name."""
_UNKNOWN: Final = int(health_pb2.HealthCheckResponse.ServingStatus.Value("SERVICE_UNKNOWN"))
_log = logging.getLogger(__name__)
_STATUS: Final = health_pb2.HealthCheckResponse.ServingStatus


class Health:
    """is_closing: the door is going; nothing is well any more.

    However many watch, one task looks, and at each name that is watched once; the others wait for a change."""

    def __init__(self, service: InferenceService) -> None:
        self._service = service
        self.is_closing = asyncio.Event()
        self._watched = Counter[str]()
        self._states: dict[str, int] = {}
        self._changed = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None

    def status(self, name: str) -> int:
        """Of one name. Raises NotFound for a name that is neither a service nor a model."""
        if self.is_closing.is_set():
            is_well = False
        elif name in {"", SERVICE}:
            is_well = self._service.is_ready()
        else:
            is_well = self._service.is_model_ready(name, None)
        return int(_STATUS.Value("SERVING" if is_well else "NOT_SERVING"))

    async def changes(self, name: str) -> AsyncIterator[int]:
        """The state now and whenever it changes, until the door goes."""
        name, last = name[: _LONGEST_NAME + 1], None
        self._watched[name] += 1
        try:
            if name not in self._states:
                self._states[name] = self._seen(name)
            if self._looking is None:
                self._looking = asyncio.create_task(self._look())
            while True:
                if (status := self._states[name]) != last:
                    yield status
                    last = status
                elif self.is_closing.is_set():
                    return
                else:
                    await self._changed.wait()
        finally:
            self._leave(name)

    def _leave(self, name: str) -> None:
        self._watched[name] -= 1
        if not self._watched[name]:
            del self._watched[name], self._states[name]
        if not self._watched and self._looking is not None:
            self._looking.cancel()
            self._looking = None

    async def _look(self) -> None:
        while not self.is_closing.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(WATCH_EVERY_S):
                    await self.is_closing.wait()
            states = {name: self._seen(name) for name in self._watched}
            if states != self._states or self.is_closing.is_set():
                self._states, changed, self._changed = states, self._changed, asyncio.Event()
                changed.set()

    def _seen(self, name: str) -> int:
        try:
            return self.status(name)
        except NotFound:
            return _UNKNOWN
        except Exception:
            _log.exception("the health of %r cannot be told", name)
            return int(_STATUS.Value("NOT_SERVING"))
