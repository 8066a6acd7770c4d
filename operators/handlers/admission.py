"""Whether a change of a resource is admitted: it must pass `lint`, and its verbs and annotations must name the user who makes it. Pure.

The API server asks (operators.handlers.webhook) before it keeps a ModelService or RolloutPolicy. It has checked schema and CEL rules by
then; here are the checks that they cannot express. The operator trusts a verb because of these checks: `by` and the groups of a request are
those that the API server itself authenticated."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from operators.api.hints import hints
from operators.api.read import ApiError, read
from operators.api.service_intent import CHANGED_BY
from operators.handlers.documents import ResourceDocument, annotations, pending_verbs

STARTS: Final = ("revision", "experiment", "rollout")
"""Fields of a ModelService's spec that start a rollout or control it. A change of them must carry the user's own name."""


@dataclass(frozen=True, slots=True)
class AdmissionAnswer:
    """is_allowed; message: why not; warnings: what `kubectl` prints all the same."""

    is_allowed: bool
    message: str = ""
    warnings: tuple[str, ...] = field(default=())


def judge(request: Mapping[str, Any], ours: str) -> AdmissionAnswer:
    """Answer an AdmissionReview's request. Deletions and resources of other kinds are admitted.

    ours: the operator's own user name, with its namespace; it prunes verbs that others said."""
    document = request.get("object")
    if request.get("operation") not in {"CREATE", "UPDATE"} or not isinstance(document, Mapping):
        return AdmissionAnswer(True)
    if document["metadata"].get("deletionTimestamp"):
        return AdmissionAnswer(True)  # a finalizer must be able to go, whatever the spec has become
    old = request.get("oldObject") or {"metadata": {}}
    user = request.get("userInfo") or {}
    spoken = [*_spoken(document, old, user, ours), *_changed(document, old, str(user.get("username", "")))]
    if spoken:
        return AdmissionAnswer(False, "; ".join(spoken))
    if old.get("spec") == document.get("spec") and request["operation"] == "UPDATE":
        return AdmissionAnswer(
            True
        )  # a resource that became invalid by a newer operator can still be annotated, paused verbs included
    try:
        resource = read({k: v for k, v in document.items() if k != "status"})
    except ApiError as problem:
        return AdmissionAnswer(False, str(problem))
    return AdmissionAnswer(True, warnings=tuple(str(hint)[:250] for hint in hints(resource)))


def _spoken(document: ResourceDocument, old: ResourceDocument, user: Mapping[str, Any], ours: str) -> Iterator[str]:
    """Verbs of this change that are not the user's own."""
    name = str(user.get("username", ""))
    before = {r.id: r for r in pending_verbs(old).requests}
    new = [r for r in pending_verbs(document).requests if before.get(r.id) != r]
    damaged = pending_verbs(document).damaged
    if damaged and damaged != pending_verbs(old).damaged:
        yield damaged.replace("it was ignored", "let `vedette rollout` write it")
    for request in new:
        if request.by != name:
            yield (
                f"request {request.id} ({request.verb}) names {request.by!r} as its author, but you are {name!r}; a "
                "request must carry your own name: write it with `vedette rollout`"
            )
        groups = {g for g in request.args.get("groups", "").split(",") if g}
        foreign = sorted(groups - set(user.get("groups") or ()))
        if foreign:
            yield f"request {request.id} ({request.verb}) claims the groups {', '.join(foreign)}, but you are in none of them"
    removed = [r for i, r in before.items() if i not in {x.id for x in pending_verbs(document).requests} and r.by != name]
    if removed and name != ours:
        yield (
            f"request {removed[0].id} of {removed[0].by!r} is removed by {name!r}; "
            "only the person who made a request, or the operator, may remove it"
        )


def _changed(document: ResourceDocument, old: ResourceDocument, name: str) -> Iterator[str]:
    """The name in the annotation "changed by", if it is not the user's. The person who starts a rollout may not approve it, so the name
    must be right. It may be missing if no step is an approval; a wrong name is refused with every change."""
    if "spec" not in document or document.get("kind") != "ModelService":
        return
    claimed, before = annotations(document).get(CHANGED_BY), annotations(old).get(CHANGED_BY)
    new_spec, old_spec = document["spec"] or {}, old.get("spec") or {}
    fields = [f for f in STARTS if new_spec.get(f) != old_spec.get(f)]
    what = f"spec.{' and spec.'.join(fields)} changed" if fields else "nothing else of it changed"
    if claimed is None and (fields or before is not None) and any(map(_may_ask_for_approval, (new_spec, old_spec))):
        claim = "is missing"
    elif claimed is not None and claimed != name and (fields or claimed != before):
        claim = f"says {claimed!r}"
    else:
        return
    yield (
        f"{what}, annotation {CHANGED_BY} {claim}, but you are {name!r}; this name must be right, because the person who starts a "
        "rollout may not approve it: use `vedette rollout start`, or write your own name there in the same change"
    )


def _may_ask_for_approval(spec: Mapping[str, Any]) -> bool:
    """Whether a step may be an approval: one of its own steps is, or it names a policy, which is not read here."""
    rollout = spec.get("rollout") or {}
    policy = rollout.get("policy")
    if policy is None:
        return rollout.get("policyRef") is not None
    return any("approval" in step for step in policy.get("steps") or ())
