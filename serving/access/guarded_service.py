"""The service behind a door with the rights of one caller: every call is checked, and lists name only what the caller may see.

A request gets one of these in place of the service itself, so both doors refuse the same, and a handler that forgets to check cannot let
anybody through. What is not found is said in words that name nothing else: the service's own words may list other models."""

from collections.abc import Callable

from serving.access.credentials import Credentials
from serving.access.gate import Gate, Pass
from serving.access.verbs import Verb
from serving.errors import NotFound
from serving.messages import InferAnswer, InferRequest, ModelMetadata, ModelStatistics, RepositoryEntry, ServerMetadata
from serving.ports import InferenceService


class GuardedService:
    """See the module. verb: of the endpoint that was asked; it is what the caller needs for each model that the answer speaks of."""

    __slots__ = ("_door", "_gate", "_pass", "_service", "_verb")

    def __init__(self, service: InferenceService, gate: Gate, let_in: Pass, verb: Verb, door: str) -> None:
        self._service, self._gate, self._pass, self._verb, self._door = service, gate, let_in, verb, door

    def server_metadata(self) -> ServerMetadata:
        """See the port."""
        return self._service.server_metadata()

    def is_live(self) -> bool:
        """See the port."""
        return self._service.is_live()

    def is_ready(self) -> bool:
        """See the port."""
        return self._service.is_ready()

    def on_change(self, tell: Callable[[], None]) -> None:
        """See the port."""
        self._service.on_change(tell)

    def is_model_ready(self, name: str, version: str | None) -> bool:
        """See the port. Raises Forbidden."""
        self._check(name)
        try:
            return self._service.is_model_ready(name, version)
        except NotFound:
            raise _not_found(name) from None

    def model_metadata(self, name: str, version: str | None) -> ModelMetadata:
        """See the port. Raises Forbidden."""
        self._check(name)
        try:
            return self._service.model_metadata(name, version)
        except NotFound:
            raise _not_found(name) from None

    def reads_features(self, name: str, version: str | None) -> bool:
        """See the port; False for a model that is not there. Raises Forbidden."""
        self._check(name)
        try:
            return self._service.reads_features(name, version)
        except NotFound:
            return False

    async def infer(self, request: InferRequest) -> InferAnswer:
        """See the port. Raises Forbidden, RateLimited."""
        self._check(request.model)
        checked = self._gate.check_request(
            self._pass, request, self._door, lambda: self.reads_features(request.model, request.version)
        )
        try:
            return await self._service.infer(checked)
        except NotFound:
            raise _not_found(request.model) from None

    def statistics(self, name: str | None, version: str | None) -> tuple[ModelStatistics, ...]:
        """See the port. Raises Forbidden."""
        if name is None:
            is_visible = self._gate.visible(self._pass, self._verb)
            return tuple(one for one in self._service.statistics(None, None) if is_visible(one.name))
        self._check(name)
        try:
            return self._service.statistics(name, version)
        except NotFound:
            raise _not_found(name) from None

    def repository_index(self, *, only_ready: bool) -> tuple[RepositoryEntry, ...]:
        """See the port: of the models that the caller may know of."""
        is_visible = self._gate.visible(self._pass, self._verb)
        return tuple(one for one in self._service.repository_index(only_ready=only_ready) if is_visible(one.name))

    async def load(self, name: str) -> None:
        """See the port. Raises Forbidden."""
        self._check(name)
        try:
            await self._service.load(name)
        except NotFound:
            raise _not_found(name) from None

    async def unload(self, name: str) -> None:
        """See the port. Raises Forbidden."""
        self._check(name)
        try:
            await self._service.unload(name)
        except NotFound:
            raise _not_found(name) from None

    def check_entity(self, entity: str) -> None:
        """Raises Forbidden for an entity of the ledger of risks that the caller may not know of."""
        self._gate.refuse_entity(self._pass, entity, self._door)

    def wanted_entities(self) -> Callable[[str], bool] | None:
        """Whether a list may name an entity; None: any."""
        tenant = self._pass.rights.tenant
        return None if tenant is None else tenant.entities.match

    def _check(self, model: str) -> None:
        self._gate.check_model(self._pass, self._verb, model, self._door)


def guarded_by(
    gate: Gate, service: InferenceService, credentials: Credentials, verb: Verb, model: str | None, door: str
) -> GuardedService | None:
    """The service as the caller may use it; None: its credentials must be verified first. Raises ServingError."""
    let_in = gate.recall(credentials, verb, model, door)
    return None if let_in is None else GuardedService(service, gate, let_in, verb, door)


async def guarded_after_verifying(
    gate: Gate, service: InferenceService, credentials: Credentials, verb: Verb, model: str | None, door: str
) -> GuardedService:
    """The same, for credentials that are new. Raises ServingError."""
    return GuardedService(service, gate, await gate.verify(credentials, verb, model, door), verb, door)


def _not_found(model: str) -> NotFound:
    return NotFound(f"no model {model[:200]!r} of this version is loaded")
