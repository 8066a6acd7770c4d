"""A backend that keeps state: what it was told, and evidence that a test writes. Keeps the same laws as the real ones."""

from datetime import UTC, datetime

from operators.ports import BackendError, BackendView, Load, ServiceRef
from operators.rollout.evidence import Observation, ReplicaEvidence, Tally
from operators.rollout.spec import Revision
from operators.rollout.status import Target


class FakeBackend:
    """told: every target that changed something, by service, the newest last. tallies: what each replica reports, by
    `variant@revision`. refuses: why it cannot act now; silent: why it cannot be observed; unserved: why nobody can tell what it serves, and
    unserved_from: what that came from."""

    shares_replicas = True
    selector = "app=fake"
    shortfall: str | None = None

    def __init__(self, replicas: int = 2) -> None:
        self.replicas = replicas
        self.told: dict[ServiceRef, list[Target]] = {}
        self.tallies: dict[str, Tally] = {}
        self.unloadable: dict[str, str] = {}
        self.refuses: str | None = None
        self.silent: str | None = None
        self.unserved: str | None = None
        self.unserved_from: Exception | None = None
        self.now = lambda: datetime.now(UTC)

    async def carry_out(self, service: ServiceRef, target: Target) -> None:
        if self.refuses is not None:
            raise BackendError(self.refuses)
        targets = self.told.setdefault(service, [])
        served = targets[-1].serving(service.model) if targets else None
        target = target.model_copy(update={"latency_objective_ms": target.objective_ms(served)})
        if not targets or targets[-1] != target:
            targets.append(target)

    async def look(self, service: ServiceRef) -> BackendView:
        at = self.now()
        return BackendView(self._observation(service, at), self._load(service, at))

    def _observation(self, service: ServiceRef, at: datetime) -> Observation:
        target = self.target(service)
        if self.silent is not None or target is None:
            return Observation(at=at, problem=self.silent or f"{service.name} is not served yet")
        revisions = [target.stable.digest, *(v.revision.digest for v in target.variants)]
        evidence = {
            "loaded": tuple(r for r in revisions if r not in self.unloadable),
            "failed": {r: why for r, why in self.unloadable.items() if r in revisions},
            "tallies": self.tallies,
        }
        each = tuple(ReplicaEvidence(replica=f"r{n}", **evidence) for n in range(self.replicas))
        return Observation(at=at, replicas=each, expected_replicas=self.replicas)

    def _load(self, service: ServiceRef, at: datetime) -> Load:
        target = self.target(service)
        problem = self.silent or (None if target else f"{service.name} is not served yet")
        wanted = target.replicas if target and target.replicas is not None else self.replicas
        return Load(at, ready_replicas=self.replicas, wanted_replicas=wanted, problem=problem)

    async def remove(self, service: ServiceRef) -> None:
        self.told.pop(service, None)

    async def serves(self, service: ServiceRef) -> Revision | None:
        if self.unserved is not None:
            raise BackendError(self.unserved) from self.unserved_from
        target = self.target(service)
        return target.stable if target else None

    def target(self, service: ServiceRef) -> Target | None:
        """What is so now."""
        return self.told.get(service, [None])[-1]
