"""What the replicas of this machine should serve, kept in the store: `served.json`, a ServingSpec.

Written by `vedette up`, by the repository API and later by the local rollout backend; every replica follows it. Without the
file, the newest version of every model in the store is served."""

import os
from pathlib import Path

from pydantic import ValidationError

from serving.models.errors import ModelError
from serving.models.store import BundleStore
from serving.spec import ModelSpec, RevisionSpec, ServingSpec


class ServedFile:
    """The specification in a store folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "served.json"
        self._seen: tuple[int, int] | None = None

    def read(self) -> ServingSpec | None:
        """The specification, or None if none was written. Raises ModelError if the file is damaged."""
        try:
            body = self._path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            return ServingSpec.model_validate_json(body)
        except ValidationError as problem:
            raise ModelError(
                f"{self._path}: is not a serving specification ({problem.errors()[0]['msg']}); remove it or write it anew"
            ) from problem

    def write(self, spec: ServingSpec) -> None:
        """Replace it in one step. The writer does not see its own writing as a change."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_name(f".served.{os.getpid()}")
        draft.write_text(spec.model_dump_json(indent=1) + "\n", encoding="utf-8")
        draft.replace(self._path)
        self._seen = self._stamp()

    def changed(self) -> bool:
        """Whether it changed since this was last asked."""
        before, self._seen = self._seen, self._stamp()
        return self._seen != before

    def _stamp(self) -> tuple[int, int] | None:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return None
        return status.st_mtime_ns, status.st_ino


def newest_of_each(store: BundleStore) -> ServingSpec:
    """The newest version of every model in the store."""
    newest = {e.name: e for e in store.entries()}
    return ServingSpec(
        models=tuple(ModelSpec(name=e.name, version=e.version, revision=RevisionSpec(bundle=e.digest)) for e in newest.values())
    )
