"""What the services of a cluster ask for: each resource with its policy, or the last valid reading if it cannot be read now. Reads and
remembers; operators.handlers.looking.look acts on it."""

from dataclasses import replace

from operators.api.read import ApiError, read_policy, read_service
from operators.api.service_intent import NOTHING_KNOWN, LastKnown, ServiceIntent, intent_from_memory, readable_service
from operators.api.types import ModelService, RolloutPolicy, rollout_of
from operators.backends.kube import ROLLOUT_POLICIES, Kube, KubeError, NotFound
from operators.handlers.claims import claimants
from operators.handlers.documents import Key, ResourceDocument
from operators.handlers.watching.resource_cache import ResourceCache


class IntentReader:
    """Reads what services ask for, and remembers by service what was valid last."""

    def __init__(self, kube: Kube, cache: ResourceCache) -> None:
        self._kube, self._cache = kube, cache
        self._last: dict[Key, LastKnown] = {}
        self._under_way: set[Key] = set()

    async def of(self, key: Key, document: ResourceDocument) -> ServiceIntent:
        """What the resource asks for; if it cannot be read, what was valid last. Raises ApiError, LookupError, KubeError if nothing was."""
        try:
            service = read_service(document)
            rollout = rollout_of(service, await self._policy(service))
        except (ApiError, LookupError, KubeError) as problem:
            found = intent_from_memory(document, self._last.get(key, NOTHING_KNOWN), problem)
            if found is None:
                raise
            return replace(found, is_unread=isinstance(problem, KubeError))
        self._last[key] = LastKnown(document["spec"], rollout)
        return ServiceIntent(service, rollout)

    def readable(self, key: Key, document: ResourceDocument) -> ModelService | None:
        """The service as far as its document, or else the last one, can be read; None: neither can."""
        return readable_service(document, self._last.get(key, NOTHING_KNOWN))

    def claimants(self, key: Key) -> list[ResourceDocument]:
        """The other services of its namespace that have a place in a backend, or are to get it."""
        return claimants(self._cache.neighbours(key), self._cache.policy, self._under_way)

    def take_places(self, key: Key) -> None:
        """A look gives the service its places in a backend, and others may look meanwhile; until `end`."""
        self._under_way.add(key)

    def end(self, key: Key) -> None:
        """The look is over: the status says what came of it."""
        self._under_way.discard(key)

    def forget(self, key: Key) -> None:
        """The service is gone."""
        self._last.pop(key, None)

    def forget_all(self) -> None:
        """Another operator leads now."""
        self._last.clear()

    async def _policy(self, service: ModelService) -> RolloutPolicy | None:
        """The policy it names; None: it names none, or there is none. Raises ApiError if it is damaged, KubeError."""
        named = service.spec.rollout.policy_ref
        if named is None:
            return None
        document = self._cache.policy((service.ref.namespace, named.name))
        if document is None:
            try:
                document = await self._kube.get(ROLLOUT_POLICIES, service.ref.namespace, named.name)
            except NotFound:
                return None
            self._cache.put_policy(document)
        return read_policy(document)
