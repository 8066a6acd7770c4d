"""Watches the RayServices and InferenceServices that serve ModelServices, and reports changes by others.

Only the leader watches. The watch only speeds things up, since a look comes anyway after a while. So an obstacle (the kind is not
installed, a right is missing) is logged once and tried again later, and the operator stays ready. Of an object only its metadata is read. A
change is another uid or generation: a status, which KubeRay writes every few seconds, wakes nobody; nor do our own writes."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from operators.backends.kube import INFERENCE_SERVICES, RAY_SERVICES, Kind, Kube, KubeError, NotFound
from operators.handlers.documents import Key, ResourceDocument, key_of
from operators.handlers.watching.work_queue import Backoff

Changed = Callable[[Kind, Key], Awaitable[None]]
"""Told of an object that was made, changed or deleted by somebody else."""
_Version = tuple[str, int]
"""uid and generation."""
_WATCHED: Final = frozenset({RAY_SERVICES, INFERENCE_SERVICES})
_SETTLE_S: Final = 0.2
"""Changes within this time are reported together, and the answer to a write of ours has come by then."""
_BEGUN: Final = 200
_IN_THE_WAY: Final = frozenset({401, 403, 404})
_log = logging.getLogger("vedette.operator")


class OwnWrites:
    """The version that our last write gave each watched object."""

    def __init__(self) -> None:
        self._left: dict[tuple[Kind, Key], _Version] = {}

    def note(self, kind: Kind, document: ResourceDocument) -> None:
        """We wrote it; this is what the API server answered."""
        if kind in _WATCHED:
            self._left[kind, key_of(document)] = _version(document)

    def made(self, kind: Kind, key: Key, version: _Version | None) -> bool:
        """Whether our own write made this version. version: None: the object is gone."""
        if version is None:
            self._left.pop((kind, key), None)
            return False
        return self._left.get((kind, key)) == version


class BackendWatch:
    """Watches from `start` to `stop`, as often as wanted. RayServices always; InferenceServices once somebody wants them.

    namespaces: by name; empty: all. again_s: until a kind that is not served or may not be watched is tried again. backoff: after
    other failures."""

    def __init__(
        self,
        kube: Kube,
        namespaces: Sequence[str],
        own: OwnWrites,
        changed: Changed,
        *,
        again_s: float,
        backoff: Backoff,
        settle_s: float = _SETTLE_S,
    ) -> None:
        self._kube, self._namespaces, self._own, self._changed = kube, namespaces or (None,), own, changed
        self._again_s, self._backoff, self._settle_s = again_s, backoff, settle_s
        self._wanted = [RAY_SERVICES]
        self._tasks: list[asyncio.Task[None]] = []
        self._news: dict[tuple[Kind, Key], _Version | None] = {}
        self._has_news = asyncio.Event()

    def start(self) -> None:
        """Begin: we lead."""
        if not self._tasks:
            self._tasks.append(asyncio.create_task(self._tell(), name="backend changes"))
            for kind in self._wanted:
                self._begin(kind)

    async def stop(self) -> None:
        """End: another leads, or nobody."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._news.clear()

    def want(self, kind: Kind) -> None:
        """A service is served by one of this kind."""
        if kind not in self._wanted:
            self._wanted.append(kind)
            if self._tasks:
                self._begin(kind)

    def _begin(self, kind: Kind) -> None:
        for namespace in self._namespaces:
            self._tasks.append(asyncio.create_task(self._follow(kind, namespace), name=f"watch of {kind.plural}"))

    async def _follow(self, kind: Kind, namespace: str | None) -> None:
        """List and watch one kind in one namespace, again and again, until cancelled."""
        place, failures = _Place(kind, namespace, self._note), 0
        while True:
            pause_s = self._backoff.pause_s(failures + 1)
            try:
                await self._once(place)
                failures = 0
            except KubeError as problem:
                failures += 1
                place.failed(problem)
                if problem.status in _IN_THE_WAY:
                    pause_s = self._backoff.spread(self._again_s)
            except Exception:
                failures += 1
                _log.exception("the watch of %s failed", kind.plural)
            await asyncio.sleep(pause_s)

    async def _once(self, place: "_Place") -> None:
        """List, then watch until the API server ends that. Raises KubeError."""
        documents, version = await self._kube.list_all(place.kind, place.namespace, only_metadata=True)
        place.listed(documents)
        async with self._kube.watching(place.kind, place.namespace, version) as events:
            place.goes_on()
            async for event, document in events:
                place.seen(document, is_gone=event == "DELETED")

    def _note(self, kind: Kind, key: Key, version: _Version | None) -> None:
        self._news[kind, key] = version
        self._has_news.set()

    async def _tell(self) -> None:
        while True:
            await self._has_news.wait()
            await asyncio.sleep(self._settle_s)
            self._has_news.clear()
            news, self._news = self._news, {}
            for (kind, key), version in news.items():
                if not self._own.made(kind, key, version):
                    await self._tell_of(kind, key)

    async def _tell_of(self, kind: Kind, key: Key) -> None:
        """Report one object. A failure does not stop the reports of other objects."""
        try:
            await self._changed(kind, key)
        except Exception:
            _log.exception("a change of %s %s caused no look; the next look at its services sees it", kind.kind, "/".join(key))


