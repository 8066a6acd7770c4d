"""One replica without Ray: its listeners, and the service behind them, which serving.app composes on the listeners' loop.

The Ray Serve shell around it is serving.replica.replica; pods without Ray and tests use it as it is, and need not import Ray."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from serving.doors.interpreter import settle, share_fairly
from serving.doors.listener import DoorAddresses, DoorBackend, Listener
from serving.doors.tls.files import TlsFiles
from serving.loading.served_file import ServedFile
from serving.models.errors import ModelError
from serving.replica.inference_service import ModelServer
from serving.replica.siblings import Siblings
from serving.settings import ServingSettings
from serving.spec import ServingSpec

_FOLLOW_EVERY_S: Final = 1.0
GRACE_S: Final = 10.0
"""How long requests under way may take when the doors close."""
_ANSWERS_WITHIN_S: Final = 10.0
"""Ray Serve replaces a replica after three failed checks, a second apart: a loop may be silent for half a minute on a busy machine."""
_log = logging.getLogger("vedette.replica")


@dataclass(frozen=True, slots=True)
class Composition:
    """The objects of one replica, made by serving.app."""

    service: ModelServer
    backend: DoorBackend
    served: ServedFile
    fallback: Callable[[], ServingSpec]
    siblings: Siblings
    load: Callable[[], Mapping[str, float]]
    close: Callable[[], Awaitable[None]]


Compose = Callable[[ServingSettings], Awaitable[Composition]]


def most_replicas(settings: ServingSettings) -> int:
    """The largest number of replicas on this machine; if it is above 1 they share the ports."""
    return max(settings.replicas, settings.max_replicas or 0)


def tls_files(settings: ServingSettings) -> TlsFiles | None:
    """The files of the doors' TLS; None for plain doors."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    return TlsFiles(settings.tls_cert, settings.tls_key, settings.tls_client_ca, settings.tls_client)


class ReplicaHost:
    """A replica without Ray: the listeners and the service behind them.

    shares_ports: other sockets may have the same ports, as they always may where several replicas are wanted."""

    def __init__(self, settings: ServingSettings, compose: Compose, *, shares_ports: bool = False) -> None:
        self._settings, self._compose = settings, compose
        self._composition: Composition | None = None
        self._following: asyncio.Task[None] | None = None
        own_http = settings.http_port if settings.front_door == "replica" else 0
        self._listener = Listener(
            self._startup,
            self._shutdown,
            host=settings.host,
            http_port=own_http,
            grpc_port=settings.grpc_port,
            max_body_bytes=settings.max_body_bytes,
            reuse_port=shares_ports or most_replicas(settings) > 1,
            max_connections=settings.max_connections,
            max_unfinished_bytes=settings.max_unfinished_bytes,
            max_client_share=settings.max_client_share,
            tls=tls_files(settings),
            probe_port=settings.probe_port,
        )

    def open(self) -> DoorAddresses:
        """Open the doors. The replica serves nothing and is not ready until the first `reconfigure`."""
        share_fairly()
        ports = self._listener.start()
        self._composed().siblings.register(ports.own)
        return ports

    def start(self, config: Mapping[str, Any] | None = None) -> DoorAddresses:
        """Open the doors; returns when every model is loaded or refused. config: as for `reconfigure`."""
        ports = self.open()
        self.reconfigure(config or {})
        settle()
        return ports

    def reconfigure(self, config: Mapping[str, Any], *, is_waiting: bool = True) -> None:
        """Serve what the specification in config names; without one, follow the store's served.json.

        is_waiting: return when all of it is loaded or refused. Raises pydantic.ValidationError for a config that is not valid."""
        spec = None
        if config.get("models"):
            spec = ServingSpec.from_config(config).model_copy(update={"managed": "all"})  # by the writer of user_config
        applying = self._listener.submit(self._reconfigure(spec))
        if is_waiting:
            applying.result()

    def submit(self, work: Any) -> Any:
        """Run a coroutine on the listeners' loop; returns a concurrent future."""
        return self._listener.submit(work)

    def leave(self) -> None:
        """Say that this replica is not ready, and answer as before. For those who choose replicas by readiness: Ray Serve ends a replica
        whose pod stays, so a Service goes on choosing it until the probe has failed."""
        self._listener.submit(self._leave()).result(GRACE_S)

    def stop(self) -> None:
        """Leave, and `leave_s` later close the doors, let requests under way finish, release everything."""
        if self._settings.leave_s and self._composition is not None and self._listener.is_running:
            try:
                self.leave()
            except Exception:  # the doors are closed all the same
                _log.exception("this replica cannot say that it leaves")
            else:
                time.sleep(self._settings.leave_s)
        self._listener.stop(GRACE_S)

    def load(self) -> Mapping[str, float]:
        """The load for an autoscaler: `ongoing_requests`, and `loop_late_s`, how late the listeners' loop has been lately."""
        return self._composed().load()

    @property
    def backend(self) -> DoorBackend:
        """The service behind the doors."""
        return self._composed().backend

    @property
    def service(self) -> ModelServer:
        """The service behind the doors, with what only this process may ask."""
        return self._composed().service

    def is_well(self) -> bool:
        """Whether the listeners' loop answers."""
        try:
            return bool(self._listener.submit(_alive()).result(_ANSWERS_WITHIN_S))
        except (RuntimeError, TimeoutError):
            return False

    async def _startup(self) -> DoorBackend:
        self._composition = await self._compose(self._settings)
        if (
            most_replicas(self._settings) > 1
        ):  # others answer on these ports: no connection comes here before the models are there
            await self._serve_the_file()
        return self._composition.backend

    async def _leave(self) -> None:
        self._composed().service.leave()
        self._listener.retire()

    async def _shutdown(self) -> None:
        if self._following is not None:
            self._following.cancel()
        if self._composition is not None:
            await self._composition.close()

    async def _reconfigure(self, spec: ServingSpec | None) -> None:
        composition = self._composed()
        if self._following is not None:
            self._following.cancel()
            self._following = None
        if spec is not None:
            await composition.service.apply(spec)
        else:
            await self._serve_the_file()

    async def _serve_the_file(self) -> None:
        """Serve what served.json says and follow it. Following starts first: an abort must not wait until the first models are loaded."""
        composition = self._composed()
        composition.served.changed()
        spec = await asyncio.to_thread(self._desired)
        self._following = asyncio.get_running_loop().create_task(self._follow())
        await composition.service.apply(spec)

    async def _follow(self) -> None:
        """Apply each change at once, even while the one before still loads: an abort must not wait for a slow candidate."""
        composition, applying, is_due = self._composed(), set[asyncio.Task[None]](), False
        while True:
            await asyncio.sleep(_FOLLOW_EVERY_S)
            try:
                is_due = composition.served.changed() or is_due
                if is_due:
                    spec = await asyncio.to_thread(self._desired)
                    is_due = False
                    applying.add(asyncio.create_task(composition.service.apply(spec)))
            except ModelError as problem:  # a damaged file is damaged until it is written again
                is_due = False
                _log.error("%s; serving goes on as before", problem)
            except Exception as problem:  # the next read may succeed; whatever it was, the file is followed
                is_due = True
                trace = None if isinstance(problem, OSError) else problem
                _log.error("%s; serving goes on as before", problem, exc_info=trace)
            applying = {task for task in applying if not task.done()}

    def _desired(self) -> ServingSpec:
        composition = self._composed()
        return composition.served.read() or composition.fallback()

    def _composed(self) -> Composition:
        if self._composition is None:
            raise RuntimeError("the replica is not started")
        return self._composition


async def _alive() -> bool:
    return True
