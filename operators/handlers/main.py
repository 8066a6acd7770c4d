"""The operator's composition root: settings -> objects -> watch, look, lead, answer. Nowhere else are they wired.

`python -m operators.handlers.main` runs it; so does `vedette operator run`."""

import asyncio
import logging
import random
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

import aiohttp
from aiohttp import web

from operators.backends.kube import MODEL_SERVICES, Access, Kind, Kube, KubeError
from operators.backends.kube_access import access
from operators.handlers.claims import competing_claimants, served_by
from operators.handlers.documents import Key, ResourceDocument, key_of
from operators.handlers.lease import Leadership, NoElection, identity_of
from operators.handlers.looking.backends import Backends
from operators.handlers.looking.look import Looker
from operators.handlers.looking.look_spans import open_tracer, traced
from operators.handlers.looking.policies import PolicyLooker
from operators.handlers.looking.record import COMPONENT, Recorder
from operators.handlers.metrics import OperatorMetrics
from operators.handlers.notices import NoticeSender
from operators.handlers.pages import serve
from operators.handlers.settings import OperatorSettings
from operators.handlers.watching.backend_watch import BackendWatch, OwnWrites
from operators.handlers.watching.follow import Follower
from operators.handlers.watching.resource_cache import ResourceCache, policy_name
from operators.handlers.watching.watch import Watch
from operators.handlers.watching.work_queue import Backoff, WorkQueue
from operators.handlers.webhook import Certificate, CertificateMissing, application, listen
from operators.telemetry.operator_names import ADMISSIONS, NOTICES
from serving.telemetry.logs import configure_logging
from serving.tls_trust import client_trust

_log = logging.getLogger("vedette.operator")
_END_S: Final = 1.5
"""How long work under way may take to end; the Lease is released after that."""


class Operator:
    """One operator process's objects."""

    def __init__(
        self,
        kube: Kube,
        session: aiohttp.ClientSession,
        reached: Access,
        settings: OperatorSettings,
        metrics: OperatorMetrics,
        own: OwnWrites,
    ) -> None:
        self.kube, self.settings, self.cache, self.metrics = kube, settings, ResourceCache(), metrics
        self.tracer = open_tracer(settings.trace_ratio, settings.otlp_endpoint)
        self._rng = random.Random()  # noqa: S311  # nosec B311  # spreads looks, guards nothing
        self.leadership = self._elected(kube, reached) if settings.leader_election else NoElection()
        leads: Callable[[], bool] = lambda: self.leadership.is_ours  # noqa: E731
        backends = Backends(kube, session, settings)
        self.looker = Looker(kube, self.cache, backends, self.metrics, settings, leads=leads)
        backoff = Backoff(settings.backoff_first_s, settings.backoff_most_s, settings.jitter_ratio, self._rng)
        self.services: WorkQueue[Key] = WorkQueue(
            traced(self.tracer, "ModelService", self.looker.look), backoff, workers=settings.workers
        )
        policies = PolicyLooker(Recorder(kube), self.cache, leads=leads)
        self.policies: WorkQueue[Key] = WorkQueue(traced(self.tracer, "RolloutPolicy", policies.look), backoff, workers=1)
        self.follower = Follower(
            kube,
            settings.namespace_list,
            self.listed,
            lambda: Watch(reached, settings.namespace_list, self.service_seen, self.policy_seen),
            check_s=settings.watch_check_interval_s,
            backoff=Backoff(min(1.0, settings.watch_check_interval_s), settings.watch_check_interval_s, 0.0, self._rng),
        )

        metrics.is_watching = lambda: self.follower.problem is None
        self.notices = self._notifying(session) if settings.notify_url else None
        self.backend_watch = BackendWatch(
            kube, settings.namespace_list, own, self.backend_changed, again_s=settings.rest_interval_s, backoff=backoff
        )

    async def listed(self, kind: Kind, namespace: str | None, documents: Sequence[ResourceDocument]) -> None:
        """All of one kind in a namespace (or everywhere). A resource that is not among them was deleted while there was no watch."""
        is_service = kind is MODEL_SERVICES
        seen, known = (self.service_seen, self.cache.services()) if is_service else (self.policy_seen, self.cache.policies())
        here = {key_of(d) for d in documents}
        for key in known:
            if namespace in (None, key[0]) and key not in here:
                await seen({"metadata": {"namespace": key[0], "name": key[1]}}, True)
        for document in sorted(
            documents, key=lambda d: str(d["metadata"].get("creationTimestamp"))
        ):  # the oldest is known first
            await seen(document, False)

    async def service_seen(self, document: ResourceDocument, is_gone: bool) -> None:
        """The watch saw a ModelService."""
        key = key_of(document)
        if is_gone:
            gone = self.cache.service(key)
            self.cache.drop_service(key)
            await self.services.wake(key)
            for waiting in competing_claimants(gone, self.cache.neighbours(key)) if gone is not None else ():
                await self.services.wake(key_of(waiting))
        elif self.cache.put_service(document):
            self.backend_watch.want(served_by(document)[0])
            await self.services.wake(key)
        else:
            return
        policy = policy_name(document)
        if policy is not None:
            await self.policies.wake((key[0], policy), after_s=1.0)

    async def policy_seen(self, document: ResourceDocument, is_gone: bool) -> None:
        """The watch saw a RolloutPolicy: look at the services that follow it."""
        key = key_of(document)
        if is_gone:
            self.cache.drop_policy(key)
        elif not self.cache.put_policy(document):
            return
        await self.policies.wake(key, after_s=1.0)
        for service in self.cache.following(key):
            await self.services.wake(service)

    async def backend_changed(self, kind: Kind, key: Key) -> None:
        """Somebody else created, changed or deleted a backend object: the decided state is restored."""
        for service in self.cache.on_backend(kind, key):
            await self.services.wake(service)

    async def gained(self) -> None:
        """We lead: look at everything, spread over a while."""
        self.metrics.leads(is_leader=True)
        self.backend_watch.start()
        for key in self.cache.services():
            await self.services.wake(key, after_s=self._rng.uniform(0, self.settings.startup_spread_s))
        for key in self.cache.policies():
            await self.policies.wake(key, after_s=self._rng.uniform(0, self.settings.startup_spread_s))

    async def lost(self) -> None:
        """Another operator leads: stop, and forget everything that it may change."""
        self.metrics.leads(is_leader=False)
        await self.backend_watch.stop()
        await self.services.clear()
        await self.policies.clear()
        self.looker.forget_all()

    def _notifying(self, session: aiohttp.ClientSession) -> NoticeSender:
        """Notices for people are sent to a webhook."""
        count = lambda outcome: self.metrics.count(NOTICES, outcome)  # noqa: E731
        sender = NoticeSender(session, self.settings.notify_url, self.settings.notify_secret_file, count)
        self.metrics.on_seen, self.metrics.notices_waiting = sender.saw, lambda: sender.waiting
        return sender

    def _elected(self, kube: Kube, reached: Access) -> Leadership:
        s = self.settings
        return Leadership(
            kube,
            s.lease_namespace or reached.namespace,
            s.lease_name,
            identity_of(s.identity or socket.gethostname()),
            duration_s=s.lease_duration_s,
            renew_s=s.lease_renew_s,
            retry_s=s.lease_retry_s,
        )


