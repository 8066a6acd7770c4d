"""Which ModelService a place in a backend belongs to, where several claim it: the oldest. Pure.

A place is one model within one deployment of a RayService, or one InferenceService; the replica count of a deployment, which models
of several services share, is a place as well. Documents are read as they are: one that cannot be parsed still claims."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from operators.api.types import RayBackend
from operators.handlers.documents import Document, key_of

Place = tuple[str, ...]
_RAY: Final = RayBackend()


def claims(document: Document) -> dict[Place, str]:
    """The places a ModelService claims, each with the words for it."""
    spec: Mapping[str, Any] = document.get("spec") or {}
    namespace, name = key_of(document)
    backend = spec.get("backend") or {}
    if backend.get("kserve") is not None:
        made = str(backend["kserve"].get("inferenceService") or name)
        return {("kserve", namespace, made): f"InferenceService {namespace}/{made}"}
    ray = backend.get("ray") or {}
    where = (
        namespace,
        str(ray.get("rayService") or _RAY.ray_service),
        str(ray.get("application") or _RAY.application),
        str(ray.get("deployment") or _RAY.deployment),
    )
    model = str(spec.get("model") or name)
    subject = f"RayService {namespace}/{where[1]}"
    found: dict[Place, str] = {("ray", *where, model): f"model {model} on {subject}"}
    if spec.get("replicas") is not None or spec.get("scaling") is not None:
        found["count", *where] = f"the replica count of deployment {where[3]} on {subject}"
    return found


def without_count(document: Document) -> Document:
    """The same ModelService, if it left the replica count to others."""
    return {**document, "spec": {k: v for k, v in (document.get("spec") or {}).items() if k not in ("replicas", "scaling")}}


def rival(document: Document, others: Iterable[Document]) -> tuple[Document, str] | None:
    """The oldest of the other ModelServices that claims a place of this one and was there before it, and the words for the place."""
    mine = claims(document)
    before = [o for o in others if key_of(o) != key_of(document) and _age(o) < _age(document)]
    for other in sorted(before, key=_age):
        for place, words in mine.items():
            if place in claims(other):
                return other, words
    return None


def sharers(document: Document, others: Iterable[Document]) -> list[Document]:
    """The other ModelServices that claim a place of this one."""
    mine = claims(document).keys()
    return [o for o in others if key_of(o) != key_of(document) and mine & claims(o).keys()]


def heirs(document: Document, others: Iterable[Document]) -> list[Document]:
    """Other ModelServices, not on their way out, that claim the very model (or InferenceService) of this one, the oldest first."""
    mine = {place for place in claims(document) if place[0] != "count"}
    staying = (o for o in others if key_of(o) != key_of(document) and not o["metadata"].get("deletionTimestamp"))
    return sorted((o for o in staying if mine & claims(o).keys()), key=_age)


def refusal(other: Document, words: str) -> str:
    """What the younger one is told."""
    namespace, name = key_of(other)
    return (
        f"{words} belongs to ModelService {namespace}/{name}, which is older; delete one of the two, or give this one another model "
        "or backend"
        if not words.startswith("the replica count")
        else f"{words} is set by ModelService {namespace}/{name}, which is older; take replicas and scaling away here, or there"
    )


def _age(document: Document) -> tuple[str, bool, str]:
    """The oldest is the least. Of one second: the one that is followed already, then by uid."""
    metadata, status = document["metadata"], document.get("status") or {}
    return str(metadata.get("creationTimestamp") or ""), not status.get("rollout"), str(metadata.get("uid") or "")
