"""What a look acts on: the resource as written or, if it or its policy cannot be followed, what was known before. Pure.

The status holds the policy that a rollout started with. A rollout under way therefore goes on, and harm is still judged, when the
policy is deleted or the spec cannot be read. Nothing new begins meanwhile."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from operators.api.read import ApiError, read_service
from operators.api.types import GROUP, ModelService, ModelServiceStatus
from operators.rollout.facts import Desired
from operators.rollout.spec import RolloutSpec
from operators.rollout.status import RolloutStatus
from serving.read_back import read_back

WrittenResource = Mapping[str, Any]
CHANGED_BY: Final = f"{GROUP}/changed-by"
"""Annotation: who last changed the spec through the command line."""
CHANGE_CAUSE: Final = f"{GROUP}/change-cause"
"""Annotation: why."""
MADE_BY: Final = f"{GROUP}/made-by"
"""Annotation: who trained or promoted the bundle, separated by commas; none of them approves it where roles are asked for."""
_NAME_CHARS: Final = 253
"""Of a name in the status: as many as a verb's `by` may have."""


@dataclass(frozen=True, slots=True)
class ServiceIntent:
    """service: with its status. problem: why what is written cannot be followed; None: it can. is_rollout_known: whether `rollout` is
    what people wrote, or the rollout under way keeps to; else it stands in for a policy that is gone. is_unread: the problem is
    that what is written, or what it names, could not be read for now; that says nothing about it."""

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
    """The intent from status and memory, where the resource or its policy cannot be followed; None: it was never looked at."""
    service = readable_service(document, known)
    status = service.status.rollout if service is not None else None
    if service is None or status is None:
        return None
    rollout = status.policy or known.rollout
    return ServiceIntent(service, rollout or RolloutSpec(), str(problem), is_rollout_known=rollout is not None)


def readable_service(document: WrittenResource, known: LastKnown) -> ModelService | None:
    """The service by its spec, else by the last one that could be read, else by the parts of its spec that say where it is served;
    without its status where that is what cannot be read."""
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
    """The revision under way, else the one that is stable: a revision that cannot be read asks for no other."""
    rollout = (document.get("status") or {}).get("rollout") or {}
    found: Mapping[str, Any] | None = rollout.get("candidateWanted") or rollout.get("candidate") or rollout.get("stable")
    return found


def desired_of(
    intent: ServiceIntent, status: RolloutStatus, *, manager: str | None = None, is_by_checked: bool = True
) -> Desired:
    """What is asked for, and by whom as far as that is known. manager: who last wrote the revision, where nobody says who changed it.
    is_by_checked: whether somebody checks who changes a spec.

    Of a service that cannot be followed: what is under way, or stable again, and nothing that would begin."""
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
