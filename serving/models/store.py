"""The store of bundles on this machine: content-addressed folders, and names with versions that point at them.

    bundles/<sha256 in hex>/           a bundle
    signatures/<sha256 in hex>/*.sig   signatures of that bundle, one file a signer
    models/<name>/<version>.json       {"digest": "sha256:..."}

Adding is atomic and idempotent; nothing is ever changed in place but the pointer of a version."""

import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from serving.models.bundle import SIGNATURE, Bundle, read_bundle
from serving.models.errors import BundleError, NoSuchModel, UntrustedBundle
from serving.models.signing.statement import LIMIT_BYTES, read_envelope
from serving.models.signing.trust import Proof, TrustedKeys
from serving.settings import ServingSettings
from serving.store_layout import say_layout

_VERSION: Final = re.compile(r"[0-9]{1,18}", re.ASCII)
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
_HINT: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
MOST_SIGNATURES: Final = 16
"""Signatures of one bundle that are read."""
_log = logging.getLogger("vedette.store")


@dataclass(frozen=True, slots=True)
class StoreEntry:
    """A name and version, and the digest of the bundle it points at."""

    name: str
    version: str
    digest: str


class BundleStore:
    """Bundles under one folder.

    trusted: if given, only bundles that one of these keys signed can be read; the check comes before anything of a bundle is parsed."""

    def __init__(self, root: Path, trusted: TrustedKeys | None = None) -> None:
        self.root, self._trusted = root, trusted

    def folder_of(self, digest: str) -> Path:
        """Where the bundle of this digest stands, or would."""
        return self.root / "bundles" / digest.removeprefix("sha256:")

    def add(self, bundle: Bundle) -> str:
        """Copy a bundle in and point its name and version at it; returns its digest."""
        target = self.folder_of(bundle.digest)
        say_layout(self.root)
        if not target.is_dir():
            target.parent.mkdir(parents=True, exist_ok=True)
            scratch = Path(tempfile.mkdtemp(dir=target.parent, prefix=".adding-"))
            try:
                shutil.copytree(
                    bundle.folder, scratch / "bundle", ignore=lambda at, _: [SIGNATURE] if at == str(bundle.folder) else []
                )
                with contextlib.suppress(FileExistsError):
                    os.rename(scratch / "bundle", target)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
        (self.root / "signatures").mkdir(exist_ok=True)  # the image of the bundles copies it
        for _, signature in _signatures_in(bundle.folder, SIGNATURE):
            self.add_signature(bundle.digest, signature)
        pointer = self.root / "models" / bundle.manifest.name / f"{bundle.manifest.version}.json"
        _replace(pointer, json.dumps({"digest": bundle.digest}).encode() + b"\n")
        return bundle.digest

    def add_signature(self, digest: str, signature: bytes) -> Path:
        """Keep a signature of a bundle; one of the same key is replaced. It is not verified here. Raises UntrustedBundle if it is no
        signature."""
        path = self._signatures_folder(digest) / signature_name(signature)
        _replace(path, signature)
        return path

    def signatures_of(self, digest: str) -> list[tuple[str, bytes]]:
        """The signatures kept of a bundle: the name of each file, and its bytes. At most the first 16."""
        return _signatures_in(self._signatures_folder(digest), "*.sig")

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
        """Read and verify a bundle by its digest. Raises BundleError, UntrustedBundle."""
        return self.read_at(self.folder_of(digest), digest)

    def read_at(self, folder: Path, digest: str | None = None) -> Bundle:
        """Read and verify a bundle that stands anywhere, to what this store requires. Its signatures are those kept here, and
        `model.sig` in its folder. Raises BundleError, UntrustedBundle."""
        trusted = self._trusted
        if trusted is None:
            return read_bundle(folder, digest)

        def signed(actual: str) -> Mapping[str, str]:
            proof: Proof = trusted.prove(actual, [*self.signatures_of(actual), *_signatures_in(folder, SIGNATURE)])
            return proof.files

        return read_bundle(folder, digest, signed)

    def require_signature(self, digest: str) -> None:
        """Where this store requires signatures: is one kept here that a trusted key made? Raises UntrustedBundle."""
        if self._trusted is not None:
            self.prove(digest)

    def prove(self, digest: str) -> Proof:
        """The signature kept here that a trusted key made. Raises UntrustedBundle."""
        if self._trusted is None:
            raise UntrustedBundle(f"the store {self.root} trusts no keys")
        return self._trusted.prove(digest, self.signatures_of(digest))

    def _signatures_folder(self, digest: str) -> Path:
        return self.root / "signatures" / digest.removeprefix("sha256:")

    def next_version(self, name: str) -> str:
        """The version a new bundle of this name would get."""
        return str(max((int(v) for n, v, _ in self._pointers() if n == name), default=0) + 1)

    def _pointers(self) -> list[tuple[str, str, Path]]:
        """Name, version and file of every pointer, in the order of `entries`. A version is digits, as in a manifest."""
        found = [(p.parent.name, p.stem, p) for p in (self.root / "models").glob("*/*.json") if _VERSION.fullmatch(p.stem)]
        return sorted(found, key=lambda pointer: (pointer[0], int(pointer[1])))


def signature_name(signature: bytes) -> str:
    """The file name of a signature: by its key, so that each signer has one. Raises UntrustedBundle if it is no signature."""
    hint = read_envelope(signature).hint or ""
    return f"{hint if _HINT.fullmatch(hint) else hashlib.sha256(signature).hexdigest():.16}.sig"


def _signatures_in(folder: Path, pattern: str) -> list[tuple[str, bytes]]:
    found = sorted(p for p in folder.glob(pattern) if p.is_file() and not p.is_symlink() and p.stat().st_size <= LIMIT_BYTES)
    return [(path.name, path.read_bytes()) for path in found[:MOST_SIGNATURES]]


def _replace(path: Path, body: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    draft.write_bytes(body)
    draft.replace(path)


def _digest(pointer: Path) -> str:
    try:
        digest = str(json.loads(pointer.read_text(encoding="utf-8"))["digest"])
        if not _DIGEST.fullmatch(digest):
            raise ValueError(f"{digest!r:.80} is not a digest")
        return digest
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise BundleError(f"{pointer}: is not a version pointer ({problem}); remove it and add the bundle again") from problem


def open_store(settings: ServingSettings) -> BundleStore:
    """The store of this machine's data plane; where signatures are required, of bundles that a trusted key signed."""
    trusted = TrustedKeys(settings.trusted_keys_dir, lambda: datetime.now(UTC)) if settings.require_signed else None
    return BundleStore(settings.store_dir, trusted)
