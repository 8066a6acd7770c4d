"""Services of this machine, in the store's folder `control`: the same documents as in a cluster.

    services/NAME.yaml      a ModelService, as people write it
    policies/NAME.yaml      a RolloutPolicy
    NAME.status.json        where it stands; written by the loop only
    NAME.requests/ID.json   a verb somebody said, until the loop has recorded that it acted on it
    NAME.looks.jsonl        the evidence over time of the newest rollout, for plots

Files are replaced whole; who reads sees the old or the new."""

import contextlib
import getpass
import grp
import json
import os
from collections.abc import Mapping
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from lifecycle.governance.approvals.people import MOST_BYTES, NOBODY, People, read_people
from operators.api.read import ApiError, read_policy, read_service
from operators.api.service_intent import NOTHING_KNOWN, LastKnown, ServiceIntent, intent_from_memory
from operators.api.types import ModelService, ModelServiceStatus, RolloutPolicy, rollout_of
from operators.control.files import is_held, remove, write_whole
from operators.control.looks import EvidencePoint, read_looks
from operators.control.port import DamagedState, Edit, NoSuchService, Record, ServiceDocument
from operators.rollout.spec import RolloutSpec
from operators.rollout.status import RolloutStatus, VerbRequest
from operators.values import words
from serving.files.bounded_files import read_bounded
from serving.files.file_lock import exclusive_lock
from serving.files.read_back import read_back_json
from serving.files.safe_yaml import read_yaml
from serving.store_layout import say_layout

if TYPE_CHECKING:
    from operators.backends.exposition import ReplicaPage

LOOP_LOCK = ".loop.lock"


