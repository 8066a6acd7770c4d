"""Resources as text or mappings -> values, or problems in words. The one validation: `vedette rollout lint`, the admission webhook,
the handlers and the local backend all read through here.

Pure. What makes a value valid is said by its type (operators.api.types and the specs below it)."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from operators.api.types import API_VERSION, ModelService, RolloutPolicy
from operators.rollout.spec import words

Resource = ModelService | RolloutPolicy
KINDS: Mapping[str, type[ModelService] | type[RolloutPolicy]] = {"ModelService": ModelService, "RolloutPolicy": RolloutPolicy}


class ApiError(Exception):
    """A document is not the resource it should be. problems: `path: what; the way out`, one line each."""

    def __init__(self, subject: str, problems: tuple[str, ...]) -> None:
        super().__init__(f"{subject}: " + "; ".join(problems))
        self.subject = subject
        self.problems = problems


def read(document: Mapping[str, Any]) -> Resource:
    """The resource a document holds. Raises ApiError with everything that is wrong with it."""
    subject = _subject(document)
    kind = KINDS.get(str(document.get("kind")))
    if kind is None or document.get("apiVersion") != API_VERSION:
        raise ApiError(
            subject,
            (
                f"apiVersion and kind are {document.get('apiVersion')!r} and {document.get('kind')!r}; "
                f"expected {API_VERSION} and {' or '.join(KINDS)}",
            ),
        )
    try:
        return kind.model_validate(document)
    except ValidationError as problem:
        raise ApiError(subject, tuple(words(problem))) from problem


def read_service(document: Mapping[str, Any]) -> ModelService:
    """A ModelService. Raises ApiError."""
    found = read(document)
    if not isinstance(found, ModelService):
        raise ApiError(_subject(document), ("kind is RolloutPolicy, expected ModelService",))
    return found


def read_policy(document: Mapping[str, Any]) -> RolloutPolicy:
    """A RolloutPolicy. Raises ApiError."""
    found = read(document)
    if not isinstance(found, RolloutPolicy):
        raise ApiError(_subject(document), ("kind is ModelService, expected RolloutPolicy",))
    return found


def _subject(document: Mapping[str, Any]) -> str:
    metadata = document.get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    name = "/".join(str(metadata[part]) for part in ("namespace", "name") if metadata.get(part))
    return f"{document.get('kind') or 'document'} {name or '(no name)'}"
