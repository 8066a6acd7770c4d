"""grpc.health.v1 over the InferenceService port: the server (""), the inference service, and each model by its name.

Values and waiting only; how a door carries them is the door's."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from grpc_health.v1 import health_pb2

from serving.errors import NotFound
from serving.ports import InferenceService
from serving.protocol.stubs import SERVICE

WATCH_EVERY_S: Final = 0.5
"""How often a health watch looks."""
_STATUS: Final = health_pb2.HealthCheckResponse.ServingStatus


class Health:
    """is_closing: the door is going; nothing is well any more."""

    def __init__(self, service: InferenceService) -> None:
        self._service = service
        self.is_closing = asyncio.Event()

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
        last = None
        while True:
            try:
                status = self.status(name)
            except NotFound:
                status = int(_STATUS.Value("SERVICE_UNKNOWN"))
            if status != last:
                yield status
                last = status
            if self.is_closing.is_set():
                return
            try:
                async with asyncio.timeout(WATCH_EVERY_S):
                    await self.is_closing.wait()
            except TimeoutError:
                continue