class ControlFolder:
    """Port Control over the folder of a store; also what the loop reads and records."""

    def __init__(self, store_dir: Path) -> None:
        self.store_dir = store_dir
        self.folder = store_dir / "control"

    @property
    def where(self) -> str:
        """The folder."""
        return str(self.folder)

    @property
    def loop_lock(self) -> Path:
        """Held by the process that runs the rollouts of this store."""
        return self.folder / LOOP_LOCK

    def names(self) -> tuple[str, ...]:
        """Every service, by name."""
        return tuple(sorted(p.stem for p in (self.folder / "services").glob("*.yaml") if not p.name.startswith(".")))

    def stamps(self) -> Mapping[str, object]:
        """For every service: when its files and the policies were written last."""
        policies = tuple(sorted(_stamp(p) for p in (self.folder / "policies").glob("*.yaml")))
        return {
            name: (
                _stamp(self._service_path(name)), _stamp(self._status_path(name)), _stamp(self.folder / f"{name}.requests"), policies
            )
            for name in self.names()
        }  # fmt: skip

    def orphans(self) -> tuple[str, ...]:
        """Names that have a status and no document any more."""
        known = self.names()
        return tuple(sorted(n for p in self.folder.glob("*.status.json") if (n := p.name[:-12]) not in known and n[:1] != "."))

    def read(self, name: str) -> Record:
        """Raises NoSuchService, DamagedState."""
        asked, status = self.asked(name), self.status(name)
        return Record(
            asked.service, asked.rollout, status or RolloutStatus(), self.waiting(name), status is not None, asked.problem
        )

    def asked(self, name: str, known: LastKnown = NOTHING_KNOWN) -> ServiceIntent:
        """What the document and its policy ask for; if they can no longer be followed, the last known state.

        Raises NoSuchService, DamagedState."""
        try:
            service = self.service(name)
            return ServiceIntent(service, self.rollout(service))
        except DamagedState as problem:
            document, kept = self._document(name), self.status(name)
            if document is None or kept is None:
                raise
            status = {"rollout": kept.model_dump(mode="json", by_alias=True, exclude_defaults=True)}
            found = intent_from_memory({**_named(document, name), "status": status}, known, problem)
            if found is None:
                raise
            return found

    def service(self, name: str) -> ModelService:
        """The document as a value. Raises NoSuchService, DamagedState."""
        document = self._document(name)
        if document is None:
            raise self._missing(name)
        return _service(_named(document, name), self._service_path(name))

    def rollout(self, service: ModelService) -> RolloutSpec:
        """The steps the service follows. Raises DamagedState if its policy is missing or does not hold."""
        policy = None
        if service.spec.rollout.policy is None and service.spec.rollout.policy_ref is not None:
            wanted = service.spec.rollout.policy_ref.name
            path = self.folder / "policies" / f"{wanted}.yaml"
            document = _read_yaml(path)
            policy = None if document is None else _policy(_named(document, wanted), path)
        try:
            return rollout_of(service, policy)
        except LookupError as problem:
            raise DamagedState(str(problem)) from problem

    def status(self, name: str) -> RolloutStatus | None:
        """Where it stands; None if the loop has not looked at it yet. Raises DamagedState."""
        path = self._status_path(name)
        try:
            body = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        try:
            return read_back_json(ModelServiceStatus, body).rollout
        except ValidationError as problem:
            raise DamagedState(f"{path}: {'; '.join(words(problem))}; only the loop writes this file") from problem

    def mentions(self, name: str, text: str) -> bool:
        """Whether the status of a service has this text: a quick look before it is read in full."""
        try:
            return text.encode() in self._status_path(name).read_bytes()
        except OSError:
            return False

    def is_observed(self, name: str) -> bool:
        """Whether the loop has looked at it."""
        return self._status_path(name).is_file()

    def record(self, name: str, status: ModelServiceStatus) -> None:
        """Keep where it stands, then drop the requests it says were handled."""
        body = status.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        write_whole(self._status_path(name), json.dumps(body, indent=1) + "\n")
        handled = set(status.rollout.handled) if status.rollout else set()
        for path in self._requests(name):
            if path.stem in handled:
                remove(path)

    def forget(self, name: str) -> None:
        """Drop the status and requests of a service that is gone."""
        for path in self._requests(name):
            remove(path)
        remove(self.looks_path(name))
        remove(self._status_path(name))

    def looks(self, name: str) -> tuple[EvidencePoint, ...]:
        """The evidence over time of the newest rollout."""
        return read_looks(self.looks_path(name))

    def replica_pages(self) -> "tuple[ReplicaPage, ...]":
        """The page of this machine's replicas."""
        from operators.control.figures.pages import store_pages

        return store_pages(self.store_dir)

    def looks_path(self, name: str) -> Path:
        """Where the loop adds its looks."""
        return self.folder / f"{name}.looks.jsonl"

    def waiting(self, name: str) -> tuple[VerbRequest, ...]:
        """Requests that wait, the oldest first. Requests that cannot be read are left out, see `damaged`."""
        return tuple(sorted(self._left(name)[0], key=lambda r: (r.at, r.id)))

    def damaged(self, name: str) -> tuple[str, ...]:
        """What is wrong with each request that cannot be read, and the way out."""
        return tuple(self._left(name)[1])

    def checked(self, name: str) -> tuple[str, ...]:
        """Ids of the requests whose file belongs to the person they name, so that the operating system vouches for the name."""
        return tuple(r.id for r in self.waiting(name) if r.by == owner_of(self.folder / f"{name}.requests" / f"{r.id}.json"))

    def writer(self, name: str) -> str | None:
        """The owner of the document's file: who wrote it last. None: not known."""
        return owner_of(self._service_path(name))

    def _left(self, name: str) -> tuple[list[VerbRequest], list[str]]:
        found, wrong = list[VerbRequest](), list[str]()
        for path in self._requests(name):
            try:
                found.append(VerbRequest.model_validate_json(path.read_bytes()))
            except FileNotFoundError:
                continue
            except ValidationError as problem:
                wrong.append(f"{path}: {'; '.join(words(problem))}; remove it and give the command again")
        return found, wrong

    def change(self, name: str, edit: Edit) -> None:
        """Write what `edit` makes of the document. Raises DamagedState if the result is not a ModelService."""
        path = self._service_path(name)
        say_layout(self.store_dir)
        with exclusive_lock(self.folder / ".edit.lock"):
            before = self._document(name)
            document = edit(before)
            metadata = dict(document.get("metadata") or {})
            generation = int(metadata.get("generation", 0)) + (before is None or before.get("spec") != document.get("spec"))
            document = {**document, "metadata": {**metadata, "name": name, "generation": generation}}
            service = _service(document, path)
            self.rollout(service)
            write_whole(path, yaml.safe_dump(document, sort_keys=False))

    def delete(self, name: str) -> None:
        """Stop managing a service; the loop takes its variants down, stable stays served."""
        remove(self._service_path(name))

    def ask(self, name: str, request: VerbRequest) -> None:
        """Leave a verb for the loop, even if the document cannot be followed: an abort must get through. Raises NoSuchService."""
        if not self._service_path(name).is_file():
            raise self._missing(name)
        body = request.model_dump_json(by_alias=True, indent=1)
        write_whole(self.folder / f"{name}.requests" / f"{request.id}.json", body + "\n")

    def who(self) -> str:
        """The user of the operating system."""
        try:
            return getpass.getuser()
        except (KeyError, OSError):
            return f"uid-{os.getuid()}"

    def groups(self) -> tuple[str, ...]:
        """The user's groups of the operating system."""
        found = []
        for number in sorted({os.getgid(), *os.getgroups()}):
            with contextlib.suppress(KeyError):
                found.append(grp.getgrgid(number).gr_name)
        return tuple(found)

    def people(self) -> People:
        """Those of the store's file of people; nobody if there is none. Raises PeopleFileError."""
        path = people_file(self.store_dir)
        return read_people(read_bounded(path, MOST_BYTES).decode(), str(path)) if path.is_file() else NOBODY

    def caution(self) -> str | None:
        """Whether a `vedette up` of this store runs."""
        if is_held(self.loop_lock):
            return None
        return f"nothing acts on it yet: no `vedette up` of the store {self.store_dir} is running"

    def _missing(self, name: str) -> NoSuchService:
        return NoSuchService(
            f"no service {name!r} in {self.folder}; it has {list(self.names()) or 'none'}: `vedette rollout start {name}` makes one"
        )

    def _document(self, name: str) -> ServiceDocument | None:
        return _read_yaml(self._service_path(name))

    def _service_path(self, name: str) -> Path:
        return self.folder / "services" / f"{name}.yaml"

    def _status_path(self, name: str) -> Path:
        return self.folder / f"{name}.status.json"

    def _requests(self, name: str) -> list[Path]:
        return sorted(p for p in (self.folder / f"{name}.requests").glob("*.json") if not p.name.startswith("."))


