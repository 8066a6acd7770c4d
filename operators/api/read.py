"""Resources as mappings -> values, or problems in words. The one validation: `vedette rollout lint`, the admission webhook, the
handlers and the local backend all read through here.

Pure. What makes a value valid is said by its type (operators.api.types and the specs below it); `problems` adds what an API server
refuses before it comes to that, with every problem's place."""

import functools
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from operators.api.admission import MISSING, Finding, Path, defaulted, is_within, judge
from operators.api.schema import Schema, structural
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
    """The resource a document holds. Raises ApiError. For what an API server has admitted; people's files are `check`ed."""
    kind = KINDS.get(str(document.get("kind")))
    if kind is None or document.get("apiVersion") != API_VERSION:
        raise ApiError(subject(document), (str(_stranger(document)),))
    try:
        return kind.model_validate(document)
    except ValidationError as problem:
        raise ApiError(subject(document), tuple(words(problem))) from problem


def read_service(document: Mapping[str, Any]) -> ModelService:
    """A ModelService. Raises ApiError."""
    found = read(document)
    if not isinstance(found, ModelService):
        raise ApiError(subject(document), ("kind: is RolloutPolicy, expected ModelService",))
    return found


def read_policy(document: Mapping[str, Any]) -> RolloutPolicy:
    """A RolloutPolicy. Raises ApiError."""
    found = read(document)
    if not isinstance(found, RolloutPolicy):
        raise ApiError(subject(document), ("kind: is ModelService, expected RolloutPolicy",))
    return found


def check(document: Mapping[str, Any]) -> Resource:
    """As `read`, for a document that no API server has judged: a file. Raises ApiError with all that is wrong."""
    found = problems(document)
    if found:
        raise ApiError(subject(document), tuple(map(str, found)))
    return read_defaulted(without_status(document))


def read_defaulted(document: Mapping[str, Any]) -> Resource:
    """A document in which `problems` found none, its defaults filled in as the API server does. Raises ApiError."""
    return read(defaulted(_schema(KINDS[document["kind"]]), document))


def problems(document: Mapping[str, Any], old: Mapping[str, Any] | None = None) -> tuple[Finding, ...]:
    """Everything wrong with a document, in the order of its fields: first the schema and rules of its CRD, then what only the types
    know. old: the resource before this change; the rules about changes hold then."""
    kind = KINDS.get(str(document.get("kind")))
    if kind is None or document.get("apiVersion") != API_VERSION:
        return (_stranger(document),)
    if not isinstance(document.get("metadata"), Mapping) or not document["metadata"].get("name"):
        return (Finding(("metadata", "name"), "is missing; every resource has a name"),)
    schema = _schema(kind)
    before = MISSING if old is None else defaulted(schema, old)
    filled = defaulted(schema, document)
    ruled = tuple(judge(schema, filled, before))
    return (*ruled, *(f for f in _of_the_types(kind, filled) if not _is_said(f.path, ruled)))


def without_status(document: Mapping[str, Any]) -> dict[str, Any]:
    """What people write of a resource; a status that came along in a file is not theirs."""
    return {k: v for k, v in document.items() if k != "status"}


def subject(document: Mapping[str, Any]) -> str:
    """How messages call a document: kind and name."""
    metadata = document.get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    name = "/".join(str(metadata[part]) for part in ("namespace", "name") if metadata.get(part))
    return f"{document.get('kind') or 'document'} {name or '(no name)'}"


def _stranger(document: Mapping[str, Any]) -> Finding:
    given = f"{document.get('apiVersion')!r} and {document.get('kind')!r}"
    return Finding(("kind",), f"apiVersion and kind are {given}, expected {API_VERSION} and {' or '.join(KINDS)}")


@functools.cache
def _schema(kind: type[ModelService] | type[RolloutPolicy]) -> Schema:
    return structural(kind)


def _of_the_types(kind: type[ModelService] | type[RolloutPolicy], document: Mapping[str, Any]) -> Iterator[Finding]:
    try:
        kind.model_validate(without_status(document))
    except ValidationError as problem:
        for error in problem.errors(include_url=False):
            yield Finding(tuple(error["loc"]), str(error["msg"]).removeprefix("Value error, "))


def _is_said(path: Path, ruled: tuple[Finding, ...]) -> bool:
    """Whether a rule has blamed this place, or one below it: a type blames the whole of which a rule names the part."""
    return any(is_within(f.path, path) or is_within(path, f.path) for f in ruled)
