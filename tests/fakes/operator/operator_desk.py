"""One operator's looks, one after the other, on an API server with our CRDs: no process, no watch, a clock set by hand.

Each look is told the resources as they are, as a watch would; `restart` forgets what an operator remembers."""

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from operators.api.service_intent import CHANGED_BY
from operators.api.types import REQUESTS_ANNOTATION
from operators.backends.kube import EVENTS, MODEL_SERVICES, ROLLOUT_POLICIES, Kube, NotFound
from operators.handlers.looking.backends import Backends
from operators.handlers.looking.look import Looker
from operators.handlers.metrics import OperatorMetrics
from operators.handlers.settings import OperatorSettings
from operators.handlers.watching.resource_cache import ResourceCache
from operators.handlers.watching.work_queue import TryLater
from operators.ports import BackendError, LabelGateCounts, ServiceRef
from operators.rollout.evidence import Tally, key
from operators.rollout.spec import GateName
from tests.fakes.operator.backend import FakeBackend

Json = dict[str, Any]
STABLE, CANDIDATE = (f"sha256:{letter * 64}" for letter in "ab")
STEPS: list[Json] = [{"setWeight": 25}, {"pause": {}}, {"setWeight": 100}]
POLICY: Json = {"steps": STEPS, "analysis": {"gates": [{"name": "errors", "margin": 0.02}], "staleAfter": "60s"}}


class FakeLabels:
    """Labels of analysts. given: the counts, by `variant@revision`. since: what it was asked. silent: why it does not answer."""

    def __init__(self) -> None:
        self.given: LabelGateCounts = {}
        self.since: list[datetime] = []
        self.silent: str | None = None

    async def counts(self, service: ServiceRef, since: datetime) -> LabelGateCounts:
        del service
        self.since.append(since)
        if self.silent is not None:
            raise BackendError(self.silent)
        return self.given


class OneBackend:
    """Every service is on the one fake backend."""

    def __init__(self, backend: FakeBackend, labels: FakeLabels) -> None:
        self.backend, self.labels = backend, labels

    def of(self, service: object, document: object) -> FakeBackend:
        return self.backend

    def forget(self, service: object) -> None:
        del service


