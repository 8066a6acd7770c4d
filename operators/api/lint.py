"""`vedette rollout lint` without its terminal: texts -> notes, each with its file, line, place and the way out.

Pure. operators.api.read finds errors, operators.api.hints finds likely mistakes."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from operators.api.documents import NotYaml, YamlDocument, documents
from operators.api.hints import hints
from operators.api.read import Resource, problems, read_defaulted, subject, without_status
from operators.api.schema_check import Finding, where
from operators.api.types import GROUP, ModelService, RolloutPolicy, rollout_of

NoteLevel = Literal["error", "hint"]


@dataclass(frozen=True, slots=True)
class Note:
    """One thing to say. line: from 1. path: as people write it."""

    level: NoteLevel
    file: str
    line: int
    subject: str
    path: str
    what: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.level}: {self.subject}: {self.path}: {self.what}"


@dataclass(frozen=True, slots=True)
class Report:
    """What was found in all files. resources: how many are ours. skipped: how many documents are of another kind."""

    notes: tuple[Note, ...]
    resources: int
    skipped: int

    @property
    def errors(self) -> int:
        """How many of the notes are errors."""
        return sum(n.level == "error" for n in self.notes)


ServiceCheck = Callable[[ModelService, Sequence[Mapping[str, Any]]], Iterable[Finding]]
"""Judges a service with the RayServices that are given too (operators.backends.checks.worker_room)."""


def _nothing(_: ModelService, __: Sequence[Mapping[str, Any]]) -> Iterable[Finding]:
    return ()


def lint(
    texts: Iterable[tuple[str, str]], *, refused_beside: ServiceCheck = _nothing, hints_beside: ServiceCheck = _nothing
) -> Report:
    """Judge files, given as (name, text). A policy that one of them holds may be named by a service in another."""
    notes: list[Note] = []
    ray_services: list[Mapping[str, Any]] = []
    read_: list[tuple[str, YamlDocument, Resource]] = []
    count = skipped = 0
    for name, text in texts:
        try:
            found = [item for document in documents(text) for item in document.items()]
        except NotYaml as problem:
            notes.append(Note("error", name, problem.line, "file", "the document", str(problem)))
            continue
        for document in found:
            if not _is_ours(document.value):
                if _is_ray_service(document.value):
                    ray_services.append(document.value)
                else:
                    skipped += 1
                continue
            count += 1
            errors = (*document.slips, *problems(document.value))
            notes += [_note("error", name, document, f) for f in errors]
            if not errors:
                read_.append((name, document, read_defaulted(without_status(document.value))))
    for name, document, resource in read_:
        notes += [_note("error", name, document, f) for f in _policy_fits(resource, read_)]
        notes += [_note("hint", name, document, f) for f in (*hints(resource), *_policy_is_there(resource, read_))]
        if isinstance(resource, ModelService):
            notes += [_note("error", name, document, f) for f in refused_beside(resource, ray_services)]
            notes += [_note("hint", name, document, f) for f in hints_beside(resource, ray_services)]
    order = {name: index for index, name in enumerate(dict.fromkeys(n.file for n in notes))}
    return Report(tuple(sorted(notes, key=lambda n: (order[n.file], n.line, n.level))), count, skipped)


def _is_ours(value: Any) -> bool:
    """Whether the document is meant as one of our resources; a misspelt kind or version of our group counts too."""
    if not isinstance(value, Mapping):
        return False
    group = str(value.get("apiVersion", "")).partition("/")[0]
    return group == GROUP or value.get("kind") in {"ModelService", "RolloutPolicy"}


def _is_ray_service(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and value.get("kind") == "RayService"
        and str(value.get("apiVersion", "")).startswith("ray.io/")
    )


def _policy_is_there(resource: Resource, all_: list[tuple[str, YamlDocument, Resource]]) -> Iterator[Finding]:
    """Only where policies are given at all: they may well be in the cluster."""
    if not isinstance(resource, ModelService) or resource.spec.rollout.policy_ref is None:
        return
    policies = {r.metadata.name for _, _, r in all_ if isinstance(r, RolloutPolicy)}
    name = resource.spec.rollout.policy_ref.name
    if policies and name not in policies:
        known = ", ".join(sorted(policies))
        yield Finding(
            ("spec", "rollout", "policyRef", "name"), f"is {name}, which is not one of the policies given here ({known})"
        )


def _policy_fits(resource: Resource, all_: list[tuple[str, YamlDocument, Resource]]) -> Iterator[Finding]:
    """Whether the backend of a service can follow the policy it names, where that is given too."""
    if not isinstance(resource, ModelService) or resource.spec.rollout.policy_ref is None:
        return
    name, namespace = resource.spec.rollout.policy_ref.name, resource.metadata.namespace
    for _, _, other in all_:
        if isinstance(other, RolloutPolicy) and (other.metadata.name, other.metadata.namespace) == (name, namespace):
            try:
                rollout_of(resource, other)
            except LookupError as problem:
                yield Finding(("spec", "rollout", "policyRef", "name"), f"is {name}: {problem}")


def _note(level: NoteLevel, name: str, document: YamlDocument, finding: Finding) -> Note:
    return Note(level, name, document.line(finding.path), subject(document.value), where(finding.path), finding.what)
