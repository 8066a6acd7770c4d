"""kopf's part, and kopf's only door: what is watched, and how a change becomes a look. A few lines a handler.

kopf keeps the watches alive and brings every change. It writes nothing: its own records (annotations, finalizers, progress in the
status) would be edits of resources that people keep in Git, so only `on.event` handlers are used, and finalizer, status and
retries are ours (operators.handlers.looking.record, operators.handlers.watching.work_queue).

kopf runs in a thread and an event loop of its own. When it ends, it waits for every task that began in its loop after itself, then
cancels it; In our loop it would cancel the looks, the Lease and the pages. It also ends on obstacles that may pass (a kind that is not
served, a right that is missing); operators.handlers.watching.follow then starts it again."""

import asyncio
import logging
import ssl
import threading
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Final

import kopf
from kopf._cogs.structs.references import Insights

from operators.api.types import GROUP, VERSION
from operators.backends.kube import MODEL_SERVICES, ROLLOUT_POLICIES, Access
from operators.handlers.documents import ResourceDocument

OnChange = Callable[[ResourceDocument, bool], Awaitable[None]]
"""Told of a document, and whether it is gone."""
_PLURALS: Final = frozenset({MODEL_SERVICES.plural, ROLLOUT_POLICIES.plural})
_STOP_S: Final = 1.0


class WatchEnded(Exception):
    """The watch has ended; the message says why."""


class Watch:
    """Both kinds, watched from `start` until `stop`. Begun once; another one follows it.

    namespaces: by name; empty: all. service, policy: called in the event loop that calls `start`."""

    def __init__(self, reached: Access, namespaces: Collection[str], service: OnChange, policy: OnChange) -> None:
        self._reached, self._namespaces, self._seen = reached, namespaces, {"services": service, "policies": policy}
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._is_stopping = threading.Event()
        self._stop: Callable[[], object] = lambda: None

    def start(self) -> None:
        """Begin."""
        self._ours = asyncio.get_running_loop()
        self._ended: asyncio.Future[str] = self._ours.create_future()
        self._thread.start()

    async def ended_within(self, seconds: float) -> None:
        """Wait for so long. Raises WatchEnded if it ended."""
        done, _ = await asyncio.wait({self._ended}, timeout=seconds)
        if done:
            raise WatchEnded(f"the watch ended: {self._ended.result()}")

    async def stop(self) -> None:
        """Tell it to end, and wait a moment. What it brings from now on is not passed on."""
        self._is_stopping.set()
        self._stop()
        await asyncio.wait({self._ended}, timeout=_STOP_S)

    def _run(self) -> None:
        why = "no reason is known"
        try:
            asyncio.run(self._work())
        except BaseException as problem:
            why = f"{type(problem).__name__}: {problem}"
        try:
            self._ours.call_soon_threadsafe(self._ended.set_result, why)
        except RuntimeError:  # the operator has ended before
            return

    async def _work(self) -> None:
        theirs, stop, insights = asyncio.get_running_loop(), asyncio.Event(), Insights()

        def end() -> None:
            if not theirs.is_closed():
                theirs.call_soon_threadsafe(stop.set)

        self._stop = end
        if self._is_stopping.is_set():
            return
        watching = asyncio.create_task(self._operator(insights, stop))
        known = asyncio.create_task(insights.ready_resources.wait())
        await asyncio.wait({watching, known}, return_when=asyncio.FIRST_COMPLETED)
        known.cancel()
        missing = _PLURALS - {resource.plural for resource in insights.watched_resources}
        if known.done() and missing:
            stop.set()
            await watching
            raise WatchEnded(f"the API server does not list {', '.join(sorted(missing))} of {GROUP}/{VERSION} yet")
        await watching

    async def _operator(self, insights: Insights, stop: asyncio.Event) -> None:
        logging.getLogger("kopf").setLevel(logging.WARNING)
        logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)  # it warns that signals are not its own
        settings = kopf.OperatorSettings()
        settings.scanning.disabled = True  # else it lists CRDs and namespaces, which needs rights that nothing else here needs
        settings.posting.enabled = False
        settings.peering.standalone = True
        settings.networking.error_backoffs = (0.5, 1, 2, 3, 5, 8)
        settings.watching.server_timeout = 10 * 60
        await kopf.operator(
            registry=self._registry(),
            settings=settings,
            standalone=True,
            clusterwide=not self._namespaces,
            namespaces=self._namespaces,
            insights=insights,
            stop_flag=stop,
        )

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()

        async def log_in(**_: Any) -> kopf.ConnectionInfo:
            return await asyncio.to_thread(_connection, self._reached)

        async def service_seen(event: Mapping[str, Any], **_: Any) -> None:
            await self._tell("services", event)

        async def policy_seen(event: Mapping[str, Any], **_: Any) -> None:
            await self._tell("policies", event)

        kopf.on.login(registry=registry)(log_in)
        kopf.on.event(GROUP, VERSION, MODEL_SERVICES.plural, registry=registry)(service_seen)
        kopf.on.event(GROUP, VERSION, ROLLOUT_POLICIES.plural, registry=registry)(policy_seen)
        return registry

    async def _tell(self, what: str, event: Mapping[str, Any]) -> None:
        """Pass it on to our loop, one event of an object after the other."""
        if self._is_stopping.is_set():
            return
        seen = self._seen[what](event["object"], event["type"] == "DELETED")
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_as_coroutine(seen), self._ours))


async def _as_coroutine(seen: Awaitable[None]) -> None:
    await seen


class _Connection(kopf.ConnectionInfo):  # type: ignore[misc]
    """Takes the certificates that operators.backends.kube_access takes."""

    def as_ssl_context(self) -> ssl.SSLContext:
        context: ssl.SSLContext = super().as_ssl_context()
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return context


def _connection(reached: Access) -> kopf.ConnectionInfo:
    found, header = reached.official, reached.header()
    scheme, _, token = (header or "").partition(" ")
    return _Connection(
        server=reached.server,
        ca_path=found.ssl_ca_cert,
        insecure=not found.verify_ssl,
        certificate_path=found.cert_file,
        private_key_path=found.key_file,
        scheme=scheme.capitalize() or None,
        token=token or None,
        default_namespace=reached.namespace,
        proxy_url=reached.proxy,
    )