class _Place:
    """One kind in one namespace, as it was seen last. note: told what has changed; None for what is gone."""

    def __init__(self, kind: Kind, namespace: str | None, note: Callable[[Kind, Key, _Version | None], None]) -> None:
        self.kind, self.namespace, self._note = kind, namespace, note
        self._seen: dict[Key, _Version] | None = None
        self._logged_status: int | None = None

    def listed(self, documents: Sequence[ResourceDocument]) -> None:
        """Every object that is there. The first list is not reported, because a new leader looks at every service anyway."""
        here = {key_of(d): _version(d) for d in documents}
        before, self._seen = self._seen, here
        if before is None:
            return
        for key in before.keys() | here.keys():
            if before.get(key) != here.get(key):
                self._note(self.kind, key, here.get(key))

    def seen(self, document: ResourceDocument, *, is_gone: bool) -> None:
        """The watch brought this."""
        key, version = key_of(document), None if is_gone else _version(document)
        here = self._seen = self._seen if self._seen is not None else {}
        if here.get(key) == version:
            return
        if version is None:
            del here[key]
        else:
            here[key] = version
        self._note(self.kind, key, version)

    def goes_on(self) -> None:
        """The watch has begun. It is logged the first time, and after a failure was logged."""
        if self._logged_status != _BEGUN:
            _log.info("%s of %s are watched", self.kind.plural, self.namespace or "all namespaces")
        self._logged_status = _BEGUN

    def failed(self, problem: KubeError) -> None:
        """It could not be listed or watched. With its definition everything of a kind is gone; what comes then is news."""
        if isinstance(problem, NotFound):
            self.listed(())
        self._seen = self._seen or {}
        if problem.status in _IN_THE_WAY and problem.status != self._logged_status:
            self._logged_status = problem.status
            _log.log(*_words(self.kind, problem))


def _words(kind: Kind, problem: KubeError) -> tuple[int, str]:
    """The log line for a watch that is not possible, and that the operator works without it."""
    if isinstance(problem, NotFound):
        return logging.INFO, f"{kind.plural} are not watched: this cluster does not serve {kind.kind} of {kind.api_version}"
    return (
        logging.WARNING,
        f"{kind.plural} are not watched: {problem}; give the operator's role list and watch (manifests/components); until then a change "
        "of them is seen at the next look",
    )


def _version(document: ResourceDocument) -> _Version:
    metadata = document["metadata"]
    return str(metadata.get("uid")), int(metadata.get("generation") or 0)
