"""The store of bundles on this machine: content-addressed folders, and names with versions that point at them.

    bundles/<sha256 in hex>/           a bundle
    models/<name>/<version>.json       {"digest": "sha256:..."}

Adding is atomic and idempotent; nothing is ever changed in place but the pointer of a version."""

import contextlib
import json
import logging
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from serving.models.bundle import Bundle, read_bundle
from serving.models.errors import BundleError, NoSuchModel

_VERSION: Final = re.compile(r"[0-9]{1,18}", re.ASCII)
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
_log = logging.getLogger("vedette.store")


@dataclass(frozen=True, slots=True)
class StoreEntry:
    """A name and version, and the digest of the bundle it points at."""

    name: str
    version: str
    digest: str


class BundleStore:
    """Bundles under one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder_of(self, digest: str) -> Path:
        """Where the bundle of this digest stands, or would."""
        return self.root / "bundles" / digest.removeprefix("sha256:")

    def add(self, bundle: Bundle) -> str:
        """Copy a bundle in and point its name and version at it; returns its digest."""
        target = self.folder_of(bundle.digest)
        if not target.is_dir():
            target.parent.mkdir(parents=True, exist_ok=True)
            scratch = Path(tempfile.mkdtemp(dir=target.parent, prefix=".adding-"))
            try:
                shutil.copytree(bundle.folder, scratch / "bundle")
                with contextlib.suppress(FileExistsError):
                    os.rename(scratch / "bundle", target)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
        pointer = self.root / "models" / bundle.manifest.name / f"{bundle.manifest.version}.json"
        pointer.parent.mkdir(parents=True, exist_ok=True)
        draft = pointer.with_name(f".{pointer.name}.{os.getpid()}")
        draft.write_text(json.dumps({"digest": bundle.digest}) + "\n", encoding="utf-8")
        draft.replace(pointer)
        return bundle.digest

    def entries(self) -> tuple[StoreEntry, ...]:
        """Every name and version, by name, then oldest version first. A pointer that cannot be read is left out, with a warning;
        other files are none of ours."""
        found = []
        for name, version, pointer in self._pointers():
            try:
                found.append(StoreEntry(name, version, _digest(pointer)))
            except BundleError as problem:
                _log.warning("%s", problem)
        return tuple(found)

    def resolve(self, name: str, version: str | None = None) -> Bundle:
        """Read and verify a bundle by name; version None is the newest. Raises NoSuchModel, BundleError."""
        pointers = self._pointers()
        of_name = {v: pointer for n, v, pointer in pointers if n == name}
        if not of_name:
            raise NoSuchModel(
                f"no model {name!r} in the store {self.root}; it has {sorted({n for n, _, _ in pointers}) or 'none'}"
            )
        chosen = [pointer for v, pointer in of_name.items() if version in (None, v)]
        if not chosen:
            raise NoSuchModel(f"model {name!r} has no version {version!r}; it has {list(of_name)}")
        return self.read(_digest(chosen[-1]))

    def read(self, digest: str) -> Bundle:
        """Read and verify a bundle by its digest. Raises BundleError."""
        return read_bundle(self.folder_of(digest), digest)

    def next_version(self, name: str) -> str:
        """The version a new bundle of this name would get."""
        return str(max((int(v) for n, v, _ in self._pointers() if n == name), default=0) + 1)

    def _pointers(self) -> list[tuple[str, str, Path]]:
        """Name, version and file of every pointer, in the order of `entries`. A version is digits, as in a manifest."""
        found = [(p.parent.name, p.stem, p) for p in (self.root / "models").glob("*/*.json") if _VERSION.fullmatch(p.stem)]
        return sorted(found, key=lambda pointer: (pointer[0], int(pointer[1])))


def _digest(pointer: Path) -> str:
    try:
        digest = str(json.loads(pointer.read_text(encoding="utf-8"))["digest"])
        if not _DIGEST.fullmatch(digest):
            raise ValueError(f"{digest!r:.80} is no digest")
        return digest
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise BundleError(f"{pointer}: is not a version pointer ({problem}); remove it and add the bundle again") from problem
