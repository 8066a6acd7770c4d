"""The people file: who may approve, in which roles and with which keys, and which services always need an approval. Pure.

`STORE/governance/people.yaml` on this machine; in a cluster a file that a ConfigMap or Secret mounts:

    people:
    - name: bob                        # as the operating system or the API server calls them
      roles: [soc-manager]
      key: bob+1c2d3e4f+AbCd...        # with a key, an approval in this name counts only if the key signed it
    groups:                            # who else has a role: members of these groups, where somebody checks who is a member
      soc-manager: [soc-managers]
    require:                           # a rollout of these services has this approval step, or one as strict
    - services: [flows, "dns-*"]
      approval: {roles: [detection-lead, soc-manager], validFor: 24h}"""

import fnmatch
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Annotated, Any, Final

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lifecycle.yaml_text import read_yaml
from serving.audit.signed_note import NoteError, VerifierKey

Role = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")]

MOST_BYTES: Final = 1 << 20
"""Of the file."""


class PeopleFileError(Exception):
    """The people file cannot be used; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Person:
    """One person of the people file. key: verifies their approvals; None: they sign none."""

    name: str
    roles: frozenset[str]
    key: VerifierKey | None = None


@dataclass(frozen=True, slots=True)
class RequiredApproval:
    """An approval step that every rollout of some services needs. services: patterns of names. step: as a policy writes it."""

    services: tuple[str, ...]
    step: Mapping[str, Any]

    def is_for(self, service: str) -> bool:
        """Whether a service of this name needs the step."""
        return any(fnmatch.fnmatchcase(service, pattern) for pattern in self.services)


@dataclass(frozen=True, slots=True)
class People:
    """The content of the people file. groups: role -> the groups whose members have it. digest: of the file; empty: there is none."""

    by_name: Mapping[str, Person] = field(default_factory=dict)
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    require: tuple[RequiredApproval, ...] = ()
    digest: str = ""

    def key_of(self, name: str) -> VerifierKey | None:
        """The key that verifies this person's approvals; None if they have none."""
        person = self.by_name.get(name)
        return None if person is None else person.key

    def roles_of(self, name: str, groups: frozenset[str], role_groups: Mapping[str, tuple[str, ...]]) -> frozenset[str]:
        """The roles of a person: their own, and those that their groups give.

        role_groups: role -> groups, as a policy says. If the people file lists groups for the same role, only the file counts."""
        person = self.by_name.get(name)
        by_group = {**role_groups, **self.groups}
        found = {role for role, members in by_group.items() if groups & set(members)}
        return frozenset(found | (person.roles if person is not None else set()))


NOBODY: Final = People()


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _PersonEntry(_Part):
    name: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^\S+$")]
    roles: tuple[Role, ...] = ()
    key: str | None = None


class _RequireEntry(_Part):
    services: Annotated[tuple[str, ...], Field(min_length=1)]
    approval: Mapping[str, Any] = Field(default_factory=dict)


class _PeopleFile(_Part):
    people: tuple[_PersonEntry, ...] = ()
    groups: Mapping[Role, tuple[str, ...]] = Field(default_factory=dict)
    require: tuple[_RequireEntry, ...] = ()


def read_people(text: str, where: str, check_step: Callable[[Mapping[str, Any]], object] = lambda step: step) -> People:
    """Parse the text of a people file. Raises PeopleFileError.

    where: the file, for messages. check_step: raises ValueError for an approval step that is not valid."""
    try:
        document = read_yaml(text)
    except yaml.YAMLError as problem:
        raise PeopleFileError(f"{where}: is not YAML: {problem}") from problem
    try:
        file = _PeopleFile.model_validate(document or {})
    except ValidationError as problem:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in problem.errors(include_url=False))
        raise PeopleFileError(f"{where}: {faults}") from problem
    for required in file.require:
        try:
            check_step(required.approval)
        except ValueError as problem:
            raise PeopleFileError(f"{where}: require of {', '.join(required.services)}: {problem}") from problem
    people = {entry.name: Person(entry.name, frozenset(entry.roles), _key(entry, where)) for entry in file.people}
    if len(people) != len(file.people):
        raise PeopleFileError(f"{where}: names a person twice; write one entry for each")
    owners: dict[bytes, str] = {}
    for person in people.values():
        if person.key is not None and owners.setdefault(person.key.public, person.name) != person.name:
            other = owners[person.key.public]
            raise PeopleFileError(
                f"{where}: {other} and {person.name} have the same key, so one person could approve as two; give each person a key"
            )
    return People(
        people,
        dict(file.groups),
        tuple(RequiredApproval(entry.services, entry.approval) for entry in file.require),
        f"sha256:{sha256(text.encode()).hexdigest()}",
    )


def _key(entry: _PersonEntry, where: str) -> VerifierKey | None:
    if entry.key is None:
        return None
    try:
        return VerifierKey.parse(entry.key)
    except NoteError as problem:
        raise PeopleFileError(f"{where}: the key of {entry.name}: {problem}") from problem
