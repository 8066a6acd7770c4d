"""What the replicas of this machine should serve, kept in the store: `served.json`, a ServingSpec.

`vedette up`, the repository API and the local rollout backend write it, one at a time; every replica follows it. A copy of the last
written specification is kept beside it (`served.last.json`), so a damaged or deleted file changes nothing that is served. If none was
ever written, the newest version of every model in the store is served."""

import logging
import os
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from serving.files.file_lock import exclusive_lock
from serving.files.read_back import read_back_json
from serving.files.whole_files import write_whole
from serving.models.errors import ModelError
from serving.models.store import BundleStore
from serving.spec import ModelSpec, RevisionSpec, ServingSpec
from serving.store_layout import say_layout

Stamp = tuple[int, int]
_log = logging.getLogger("vedette.served")


class ServedFile:
    """The specification in a store folder. One writer at a time, whatever process it is in."""

    def __init__(self, folder: Path) -> None:
        self._path, self._last, self._lock = folder / "served.json", folder / "served.last.json", folder / ".served.lock"
        self._seen: Stamp | None = None

    def read(self) -> ServingSpec | None:
        """The specification; if the file is damaged or gone, the last written one. None if there is neither.

        Raises ModelError if neither can be read."""
        try:
            spec = _read(self._path)
        except ModelError as problem:
            last = self._read_last()
            if last is None:
                raise
            _log.error("%s; the last valid specification is still served", problem)
            return last
        return self._read_last() if spec is None else spec

    def write(self, spec: ServingSpec) -> None:
        """Replace it in one step. `changed` does not report the writer's own change. Raises ModelError for a value that could not be
        read again; OSError."""
        with exclusive_lock(self._lock):
            self._write(spec)

    def update(self, change: Callable[[ServingSpec], ServingSpec], initial: Callable[[], ServingSpec]) -> ServingSpec:
        """Read, change and write under the lock; returns the result. initial: what is served if nothing was written yet.

        Raises what `change` raises; ModelError, OSError."""
        with exclusive_lock(self._lock):
            before = self.read() or initial()
            after = change(before)
            if after != before or not self._is_whole():
                self._write(after)
            return after

    def changed(self) -> bool:
        """Whether the file changed since the last call."""
        before, self._seen = self._seen, self._stamp()
        return self._seen != before

    def _write(self, spec: ServingSpec) -> None:
        body = spec.model_dump_json(indent=1) + "\n"
        _parse(body.encode(), "the new specification")
        say_layout(self._path.parent)
        was_seen = self._stamp() == self._seen
        write_whole(self._last, body)
        stamp = _stamp(write_whole(self._path, body))
        if was_seen:  # else another process wrote before, and that change must still be followed
            self._seen = stamp

    def _is_whole(self) -> bool:
        try:
            return _read(self._path) is not None
        except ModelError:
            return False

    def _read_last(self) -> ServingSpec | None:
        try:
            return _read(self._last)
        except ModelError as problem:
            _log.error("%s", problem)
            return None

    def _stamp(self) -> Stamp | None:
        try:
            return _stamp(self._path.stat())
        except FileNotFoundError:
            return None


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_mtime_ns, status.st_ino


def _read(path: Path) -> ServingSpec | None:
    try:
        body = path.read_bytes()
    except FileNotFoundError:
        return None
    return _parse(body, str(path))


def _parse(body: bytes, where: str) -> ServingSpec:
    try:
        return read_back_json(ServingSpec, body)
    except ValidationError as problem:
        first = problem.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the document"
        raise ModelError(
            f"{where}: is not a serving specification ({field}: {first['msg']}); `vedette up` writes it again from what was "
            "served last and from the service documents"
        ) from problem


def newest_of_each(store: BundleStore) -> ServingSpec:
    """The newest version of every model in the store."""
    newest = {e.name: e for e in store.entries()}
    return ServingSpec(
        models=tuple(ModelSpec(name=e.name, version=e.version, revision=RevisionSpec(bundle=e.digest)) for e in newest.values())
    )
