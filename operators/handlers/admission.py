"""Whether a change of a resource is let in: what `lint` would say of it, and that nobody speaks for somebody else. Pure.

The API server asks (operators.handlers.webhook) before it keeps a ModelService or RolloutPolicy. Schema and CEL rules have been
judged by then; here is what they cannot say. Verbs are believed by what is checked here: `by` and the groups of a request are
those that the API server itself authenticated."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from operators.api.hints import hints
from operators.api.read import ApiError, read
from operators.handlers.documents import CHANGED_BY, Document, annotations, said

OURS: Final = "vedette-operator"
"""Name of the operator's service account, whatever its namespace: it prunes verbs that others said."""


@dataclass(frozen=True, slots=True)
class Answer:
    """is_allowed; message: why not; warnings: what `kubectl` prints all the same."""

    is_allowed: bool
    message: str = ""
    warnings: tuple[str, ...] = field(default=())


def judge(request: Mapping[str, Any]) -> Answer:
    """Answer an AdmissionReview's request. A deletion, and whatever is no resource of ours, is let through."""
    document = request.get("object")
    if request.get("operation") not in {"CREATE", "UPDATE"} or not isinstance(document, Mapping):
        return Answer(True)
    if document["metadata"].get("deletionTimestamp"):
        return Answer(True)  # a finalizer must be able to go, whatever the spec has become
    old = request.get("oldObject") or {"metadata": {}}
    spoken = list(_spoken(document, old, request.get("userInfo") or {}))
    if spoken:
        return Answer(False, "; ".join(spoken))
    if old.get("spec") == document.get("spec") and request["operation"] == "UPDATE":
        return Answer(True)  # a resource that became invalid by a newer operator can still be annotated, paused verbs included
    try:
        resource = read({k: v for k, v in document.items() if k != "status"})
    except ApiError as problem:
        return Answer(False, str(problem))
    return Answer(True, warnings=tuple(str(hint)[:250] for hint in hints(resource)))


def _spoken(document: Document, old: Document, user: Mapping[str, Any]) -> Iterator[str]:
    """Claims of this change that are not the user's own."""
    name = str(user.get("username", ""))
    before = {r.id: r for r in said(old).requests}
    new = [r for r in said(document).requests if before.get(r.id) != r]
    damaged = said(document).damaged
    if damaged and damaged != said(old).damaged:
        yield damaged.replace("it was left out", "`vedette rollout` writes it rightly")
    for request in new:
        if request.by != name:
            yield (
                f"request {request.id} ({request.verb}) says it is by {request.by!r}, and you are {name!r}; nobody speaks for "
                "somebody else: write your own name, as `vedette rollout` does"
            )
        groups = {g for g in request.args.get("groups", "").split(",") if g}
        foreign = sorted(groups - set(user.get("groups") or ()))
        if foreign:
            yield f"request {request.id} ({request.verb}) claims the groups {', '.join(foreign)}, and you are in none of them"
    removed = [r for i, r in before.items() if i not in {x.id for x in said(document).requests} and r.by != name]
    if removed and not _is_operator(name):
        yield f"request {removed[0].id} of {removed[0].by!r} is taken away by {name!r}; only whoever said it, or the operator, may"
    changed = annotations(document).get(CHANGED_BY)
    if changed is not None and changed != annotations(old).get(CHANGED_BY) and changed != name:
        yield f"annotation {CHANGED_BY} says {changed!r}, and you are {name!r}; write your own name, or leave it out"


def _is_operator(name: str) -> bool:
    parts = name.split(":")
    return len(parts) == 4 and parts[:2] == ["system", "serviceaccount"] and parts[3] == OURS
