"""grpc.health.v1 over the InferenceService port: the server (""), the inference service, and each model by its name.

Values and waiting only; the door sends them."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from typing import Final

from grpc_health.v1 import health_pb2

from serving.doors.grpc.stubs import SERVICE
from serving.errors import NotFound
from serving.ports import InferenceService

_LONGEST_NAME: Final = 256
"""Characters; no model has a longer name."""
_UNKNOWN: Final = int(health_pb2.HealthCheckResponse.ServingStatus.Value("SERVICE_UNKNOWN"))
_log = logging.getLogger(__name__)
_STATUS: Final = health_pb2.HealthCheckResponse.ServingStatus


class Health:
    """A change of the served models causes one look at each watched name, for any number of watchers; there is no polling."""

    def __init__(self, service: InferenceService) -> None:
        self._service = service
        self._is_closing = self._is_due = False
        self._watched = Counter[str]()
        self._states: dict[str, int] = {}
        self._changed = asyncio.Event()
        service.on_change(self._look_soon)

    def close(self) -> None:
        """The door closes: every name is not serving, and watchers are told."""
        self._is_closing = True
        self._look()

    def status(self, name: str) -> int:
        """Of one name. Raises NotFound for a name that is neither a service nor a model."""
        if self._is_closing:
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
            while True:
                if (status := self._states[name]) != last:
                    yield status
                    last = status
                elif self._is_closing:
                    return
                else:
                    await self._changed.wait()
        finally:
            self._watched[name] -= 1
            if not self._watched[name]:
                del self._watched[name], self._states[name]

    def _look_soon(self) -> None:
        """In the loop's next turn, once for all changes of this one; when the change is whole."""
        if self._watched and not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        self._is_due = False
        states = {name: self._seen(name) for name in self._watched}
        if states != self._states or self._is_closing:
            self._states, changed, self._changed = states, self._changed, asyncio.Event()
            changed.set()

    def _seen(self, name: str) -> int:
        try:
            return self.status(name)
        except NotFound:
            return _UNKNOWN
        except Exception:
            _log.exception("the health of %r cannot be determined", name)
            return int(_STATUS.Value("NOT_SERVING"))
