"""Resources as mappings -> values, or problems in words. The one validation: `vedette rollout lint`, the admission webhook, the
handlers and the local backend all read through here.

Pure. A type says what makes its values valid (operators.api.types and the specs below it). `problems` adds what an API server
refuses by the CRD's schema, with the place of every problem."""

import functools
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from operators.api.schema import Schema, structural
from operators.api.schema_check import Finding, Path, defaulted, is_within, judge
from operators.api.types import API_VERSION, ModelService, RolloutPolicy
from operators.values import blamed, words

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


def problems(document: Mapping[str, Any]) -> tuple[Finding, ...]:
    """What is wrong with a document: first by the schema of its CRD, in the order of its fields, then by its type.

    A rule about a whole (one owner of the count) is judged once its parts are valid. Rules about changes are the API server's."""
    kind = KINDS.get(str(document.get("kind")))
    if kind is None or document.get("apiVersion") != API_VERSION:
        return (_stranger(document),)
    if not isinstance(document.get("metadata"), Mapping) or not document["metadata"].get("name"):
        return (Finding(("metadata", "name"), "is missing; every resource has a name"),)
    schema = _schema(kind)
    filled = defaulted(schema, document)
    by_schema = tuple(judge(schema, filled))
    return (*by_schema, *(f for f in _by_type(kind, filled) if not _is_said(f.path, by_schema)))


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


def _by_type(kind: type[ModelService] | type[RolloutPolicy], document: Mapping[str, Any]) -> Iterator[Finding]:
    try:
        kind.model_validate(without_status(document))
    except ValidationError as problem:
        errors = [(blamed(e), str(e["msg"]).removeprefix("Value error, ")) for e in problem.errors(include_url=False)]
        places = [place for place, _ in errors]
        for place, what in errors:  # a list whose entries are wrong is also too short for pydantic: the entries are blamed
            if not any(other != place and is_within(other, place) for other in places):
                yield Finding(place, what)


def _is_said(path: Path, findings: tuple[Finding, ...]) -> bool:
    """Whether a finding is about this place, or one within it or around it."""
    return any(is_within(f.path, path) or is_within(path, f.path) for f in findings)