def people_file(store_dir: Path) -> Path:
    """The file of people of a store."""
    return store_dir / "governance" / "people.yaml"


def owner_of(path: Path) -> str | None:
    """The user that owns a file; None: not known."""
    try:
        return path.owner()
    except (OSError, KeyError):
        return None


def _stamp(path: Path) -> tuple[int, int, int]:
    """Another one after the file was replaced or the folder changed; zeros if there is none."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0, 0
    return found.st_mtime_ns, found.st_ino, found.st_size


def _read_yaml(path: Path) -> ServiceDocument | None:
    try:
        document = deepcopy(_parsed(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        raise DamagedState(f"{path}: is not YAML: {problem}") from problem
    if not isinstance(document, dict):
        raise DamagedState(f"{path}: holds no document; see docs/reference for a complete one")
    return document


@lru_cache(maxsize=64)
def _parsed(text: str) -> Any:
    """Remembered: the loop reads documents that nobody changed at every look, and YAML takes milliseconds."""
    return read_yaml(text)


def _named(document: Mapping[str, Any], name: str) -> ServiceDocument:
    """The document under the name of its file, in the namespace of this machine."""
    return {**document, "metadata": {**(document.get("metadata") or {}), "name": name, "namespace": "local"}}


def _service(document: Mapping[str, Any], path: Path) -> ModelService:
    try:
        return read_service(document)
    except ApiError as problem:
        raise DamagedState(f"{path}: {'; '.join(problem.problems)}") from problem


def _policy(document: Mapping[str, Any], path: Path) -> RolloutPolicy:
    try:
        return read_policy(document)
    except ApiError as problem:
        raise DamagedState(f"{path}: {'; '.join(problem.problems)}") from problem
