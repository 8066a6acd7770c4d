"""The operator's composition root: settings -> objects -> watch, look, lead, answer. Nowhere else are they wired.

`python -m operators.handlers.main` runs it; so does `vedette operator run`."""

import asyncio
import logging
import random
import socket
import sys
from collections.abc import Callable

import aiohttp
from aiohttp import web

from operators.backends.kube import Access, Kube, KubeError, access
from operators.handlers.agenda import Agenda, Backoff
from operators.handlers.backends import Backends
from operators.handlers.documents import Document, Key, key_of
from operators.handlers.lease import Alone, Leadership
from operators.handlers.look import Looker
from operators.handlers.metrics import OperatorMetrics
from operators.handlers.policies import PolicyLooker
from operators.handlers.record import COMPONENT, Recorder
from operators.handlers.server import serve
from operators.handlers.settings import OperatorSettings
from operators.handlers.shelf import Shelf, policy_name
from operators.handlers.watch import registry_of, watch
from operators.handlers.webhook import Certificate, CertificateMissing, application, listen
from serving.telemetry.logs import configure_logging

_log = logging.getLogger("vedette.operator")


class Operator:
    """One operator process's objects."""

    def __init__(
        self,
        kube: Kube,
        session: aiohttp.ClientSession,
        reached: Access,
        settings: OperatorSettings,
        metrics: OperatorMetrics,
    ) -> None:
        self.settings, self.shelf, self.metrics = settings, Shelf(), metrics
        self.ready = asyncio.Event()
        self._rng = random.Random()  # noqa: S311 - spreads looks, guards nothing
        self.leadership = self._elected(kube, reached) if settings.leader_election else Alone()
        leads: Callable[[], bool] = lambda: self.leadership.is_ours  # noqa: E731
        backends = Backends(kube, session, settings)
        self.looker = Looker(kube, self.shelf, backends, self.metrics, settings, leads=leads)
        backoff = Backoff(settings.backoff_first_s, settings.backoff_most_s, settings.jitter_ratio, self._rng)
        self.services: Agenda[Key] = Agenda(self.looker.look, backoff, workers=settings.workers)
        policies = PolicyLooker(Recorder(kube), self.shelf, leads=leads)
        self.policies: Agenda[Key] = Agenda(policies.look, backoff, workers=1)

    async def service_seen(self, document: Document, is_gone: bool) -> None:
        """The watch saw a ModelService."""
        key = key_of(document)
        if is_gone:
            self.shelf.drop_service(key)
            await self.services.wake(key)
        elif self.shelf.put_service(document):
            await self.services.wake(key)
        else:
            return
        policy = policy_name(document)
        if policy is not None:
            await self.policies.wake((key[0], policy), after_s=1.0)

    async def policy_seen(self, document: Document, is_gone: bool) -> None:
        """The watch saw a RolloutPolicy: whoever follows it is looked at."""
        key = key_of(document)
        if is_gone:
            self.shelf.drop_policy(key)
        elif not self.shelf.put_policy(document):
            return
        await self.policies.wake(key, after_s=1.0)
        for service in self.shelf.following(key):
            await self.services.wake(service)

    async def gained(self) -> None:
        """We lead: look at everything, spread over a while."""
        self.metrics.leads(is_leader=True)
        for key in self.shelf.services():
            await self.services.wake(key, after_s=self._rng.uniform(0, self.settings.startup_spread_s))
        for key in self.shelf.policies():
            await self.policies.wake(key, after_s=self._rng.uniform(0, self.settings.startup_spread_s))

    async def lost(self) -> None:
        """Another leads: stop, and remember nothing that it may change."""
        self.metrics.leads(is_leader=False)
        await self.services.clear()
        await self.policies.clear()
        self.looker.forget_all()

    def _elected(self, kube: Kube, reached: Access) -> Leadership:
        s = self.settings
        return Leadership(
            kube,
            s.lease_namespace or reached.namespace,
            s.lease_name,
            s.identity or socket.gethostname(),
            duration_s=s.lease_duration_s,
            renew_s=s.lease_renew_s,
            retry_s=s.lease_retry_s,
        )


async def operate(settings: OperatorSettings, stop: asyncio.Event | None = None) -> None:
    """Run until a signal, or until stopped. Raises KubeError if there is no cluster; whatever ends unexpectedly ends all."""
    reached = access(settings.kubeconfig)
    metrics = OperatorMetrics()
    async with Kube(reached, manager=COMPONENT, on_request=metrics.on_request) as kube, aiohttp.ClientSession() as session:
        operator = Operator(kube, session, reached, settings, metrics)
        await _run(operator, reached, settings, stop or asyncio.Event())


async def _run(operator: Operator, reached: Access, settings: OperatorSettings, stop: asyncio.Event) -> None:
    certificate = Certificate(settings.webhook_cert_dir) if settings.webhook_port else None
    registry = registry_of(reached, operator.service_seen, operator.policy_seen)
    loops = [
        asyncio.create_task(work, name=name)
        for name, work in (
            ("watch", watch(registry, settings.namespace_list, operator.ready, stop)),
            ("services", operator.services.run()),
            ("policies", operator.policies.run()),
            ("lease", operator.leadership.run(operator.gained, operator.lost)),
        )
    ]
    pages: list[web.AppRunner] = []
    port = 0
    if certificate is not None:
        door = application(lambda kind, outcome: operator.metrics.admissions.labels(kind, outcome).inc())
        pages.append((await listen(settings.http_host, settings.webhook_port, certificate.context, door))[0])
        loops.append(asyncio.create_task(certificate.follow(), name="certificate"))
    if settings.http_port:
        page, port = await serve(
            settings.http_host,
            settings.http_port,
            render=operator.metrics.render,
            is_alive=lambda: not any(t.done() for t in loops),
            is_ready=operator.ready.is_set,
        )
        pages.append(page)
    _log.info("the operator looks after %s; /metrics on port %d", settings.namespaces or "all namespaces", port)
    done, left = await asyncio.wait(loops, return_when=asyncio.FIRST_COMPLETED)
    stop.set()
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    for page in pages:
        await page.cleanup()
    for task in done:
        task.result()


def run(settings: OperatorSettings) -> int:
    """Run until a signal; the exit status."""
    configure_logging(settings.log_level)
    try:
        asyncio.run(operate(settings))
    except (KubeError, CertificateMissing) as problem:
        _log.error("%s", problem)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(run(OperatorSettings()))
