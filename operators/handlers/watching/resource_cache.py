"""The resources as last seen, by the watch or by our own writes, whichever is newer. No cluster; asks nobody."""

from collections.abc import Iterator, Mapping

from operators.api.types import GROUP
from operators.backends.kube import Kind
from operators.handlers.claims import served_by
from operators.handlers.documents import Key, ResourceDocument, annotations, key_of, version_of


class ResourceCache:
    """ModelServices and RolloutPolicies by (namespace, name)."""

    def __init__(self) -> None:
        self._services: dict[Key, ResourceDocument] = {}
        self._policies: dict[Key, ResourceDocument] = {}

    def service(self, key: Key) -> ResourceDocument | None:
        """One service; None: it is gone, or was never seen."""
        return self._services.get(key)

    def policy(self, key: Key) -> ResourceDocument | None:
        """One policy."""
        return self._policies.get(key)

    def services(self) -> tuple[Key, ...]:
        """Every service."""
        return tuple(self._services)

    def neighbours(self, key: Key) -> tuple[ResourceDocument, ...]:
        """The other services of its namespace."""
        return tuple(d for other, d in self._services.items() if other[0] == key[0] and other != key)

    def policies(self) -> tuple[Key, ...]:
        """Every policy."""
        return tuple(self._policies)

    def put_service(self, document: ResourceDocument) -> bool:
        """Keep it unless a newer one is here. True: people or another operator changed something that a look should see."""
        return _put(self._services, document)

    def put_policy(self, document: ResourceDocument) -> bool:
        """The same for a policy."""
        return _put(self._policies, document)

    def drop_service(self, key: Key) -> None:
        """It is gone."""
        self._services.pop(key, None)

    def drop_policy(self, key: Key) -> None:
        """It is gone."""
        self._policies.pop(key, None)

    def following(self, policy: Key) -> Iterator[Key]:
        """Services that name this policy."""
        for key, document in list(self._services.items()):
            if key[0] == policy[0] and policy_name(document) == policy[1]:
                yield key

    def on_backend(self, kind: Kind, backend: Key) -> Iterator[Key]:
        """Services that this RayService or InferenceService serves."""
        for key, document in list(self._services.items()):
            if served_by(document) == (kind, backend):
                yield key


def policy_name(document: ResourceDocument) -> str | None:
    """The policy a service names."""
    rollout = (document.get("spec") or {}).get("rollout") or {}
    name: str | None = (rollout.get("policyRef") or {}).get("name")
    return name


def _put(documents: dict[Key, ResourceDocument], document: ResourceDocument) -> bool:
    key = key_of(document)
    before = documents.get(key)
    if before is not None and _is_older(document, before):
        return False
    documents[key] = document
    return before is None or _asked(before) != _asked(document)


def says_the_same(one: ResourceDocument, other: ResourceDocument) -> bool:
    """Whether two readings of a resource lead to the same decision: same object, spec, status and annotations of ours."""
    return _asked(one) == _asked(other) and (one.get("status") or {}) == (other.get("status") or {})


def _asked(document: ResourceDocument) -> tuple[object, ...]:
    """The parts that people write; our own status is not among them."""
    metadata: Mapping[str, object] = document["metadata"]
    ours = {name: text for name, text in annotations(document).items() if name.startswith(f"{GROUP}/")}
    return metadata.get("uid"), metadata.get("generation"), metadata.get("deletionTimestamp"), ours


def _is_older(document: ResourceDocument, than: ResourceDocument) -> bool:
    """By resourceVersion, of the same object; they are numbers that grow."""
    if document["metadata"].get("uid") != than["metadata"].get("uid"):
        return False
    mine, other = version_of(document), version_of(than)
    return mine.isdigit() and other.isdigit() and int(mine) < int(other)