class Desk:
    """namespace: exists. people: their client, where it is not the operator's. by: the name under which they change a spec.
    problem: why the last look could not be finished. spoils: parts of the spec that the operator sees otherwise.
    is_listed: whether the watch has brought the policies; an operator asks for them where it has not."""

    def __init__(self, kube: Kube, namespace: str, *, people: Kube | None = None, by: str | None = None) -> None:
        self.kube, self.people, self.by, self.namespace, self.name = kube, people or kube, by, namespace, "flows"
        self.backend, self.labels = FakeBackend(), FakeLabels()
        self.backend.now = lambda: self.now
        self.now = datetime.now(UTC).replace(microsecond=0)
        self.metrics, self.settings = OperatorMetrics(), OperatorSettings()
        self.spoils: Json = {}
        self.leads = self.is_listed = True
        self.after_s: float | None = None
        self.problem: str | None = None
        self.restart()

    def restart(self) -> None:
        """Another operator takes over."""
        self.cache = ResourceCache()
        self.looker = Looker(
            self.kube,
            self.cache,
            self.backends(),
            self.metrics,
            self.settings,
            leads=lambda: self.leads,
            now=lambda: self.now,
            monotonic=lambda: self.now.timestamp(),
        )

    def backends(self) -> Backends:
        """What the operator finds the backend of a service by."""
        return OneBackend(self.backend, self.labels)  # type: ignore[return-value]

    async def look(self, times: int = 1) -> Json:
        """The status after so many looks, a minute apart."""
        for _ in range(times):
            self.now += timedelta(minutes=1)
            await self._told()
            self.problem = None
            try:
                self.after_s = await self.looker.look((self.namespace, self.name))
            except TryLater as problem:
                self.problem = str(problem)
        return await self.status()

    async def _told(self) -> None:
        """What a watch would have brought by now."""
        place = self.namespace, self.name
        found = await self._or_none(MODEL_SERVICES, self.name)
        if found is None:
            self.cache.drop_service(place)
        else:
            self.cache.put_service({**found, "spec": {**found["spec"], **self.spoils}})
        if not self.is_listed:
            return
        for name in {"careful", *(k[1] for k in self.cache.policies())}:
            policy = await self._or_none(ROLLOUT_POLICIES, name)
            self.cache.put_policy(policy) if policy else self.cache.drop_policy((self.namespace, name))

    async def _or_none(self, kind: Any, name: str) -> Json | None:
        try:
            return await self.kube.get(kind, self.namespace, name)
        except NotFound:
            return None

    async def policy(self, spec: Mapping[str, Any] = POLICY, name: str = "careful") -> None:
        await self.people.create(ROLLOUT_POLICIES, self.namespace, {"metadata": {"name": name}, "spec": spec})

    async def drop_policy(self, name: str = "careful") -> None:
        await self.people.delete(ROLLOUT_POLICIES, self.namespace, name)

    async def service(self, **spec: Any) -> None:
        body = {
            "metadata": {"name": self.name, "annotations": {CHANGED_BY: self.by} if self.by else {}},
            "spec": {
                "revision": {"version": "1", "bundle": STABLE},
                "rollout": {"policyRef": {"name": "careful"}},
                "backend": {"ray": {"rayService": "flows"}},
                **spec,
            },
        }
        await self.people.create(MODEL_SERVICES, self.namespace, body)

    async def change(self, spec: Mapping[str, Any] | None = None, **metadata: Any) -> Json:
        if spec is not None and self.by is not None:
            metadata["annotations"] = {CHANGED_BY: self.by, **metadata.get("annotations", {})}
        patch = {"metadata": metadata, **({"spec": spec} if spec is not None else {})}
        return await self.people.patch(MODEL_SERVICES, self.namespace, self.name, patch)

    async def say(self, verb: str, why: str, by: str = "kim", **args: str) -> None:
        request = {"id": f"{verb}-{by}-{self.now.timestamp()}", "verb": verb, "by": by, "why": why, "at": self.now.isoformat()}
        text = json.dumps([{**request, "args": args}])
        await self.change(annotations={REQUESTS_ANNOTATION: text})

    async def leave(self) -> None:
        """Nothing stays that waits for an operator: it would keep the namespace, for operators of other tests to find."""
        with suppress(NotFound):
            await self.change(finalizers=None)
        with suppress(NotFound):
            await self.people.delete(MODEL_SERVICES, self.namespace, self.name)

    async def at_25(self) -> Json:
        """A rollout under way: every fourth entity meets the candidate."""
        await self.policy()
        await self.service()
        await self.look(3)
        return await self.rolls_out()

    async def rolls_out(self) -> Json:
        """Another revision is asked for, and comes to the pause."""
        await self.change({"revision": {"version": "2", "bundle": CANDIDATE}})
        status = await self.look(4)
        assert status["weight"] == 25, status
        return status

    def fails(self, requests: int = 4000, bad: int | None = None) -> None:
        """From now on half (or so many) of the candidate's requests are errors."""
        (told,) = (targets[-1] for targets in self.backend.told.values())
        self.backend.tallies = {
            key("stable", told.stable.digest): Tally(requests=3 * requests, rows=3 * requests),
            key("candidate", told.variants[0].revision.digest): Tally(
                requests=requests, rows=requests, bad={GateName("errors"): requests // 2 if bad is None else bad}
            ),
        }

    async def status(self) -> Json:
        with suppress(NotFound):
            found: Json = (await self.kube.get(MODEL_SERVICES, self.namespace, self.name)).get("status") or {}
            return found
        return {}

    async def reasons(self) -> list[str]:
        return [e["reason"] for e in await self.kube.list(EVENTS, self.namespace)]

    @property
    def weight(self) -> float:
        """What the candidate really gets."""
        told = [t for targets in self.backend.told.values() for t in targets[-1:]]
        return max((v.weight for t in told for v in t.variants), default=0.0)


def condition(status: Json, name: str) -> Json:
    found: Json = next((c for c in status.get("conditions") or () if c["type"] == name), {})
    return found
