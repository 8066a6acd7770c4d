"""A ModelService as the API server gives it: its name, version, verbs, owner and who wrote it. Pure.

operators.api decides whether it is valid."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from operators.api.types import REQUESTS_ANNOTATION
from operators.backends.kube import encoded
from operators.rollout.status import VerbRequest
from operators.values import words

ResourceDocument = Mapping[str, Any]
Key = tuple[str, str]
"""(namespace, name)."""


@dataclass(frozen=True, slots=True)
class PendingVerbs:
    """Verbs of the annotation. damaged: why it, or one of its entries, could not be read; None: it could."""

    requests: tuple[VerbRequest, ...] = ()
    damaged: str | None = None


def key_of(document: ResourceDocument) -> Key:
    """Namespace and name."""
    return document["metadata"]["namespace"], document["metadata"]["name"]


def version_of(document: ResourceDocument) -> str:
    """Its resourceVersion."""
    return str(document["metadata"].get("resourceVersion", ""))


def annotations(document: ResourceDocument) -> Mapping[str, str]:
    """Its annotations."""
    found: Mapping[str, str] = document["metadata"].get("annotations") or {}
    return found


def pending_verbs(document: ResourceDocument) -> PendingVerbs:
    """The verbs that people requested, the oldest first. Entries that cannot be read are left out and reported."""
    text = annotations(document).get(REQUESTS_ANNOTATION)
    if not text:
        return PendingVerbs()
    try:
        entries = json.loads(encoded(json.loads(text)))  # half a surrogate pair must not make a verb unreadable
        if not isinstance(entries, list):
            raise ValueError("it is not a list")
    except ValueError as problem:
        return PendingVerbs(
            damaged=f"annotation {REQUESTS_ANNOTATION} is not a JSON list of requests ({problem}); it was ignored"
        )
    found, damaged = [], []
    for index, entry in enumerate(entries):
        try:
            found.append(VerbRequest.model_validate(entry))
        except ValidationError as problem:
            damaged.append(f"[{index}]: {'; '.join(words(problem, 'request'))}")
    why = f"annotation {REQUESTS_ANNOTATION}{', '.join(damaged)}; it was ignored" if damaged else None
    return PendingVerbs(tuple(sorted(found, key=lambda r: r.at)), why)


def owner_reference(document: ResourceDocument) -> dict[str, Any]:
    """The ownerReference of objects that are made for this service, so that they are deleted with it."""
    return {
        "apiVersion": document["apiVersion"],
        "kind": document["kind"],
        "name": document["metadata"]["name"],
        "uid": document["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def manager_of_revision(document: ResourceDocument) -> str | None:
    """The field manager that last wrote spec.revision, e.g. `argocd-controller` or `kubectl-client-side-apply`."""
    entries = [
        e
        for e in document["metadata"].get("managedFields") or []
        if not e.get("subresource") and "f:revision" in ((e.get("fieldsV1") or {}).get("f:spec") or {})
    ]
    newest = max(entries, key=lambda e: e.get("time") or "", default=None)
    return newest.get("manager") if newest else None
