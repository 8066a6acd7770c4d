"""Which ModelService owns a place in a backend if several claim it: the one that serves, else the oldest. Pure.

A place is one model within one deployment of a RayService, or one InferenceService; the replica count of a deployment, which models
of several services share, is a place as well. Documents are read unparsed. A service that served keeps its place even if it can no longer
be parsed. A service that was refused before it ever served has no place until it can be followed."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from operators.api.read import ApiError, read_policy, read_service
from operators.api.service_intent import ServiceIntent
from operators.api.types import RayBackend, rollout_of
from operators.backends.kube import INFERENCE_SERVICES, RAY_SERVICES, Kind
from operators.handlers.documents import Key, ResourceDocument, key_of
from operators.rollout.status import Phase

BackendPlace = tuple[str, ...]
Policies = Callable[[Key], ResourceDocument | None]
"""A RolloutPolicy as it was last seen, by (namespace, name)."""
_RAY: Final = RayBackend()


def served_by(document: ResourceDocument) -> tuple[Kind, Key]:
    """The object of a backend that a ModelService names."""
    namespace, name = key_of(document)
    backend = (document.get("spec") or {}).get("backend") or {}
    if backend.get("kserve") is not None:
        return INFERENCE_SERVICES, (namespace, str(backend["kserve"].get("inferenceService") or name))
    return RAY_SERVICES, (namespace, str((backend.get("ray") or {}).get("rayService") or _RAY.ray_service))


def claims(document: ResourceDocument) -> dict[BackendPlace, str]:
    """The places a ModelService claims, each with the words for it."""
    spec: Mapping[str, Any] = document.get("spec") or {}
    kind, (namespace, made) = served_by(document)
    if kind == INFERENCE_SERVICES:
        return {("kserve", namespace, made): f"InferenceService {namespace}/{made}"}
    ray = (spec.get("backend") or {}).get("ray") or {}
    where = (
        namespace,
        made,
        str(ray.get("application") or _RAY.application),
        str(ray.get("deployment") or _RAY.deployment),
    )
    model = str(spec.get("model") or document["metadata"]["name"])
    subject = f"RayService {namespace}/{where[1]}"
    found: dict[BackendPlace, str] = {("ray", *where, model): f"model {model} on {subject}"}
    if spec.get("replicas") is not None or spec.get("scaling") is not None:
        found["count", *where] = f"the replica count of deployment {where[3]} on {subject}"
    return found


def claimants(
    others: Iterable[ResourceDocument], policies: Policies, under_way: Collection[Key] = ()
) -> list[ResourceDocument]:
    """Those of the other ModelServices that have their place or will get it. A service that was refused and never served is left out as
    long as it cannot be followed. under_way: services that a look has just given a place. They count as serving, although their status says
    so only after the look has recorded it."""
    given = [_as_serving(o) if key_of(o) in under_way else o for o in others]
    return [o for o in given if not _was_refused(o) or _can_be_followed(o, policies)]


def without_taken_places(document: ResourceDocument, asked: ServiceIntent, others: Iterable[ResourceDocument]) -> ServiceIntent:
    """What a service may still ask for if another one has the same place. A service that is followed already gives up the replica count
    only: its rollout goes on and is judged. others: the services that claim places. Raises LookupError if nothing is left."""
    others = list(others)
    found = earlier_claimant(document, others)
    if found is None:
        return asked
    service, is_of_model = asked.service, earlier_claimant(without_count(document), others) is not None
    if is_of_model or service.status.rollout is None:
        raise LookupError(refusal(*found))
    spec = service.spec.model_copy(update={"replicas": None, "scaling": None})
    problem = refusal(*found) if asked.problem is None or asked.is_unread else asked.problem
    return replace(asked, service=service.model_copy(update={"spec": spec}), problem=problem, is_unread=False)


def without_count(document: ResourceDocument) -> ResourceDocument:
    """The same ModelService without its claim to the replica count."""
    return {**document, "spec": {k: v for k, v in (document.get("spec") or {}).items() if k not in ("replicas", "scaling")}}


def earlier_claimant(document: ResourceDocument, others: Iterable[ResourceDocument]) -> tuple[ResourceDocument, str] | None:
    """The first other ModelService that takes precedence for a place of this one, and the words for the place. A replica count belongs to
    the oldest service among those that have their model, serving or not. Only that one sets it."""
    mine = claims(document)
    others = [o for o in others if key_of(o) != key_of(document)]
    for other in sorted(others, key=_order):
        theirs = claims(other)
        for place, words in mine.items():
            if place in theirs and _is_before(other, document, place, others):
                return other, words
    return None


def _is_before(
    other: ResourceDocument, document: ResourceDocument, place: BackendPlace, others: list[ResourceDocument]
) -> bool:
    if place[0] != "count":
        return _order(other) < _order(document)
    return _age(other) < _age(document) and earlier_claimant(without_count(other), [document, *others]) is None


def competing_claimants(document: ResourceDocument, others: Iterable[ResourceDocument]) -> list[ResourceDocument]:
    """The other ModelServices that claim a place that this one claims too."""
    mine = claims(document).keys()
    return [o for o in others if key_of(o) != key_of(document) and mine & claims(o).keys()]


def waiting_claimants(document: ResourceDocument, others: Iterable[ResourceDocument]) -> list[ResourceDocument]:
    """Other ModelServices that claim the same model (or InferenceService) and are not being deleted, by precedence."""
    mine = {place for place in claims(document) if place[0] != "count"}
    staying = (o for o in others if key_of(o) != key_of(document) and not o["metadata"].get("deletionTimestamp"))
    return sorted((o for o in staying if mine & claims(o).keys()), key=_order)


def refusal(other: ResourceDocument, words: str) -> str:
    """The message for the service that does not get the place."""
    namespace, name = key_of(other)
    why = "which has it already" if _has_served(other) else "which is older"
    return (
        f"{words} belongs to ModelService {namespace}/{name}, {why}; delete one of the two, or give this one another model "
        "or backend"
        if not words.startswith("the replica count")
        else f"{words} is set by ModelService {namespace}/{name}, {why}; take replicas and scaling away here, or there"
    )


def _order(document: ResourceDocument) -> tuple[bool, tuple[str, bool, str]]:
    """Sort key of precedence: a service that has served comes first, then the oldest."""
    return not _has_served(document), _age(document)


def _age(document: ResourceDocument) -> tuple[str, bool, str]:
    """Sort key by age. Within one second: the one that has served, then by uid."""
    metadata = document["metadata"]
    return str(metadata.get("creationTimestamp") or ""), not _has_served(document), str(metadata.get("uid") or "")


def _has_served(document: ResourceDocument) -> bool:
    """Whether its status shows that it has served a revision."""
    return bool((document.get("status") or {}).get("rollout"))


def _as_serving(document: ResourceDocument) -> ResourceDocument:
    if _has_served(document):
        return document
    return {**document, "status": {**(document.get("status") or {}), "rollout": {"phase": Phase.HEALTHY}}}


def _was_refused(document: ResourceDocument) -> bool:
    conditions = (document.get("status") or {}).get("conditions") or ()
    return not _has_served(document) and any(c.get("type") == "Valid" and c.get("status") == "False" for c in conditions)


def _can_be_followed(document: ResourceDocument, policies: Policies) -> bool:
    """Whether its spec and its policy can be read, as far as they were seen."""
    try:
        service = read_service({**document, "status": {}})
        named = service.spec.rollout.policy_ref
        found = None if named is None else policies((key_of(document)[0], named.name))
        rollout_of(service, None if found is None else read_policy(found))
    except (ApiError, LookupError):
        return False
    return True
