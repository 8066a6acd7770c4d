"""What a look acts on: the resource as written, or the last known state if it or its policy cannot be followed. Pure.

The status holds the policy that a rollout started with. So a rollout under way goes on and is still judged when the policy is deleted or
the spec cannot be read. Nothing new begins meanwhile."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from operators.api.read import ApiError, read_service
from operators.api.types import GROUP, ModelService, ModelServiceStatus
from operators.rollout.facts import Desired
from operators.rollout.spec import RolloutSpec
from operators.rollout.status import RolloutStatus
from serving.files.read_back import read_back

WrittenResource = Mapping[str, Any]
CHANGED_BY: Final = f"{GROUP}/changed-by"
"""Annotation: who last changed the spec through the command line."""
CHANGE_CAUSE: Final = f"{GROUP}/change-cause"
"""Annotation: why."""
MADE_BY: Final = f"{GROUP}/made-by"
"""Annotation: who trained or promoted the bundle, separated by commas. They may not approve it if roles are asked for."""
_NAME_CHARS: Final = 253
"""Longest name in the status, characters: the same as for a verb's `by`."""


@dataclass(frozen=True, slots=True)
class ServiceIntent:
    """service: with its status. problem: why what is written cannot be followed; None: it can. is_rollout_known: whether `rollout` is what
    people wrote or what the rollout under way follows; else it is a default for a policy that is gone. is_unread: the resource or something
    it names could not be read for now; it may be valid."""

    service: ModelService
    rollout: RolloutSpec
    problem: str | None = None
    is_rollout_known: bool = True
    is_unread: bool = False


@dataclass(frozen=True, slots=True)
class LastKnown:
    """What is remembered of a resource that could be followed. Empty after a restart."""

    spec: Mapping[str, Any] | None = None
    rollout: RolloutSpec | None = None


NOTHING_KNOWN: Final = LastKnown()


def intent_from_memory(document: WrittenResource, known: LastKnown, problem: Exception) -> ServiceIntent | None:
    """The intent from status and memory, for a resource that cannot be followed or whose policy cannot; None: there was no look yet."""
    service = readable_service(document, known)
    status = service.status.rollout if service is not None else None
    if service is None or status is None:
        return None
    rollout = status.policy or known.rollout
    return ServiceIntent(service, rollout or RolloutSpec(), str(problem), is_rollout_known=rollout is not None)


def readable_service(document: WrittenResource, known: LastKnown) -> ModelService | None:
    """The service by its spec; else by the last spec that could be read; else by the parts of its spec that say where it is served. Without
    its status if the status cannot be read."""
    for known_document in (document, {**document, "status": {}}):
        for spec in _specs(known_document, known):
            try:
                return read_service({**known_document, "spec": spec})
            except ApiError:
                continue
    return None


def _specs(document: WrittenResource, known: LastKnown) -> Iterator[Mapping[str, Any]]:
    written = document.get("spec")
    written = written if isinstance(written, Mapping) else {}
    yield written
    if known.spec is not None:
        yield known.spec
    yield {part: written[part] for part in ("revision", "model", "backend", "replicas") if part in written}
    revision = _known_revision(document)
    if revision is not None:
        yield {"revision": revision, **{part: written[part] for part in ("model", "backend") if part in written}}


def _known_revision(document: WrittenResource) -> Mapping[str, Any] | None:
    """The revision under way, else the stable one: a spec whose revision cannot be read asks for no change."""
    rollout = (document.get("status") or {}).get("rollout") or {}
    found: Mapping[str, Any] | None = rollout.get("candidateWanted") or rollout.get("candidate") or rollout.get("stable")
    return found


def desired_of(
    intent: ServiceIntent, status: RolloutStatus, *, manager: str | None = None, is_by_checked: bool = True
) -> Desired:
    """What is asked for, and by whom if known. manager: field manager that last wrote the revision, for a spec without a name of who
    changed it. is_by_checked: whether a webhook checks that name. For a service that cannot be followed: the rollout under way or the
    stable revision; nothing new begins."""
    spec, notes = intent.service.spec, intent.service.metadata.annotations
    desired = Desired(
        revision=spec.revision,
        rollout=intent.rollout,
        experiment=spec.experiment,
        replicas=spec.replicas,
        is_paused=spec.paused,
        by=(notes.get(CHANGED_BY) or manager or "operator")[:_NAME_CHARS],
        why=notes.get(CHANGE_CAUSE, ""),
        is_by_checked=is_by_checked,
    )
    if intent.problem is None:
        return desired
    revision = desired.revision
    is_known = revision is not None and (revision.digest == status.seen or status.is_stable(revision.digest))
    if not (is_known and status.is_under_way):
        revision = None
    known = intent.is_rollout_known
    return replace(desired, revision=revision, experiment=status.experiment, is_rollout_known=known)


def status_of(document: WrittenResource) -> ModelServiceStatus:
    """Its status as the API server has it."""
    return read_back(ModelServiceStatus, document.get("status") or {})


def generation_of(document: WrittenResource) -> int:
    """The generation of its spec."""
    return int(document["metadata"].get("generation") or 0)
