"""Only one operator acts: the holder of a coordination.k8s.io Lease.

The holder renews; one that could not renew for `renew_s` by its own monotonic clock stops acting before `duration_s` lets another
take over, so no clock of two machines is ever compared. An act that is under way at that moment does no harm, because a status is written
only over the version that was read."""

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from operators.backends.kube import LEASES, Conflict, Kube, KubeError, KubeObject, NotFound

_log = logging.getLogger("vedette.operator")
_RELEASE_S = 1.0


def identity_of(name: str) -> str:
    """Identity of one process in the Lease: its name, for people, and a part that is unique among all processes.

    >>> identity_of("node-7").startswith("node-7_")
    True
    """
    return f"{name}_{uuid.uuid4()}"


class Leadership:
    """Whether we may act.

    duration_s > renew_s > retry_s. monotonic: the clock that counts."""

    def __init__(
        self,
        kube: Kube,
        namespace: str,
        name: str,
        identity: str,
        *,
        duration_s: float = 15.0,
        renew_s: float = 10.0,
        retry_s: float = 2.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if not duration_s > renew_s > retry_s > 0:
            raise ValueError(
                f"lease_duration_s {duration_s:g}, lease_renew_s {renew_s:g} and lease_retry_s {retry_s:g} must fall in this order, "
                "or two operators could act at once; e.g. 15, 10, 2"
            )
        self._kube, self._namespace, self._name, self._identity = kube, namespace, name, identity
        self._duration_s, self._renew_s, self._retry_s, self._monotonic = duration_s, renew_s, retry_s, monotonic
        self._renewed: float | None = None
        self._seen: tuple[str, float] | None = None

    @property
    def is_ours(self) -> bool:
        """Asked before every act."""
        return self._renewed is not None and self._monotonic() - self._renewed < self._renew_s

    async def run(self, gained: Callable[[], Awaitable[None]], lost: Callable[[], Awaitable[None]]) -> None:
        """Acquire the Lease, renew it, try again if it is lost; release it when cancelled. gained, lost: called at each change."""
        was_ours = False
        try:
            while True:
                await self.once()
                if self.is_ours and not was_ours:
                    _log.info("%s leads", self._identity)
                    await gained()
                if was_ours and not self.is_ours:
                    _log.warning("%s no longer leads", self._identity)
                    await lost()
                was_ours = self.is_ours
                await asyncio.sleep(self._retry_s)
        finally:
            await self._release()

    async def once(self) -> None:
        """One try to get or renew it. A failure changes nothing: time runs out by itself."""
        started = self._monotonic()
        try:
            async with asyncio.timeout(self._renew_s / 2):
                is_held = await self._hold()
        except (KubeError, TimeoutError) as problem:
            _log.warning("Lease %s/%s: %s", self._namespace, self._name, problem or "no answer in time")
            return
        self._renewed = started if is_held else None

    async def _hold(self) -> bool:
        try:
            lease = await self._kube.get(LEASES, self._namespace, self._name)
        except NotFound:
            return await self._write(None)
        spec = lease.get("spec") or {}
        holder = spec.get("holderIdentity")
        if holder and holder != self._identity and not self._is_expired(lease):
            return False
        return await self._write(lease)

    def _is_expired(self, lease: KubeObject) -> bool:
        """Whether a whole duration has passed, by our clock, since we first saw its latest renewal."""
        version = str(lease["metadata"]["resourceVersion"])
        if self._seen is None or self._seen[0] != version:
            self._seen = version, self._monotonic()
            return False
        lasts = float((lease.get("spec") or {}).get("leaseDurationSeconds") or self._duration_s)
        return self._monotonic() - self._seen[1] > lasts

    async def _write(self, before: KubeObject | None) -> bool:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec: dict[str, Any] = dict((before or {}).get("spec") or {})
        if spec.get("holderIdentity") != self._identity:
            spec["acquireTime"] = now
            spec["leaseTransitions"] = int(spec.get("leaseTransitions") or 0) + (1 if before is not None else 0)
        spec |= {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": max(1, round(self._duration_s)),
            "renewTime": now,
        }
        try:
            if before is None:
                body = {"metadata": {"name": self._name, "namespace": self._namespace}, "spec": spec}
                await self._kube.create(LEASES, self._namespace, body)
            else:
                await self._kube.replace(LEASES, self._namespace, self._name, {**before, "spec": spec})
        except Conflict:
            return False
        return True

    async def _release(self) -> None:
        """Release the Lease so that another operator takes over at once."""
        if not self.is_ours:
            return
        self._renewed = None
        try:
            async with asyncio.timeout(_RELEASE_S):
                await self._let_go()
        except (KubeError, TimeoutError) as problem:
            _log.info("Lease %s/%s runs out by itself: %s", self._namespace, self._name, problem or "no answer in time")

    async def _let_go(self) -> None:
        lease = await self._kube.get(LEASES, self._namespace, self._name)
        if (lease.get("spec") or {}).get("holderIdentity") == self._identity:
            free = {**lease, "spec": {**lease["spec"], "holderIdentity": ""}}
            await self._kube.replace(LEASES, self._namespace, self._name, free)


class NoElection:
    """Without leader election: this operator always acts."""

    is_ours = True

    async def run(self, gained: Callable[[], Awaitable[None]], lost: Callable[[], Awaitable[None]]) -> None:
        """Leads from the start."""
        await gained()
        await asyncio.Event().wait()
