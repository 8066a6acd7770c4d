"""The loop in a process of its own thread, beside the replicas that `vedette up` started; and what is managed in a store."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp

from operators.backends.local import LocalBackend
from operators.control.folder import ControlFolder
from operators.control.loop import Loop, approval_desk, pause
from operators.rollout.spec import Revision
from serving.access.client_credentials import DoorCredentials
from serving.audit.keys.keyring import Keyring
from serving.files.registrations import metrics_addresses

if TYPE_CHECKING:
    from serving.launch.local import LocalServing
    from serving.settings import ServingSettings

_STOP_S = 10.0
_AGAIN_S = 5.0
_log = logging.getLogger("vedette.rollout")


@contextlib.contextmanager
def rollouts(settings: "ServingSettings", running: "LocalServing") -> Iterator[None]:
    """Run the rollouts of the settings' store, and scale its replicas, while the block runs."""
    loop = asyncio.new_event_loop()
    stopping = asyncio.Event()
    thread = threading.Thread(
        target=loop.run_until_complete,
        args=(keep_running(lambda: _run(settings, running, stopping), stopping),),
        name="rollouts",
        daemon=True,
    )
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join(_STOP_S)
        if not thread.is_alive():
            loop.close()


async def keep_running(work: Callable[[], Awaitable[None]], stopping: asyncio.Event, *, again_s: float = _AGAIN_S) -> None:
    """Do the work until told to stop. If it ends by itself, log that and start it again; serving goes on meanwhile."""
    while not stopping.is_set():
        try:
            await work()
        except Exception:
            _log.exception("the rollouts of this store have stopped; starting again in %g s", again_s)
            await pause(stopping, again_s)


def managed_models(store_dir: Path) -> dict[str, Revision]:
    """Models that have a service document in this store, and what serves them: stable, or before any look the document's revision.

    Raises ControlError if a file is damaged."""
    folder = ControlFolder(store_dir)
    found = {}
    for name in folder.names():
        service, status = folder.service(name), folder.status(name)
        found[service.ref.model] = (status.stable if status else None) or service.spec.revision
    return found


async def _run(settings: "ServingSettings", running: "LocalServing", stopping: asyncio.Event) -> None:
    host = "127.0.0.1" if settings.host == "0.0.0.0" else settings.host  # noqa: S104  # nosec B104  # asked, not listened on
    async with aiohttp.ClientSession() as session:
        backend = LocalBackend(
            settings.store_dir,
            session,
            addresses=lambda: (
                metrics_addresses(settings.store_dir) if settings.tls_cert else (f"http://{host}:{running.http_port}",)
            ),
            expected_replicas=lambda: running.replicas,
            scale=running.scale,
            credentials=DoorCredentials().headers,
        )
        folder = ControlFolder(settings.store_dir)
        keys = Keyring.of(
            settings.store_dir, settings.audit_key, settings.audit_key_name, folders=[settings.store_dir / "governance"]
        )
        desk = approval_desk(folder, lambda: datetime.now(UTC), keys.signer)
        await Loop(folder, backend, most_replicas=running.most_replicas, desk=desk).run(stopping)
