"""Follows both kinds for as long as the operator runs: lists, watches, notices when that is no longer possible, and starts again.

Ready means: both kinds were listed in every namespace, and are watched. An obstacle (the definitions are missing or being replaced; a right
is missing) is in `problem` and does not restart the pod. operators.handlers.watching.watch does the watching."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from operators.backends.kube import MODEL_SERVICES, ROLLOUT_POLICIES, Kind, Kube, KubeError, KubeObject, NotFound
from operators.handlers.watching.watch import WatchEnded
from operators.handlers.watching.work_queue import Backoff

Listed = Callable[[Kind, str | None, Sequence[KubeObject]], Awaitable[None]]
"""Told of everything of one kind that is there, in one namespace or in all."""
KINDS: Final = (MODEL_SERVICES, ROLLOUT_POLICIES)
_log = logging.getLogger("vedette.operator")


class Watching(Protocol):
    """A watch of both kinds (operators.handlers.watching.watch.Watch)."""

    def start(self) -> None:
        """Begin."""

    async def ended_within(self, seconds: float) -> None:
        """Wait for so long. Raises WatchEnded if it ended."""

    async def stop(self) -> None:
        """End it."""


class Follower:
    """problem: why nothing is followed now; None: both kinds are.

    namespaces: by name; empty: all. listed: told of what is there before the watch begins. watch: makes one. check_s: how often
    the API server is asked whether both kinds can still be listed. backoff: between two tries."""

    def __init__(
        self,
        kube: Kube,
        namespaces: Sequence[str],
        listed: Listed,
        watch: Callable[[], Watching],
        *,
        check_s: float,
        backoff: Backoff,
    ) -> None:
        self._kube, self._listed, self._watch = kube, listed, watch
        self._places = [(kind, namespace) for kind in KINDS for namespace in (namespaces or (None,))]
        self._check_s, self._backoff, self._failures = check_s, backoff, 0
        self.problem: str | None = "nothing is listed yet"

    async def run(self) -> None:
        """Follow, until cancelled."""
        while True:
            try:
                await self._follow()
            except (KubeError, WatchEnded) as problem:
                self._tell(str(problem))
            self._failures += 1
            await asyncio.sleep(self._backoff.pause_s(self._failures))

    async def _follow(self) -> None:
        """List everything, then watch until that fails. Raises KubeError, WatchEnded."""
        for kind, namespace in self._places:
            await self._list(kind, namespace)
        watch = self._watch()
        watch.start()
        try:
            await watch.ended_within(0)
            _log.info("both kinds are listed and watched")
            self.problem, self._failures = None, 0
            while True:
                await watch.ended_within(self._check_s)
                await self._check()
        finally:
            self.problem = self.problem or "the watch has ended"
            await watch.stop()

    async def _list(self, kind: Kind, namespace: str | None) -> None:
        try:
            documents, version = await self._kube.list_all(kind, namespace)
            await self._kube.may_watch(kind, namespace, version)
        except NotFound as problem:
            await self._listed(kind, namespace, ())  # with its definition everything of a kind is gone
            raise _missing(kind) from problem
        await self._listed(kind, namespace, documents)

    async def _check(self) -> None:
        """Whether both kinds are there and may be listed. An API server that is down for a while does not restart the watch."""
        for kind, namespace in self._places:
            try:
                await self._kube.list(kind, namespace, limit=1)
            except NotFound as problem:
                raise _missing(kind) from problem
            except KubeError as problem:
                if not problem.can_retry:
                    raise

    def _tell(self, problem: str) -> None:
        """Say a problem once, not at every try."""
        if problem != self.problem:
            _log.warning("%s; trying again", problem)
        self.problem = problem


def _missing(kind: Kind) -> NotFound:
    return NotFound(
        f"this cluster does not serve {kind.kind} of {kind.api_version}: its definition (CRD) is not there; waiting for "
        "`kubectl apply --server-side -k manifests/crds`",
        404,
    )
