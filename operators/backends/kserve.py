"""The `kserve` backend: an InferenceService that the operator makes and owns.

Each variant has pods of its own, so the candidate scales too, and each pod holds one revision. operators.backends.inference_service makes
its fields; operators.backends.evidence reads what the pods count."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from operators.api.types import KserveBackend
from operators.backends.inference_service import MANAGED_BY, Held, fields_of, held_by, is_within, served_by
from operators.backends.kube import INFERENCE_SERVICES, PODS, Conflict, Kube, KubeError, KubeObject, NotFound
from operators.backends.load import LoadMeter
from operators.backends.pods import addresses, is_ready
from operators.backends.ray import ReadEvidence
from operators.ports import BackendError, BackendView, ServiceRef
from operators.rollout.evidence import Observation, ReplicaEvidence, key
from operators.rollout.spec import Revision
from operators.rollout.status import Target

_TRIES: Final = 4


class KserveInference:
    """One service's InferenceService. owner: the ModelService's ownerReference."""

    shares_replicas = False

    def __init__(
        self, kube: Kube, place: KserveBackend, read: ReadEvidence, meter: LoadMeter, owner: Mapping[str, Any] | None = None
    ) -> None:
        self._kube, self._place, self._read, self._meter, self._owner = kube, place, read, meter, owner

    async def carry_out(self, service: ServiceRef, target: Target) -> None:
        """Apply the InferenceService over the version that was read; nothing is written if it is so already. Raises BackendError."""
        generation: int | None = None
        for left in reversed(range(_TRIES)):
            try:
                found = await self._found(service)
                told = int(found["metadata"].get("generation") or 0) if found is not None else 0
                if generation is not None and told != generation:
                    raise BackendError(
                        f"{self._subject(service)}: somebody else changed its spec meanwhile; it is looked at again"
                    )
                generation = told
                await self._apply(service, target, found)
            except Conflict as problem:  # most often KServe wrote its status
                if not left:
                    raise BackendError(f"{self._subject(service)} keeps changing: {problem}") from problem
            except KubeError as problem:
                raise BackendError(str(problem), can_retry=problem.can_retry) from problem
            else:
                return

    async def _apply(self, service: ServiceRef, target: Target, found: KubeObject | None) -> None:
        """Write over the version that was found. Raises Conflict, KubeError, BackendError."""
        self._refuse_others(service, found)
        target = target.model_copy(update={"latency_objective_ms": target.objective_ms(served_by(found))})
        fields = fields_of(service, self._place, target, _replicas(target, found))
        if found is not None and is_within(fields, found):
            return
        if found is not None:
            fields["metadata"]["resourceVersion"] = found["metadata"]["resourceVersion"]
        if self._owner is not None:
            fields["metadata"]["ownerReferences"] = [dict(self._owner)]
        await self._kube.apply(INFERENCE_SERVICES, service.namespace, self._name(service), fields)

    async def look(self, service: ServiceRef) -> BackendView:
        """Ask every pod; tallies are named by the variant that holds their revision now. The load is all variants' together."""
        try:
            found, pods = await self._found_with_pods(service)
            held = held_by(found)
        except (KubeError, BackendError) as problem:
            return BackendView.not_seen(datetime.now(UTC), str(problem))
        scrape = await self._read(service, addresses(pods, self._place.metrics_port))
        expected = {h.variant: max(1, len(_of(service, self._place, h, pods))) for h in held}
        observation = Observation(
            at=scrape.at,
            replicas=tuple(_renamed(r, held) for r in scrape.replicas),
            expected_replicas=sum(expected.values()),
            expected_by_variant=expected,
            problem=scrape.problem,
        )
        load = self._meter.measure(service, scrape, ready_replicas=sum(map(is_ready, pods)), wanted_replicas=len(pods))
        return BackendView(observation, load)

    async def remove(self, service: ServiceRef) -> None:
        """Delete the InferenceService, if it is ours."""
        try:
            found = await self._found(service)
            if found is not None and _is_ours(found):
                await self._kube.delete(INFERENCE_SERVICES, service.namespace, self._name(service))
        except KubeError as problem:
            raise BackendError(str(problem), can_retry=problem.can_retry) from problem
        self._meter.forget(service)

    async def serves(self, service: ServiceRef) -> Revision | None:
        """Always None: an InferenceService that is not ours is not taken over."""
        return None

    @property
    def selector(self) -> str:
        """Label selector of its pods, for the scale subresource; empty as long as the name is not known."""
        name = self._place.inference_service
        return f"serving.kserve.io/inferenceservice={name}" if name else ""

    @property
    def shortfall(self) -> str | None:
        """Always None: a target is carried out in full or refused."""
        return None

    def _subject(self, service: ServiceRef) -> str:
        return f"InferenceService {service.namespace}/{self._name(service)}"

    def _name(self, service: ServiceRef) -> str:
        return self._place.inference_service or service.name

    async def _found(self, service: ServiceRef) -> KubeObject | None:
        try:
            return await self._kube.get(INFERENCE_SERVICES, service.namespace, self._name(service))
        except NotFound:
            return None

    def _refuse_others(self, service: ServiceRef, found: KubeObject | None) -> None:
        if found is not None and not _is_ours(found):
            raise BackendError(
                f"InferenceService {service.namespace}/{self._name(service)} was not made by this operator; delete it, or write another "
                "name in spec.backend.kserve.inferenceService",
                can_retry=False,
            )

    async def _found_with_pods(self, service: ServiceRef) -> tuple[KubeObject, Sequence[Mapping[str, Any]]]:
        found = await self._found(service)
        if found is None:
            raise BackendError(f"InferenceService {service.namespace}/{self._name(service)} does not exist yet")
        label = f"serving.kserve.io/inferenceservice={self._name(service)}"
        pods = await self._kube.list(PODS, service.namespace, label)
        return found, [p for p in pods if not p["metadata"].get("deletionTimestamp")]


def _is_ours(found: KubeObject) -> bool:
    labels: Mapping[str, str] = found["metadata"].get("labels") or {}
    return labels.get(MANAGED_BY) == "vedette-operator"


def _replicas(target: Target, found: KubeObject | None) -> int:
    """The decided count; else the present one; else one."""
    if target.replicas is not None:
        return target.replicas
    return int(found["spec"]["predictor"].get("minReplicas", 1)) if found is not None else 1


def _of(service: ServiceRef, place: KserveBackend, held: Held, pods: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The pods of one predictor, by KServe's label."""
    app = f"isvc.{place.inference_service or service.name}-{held.predictor}-predictor"
    return [p for p in pods if (p["metadata"].get("labels") or {}).get("app") == app]


def _renamed(replica: ReplicaEvidence, held: Sequence[Held]) -> ReplicaEvidence:
    """A pod calls its revision stable. The InferenceService says which variant it is."""
    variants = {h.revision: h.variant for h in held}
    tallies = {}
    for told, tally in replica.tallies.items():
        variant, _, revision = told.partition("@")
        tallies[key(variants.get(revision, variant), revision)] = tally
    mine = {*replica.loaded, *replica.failed}
    holds = tuple(h.variant for h in held if h.revision in mine)
    return replica.model_copy(update={"tallies": tallies, "holds": holds})