async def operate(settings: OperatorSettings, stop: asyncio.Event | None = None) -> None:
    """Run until stopped. A task that ends unexpectedly ends all. Raises KubeError if there is no cluster."""
    reached = access(settings.kubeconfig)
    metrics, own = OperatorMetrics(), OwnWrites()
    kube = Kube(reached, manager=COMPONENT, on_request=metrics.on_request, on_written=own.note)
    async with kube, aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=client_trust())) as session:
        operator = Operator(kube, session, reached, settings, metrics, own)
        try:
            await _run(operator, settings, stop or asyncio.Event())
        finally:
            if operator.tracer is not None:
                await asyncio.to_thread(operator.tracer.close)


async def _run(operator: Operator, settings: OperatorSettings, stop: asyncio.Event) -> None:
    pages, loops = await _pages(operator, settings, lambda: not any(t.done() for t in loops))
    loops += _begun(
        ("watch", operator.follower.run()),
        ("services", operator.services.run()),
        ("policies", operator.policies.run()),
    )
    if operator.notices is not None:
        loops += _begun(("notices", operator.notices.run()))
    lease = _begun(("lease", operator.leadership.run(operator.gained, operator.lost)))
    loops += lease
    told = asyncio.create_task(stop.wait(), name="stop")
    done, _ = await asyncio.wait([told, *loops], return_when=asyncio.FIRST_COMPLETED)
    await _end([told, *(t for t in loops if t not in lease)])
    await operator.backend_watch.stop()
    await _end(lease)  # last: another leads from then on
    for page in pages:
        await page.cleanup()
    for task in done - {told}:
        task.result()


async def _pages(
    operator: Operator, settings: OperatorSettings, is_alive: Callable[[], bool]
) -> tuple[list[web.AppRunner], list[asyncio.Task[None]]]:
    """The HTTP pages, and the task that follows the webhook's certificate."""
    pages: list[web.AppRunner] = []
    loops: list[asyncio.Task[None]] = []
    if settings.webhook_port:
        certificate = Certificate(settings.webhook_cert_dir)
        ours = (await operator.kube.who()).name
        door = application(ours, lambda kind, outcome: operator.metrics.count(ADMISSIONS, kind, outcome))
        pages.append((await listen(settings.http_host, settings.webhook_port, certificate.context, door))[0])
        loops += _begun(("certificate", certificate.follow()))
    if settings.http_port:
        page, port = await serve(
            settings.http_host,
            settings.http_port,
            render=operator.metrics.render,
            is_alive=is_alive,
            problem=lambda: operator.follower.problem,
        )
        pages.append(page)
        _log.info("the operator looks after %s; /metrics on port %d", settings.namespaces or "all namespaces", port)
    return pages, loops


def _begun(*work: tuple[str, Coroutine[Any, Any, None]]) -> list[asyncio.Task[None]]:
    return [asyncio.create_task(coroutine, name=name) for name, coroutine in work]


async def _end(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel them, and wait at most the operator's grace period."""
    for task in tasks:
        task.cancel()
    _, left = await asyncio.wait(tasks, timeout=_END_S)
    for task in left:
        _log.error("%s did not end within %g s; the operator exits without it", task.get_name(), _END_S)


async def _until_signal(settings: OperatorSettings) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await operate(settings, stop)


def run(settings: OperatorSettings) -> int:
    """Run until a signal; the exit status."""
    configure_logging(settings.log_level)
    try:
        asyncio.run(_until_signal(settings))
    except (KubeError, CertificateMissing) as problem:
        _log.error("%s", problem)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(run(OperatorSettings()))
