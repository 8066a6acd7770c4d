"""Weights & Biases as a ModelExchange, off line. The one user of wandb.

A bundle becomes an artifact of type `model` in an offline run under a folder; `wandb sync FOLDER/wandb/offline-run-*` sends it to a
server when there is one. The run's file has the artifact's names, metadata and list of files. The files themselves stand in the
folder's `staging` until they are sent, so a bundle can be taken back from the folder, and from a server by wandb's own means."""

import json
import os
import re
import shutil
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import wandb
from wandb.proto import wandb_internal_pb2

from lifecycle.governance.registry.errors import Damaged, NoSuchBundle
from lifecycle.governance.registry.exchange.port import (
    FILES,
    SIGNATURES,
    ExchangedBundle,
    figures_of,
    origin_of,
    reported,
    tags_of,
)
from lifecycle.governance.registry.history import HELD, RegisteredBundle
from lifecycle.governance.registry.references import BundleReference
from serving.models.bundle import Bundle

PROJECT: Final = "vedette"
_HEADER_BYTES: Final = 7
_BLOCK_BYTES: Final = 32768
_RECORD: Final = struct.Struct("<IHB")
_PLACES: Final = {"DATA": "staging", "CACHE": "cache", "CONFIG": "config"}
_NAME: Final = re.compile(r"[^A-Za-z0-9_.-]")


class WandbExchange:
    """A ModelExchange over a folder of offline runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()

    def send(self, bundle: Bundle, known: RegisteredBundle, signatures: list[tuple[str, bytes]]) -> str:
        """Write an offline run with the bundle as its artifact. Raises RegistryError."""
        manifest = bundle.manifest
        aliases = sorted({f"v-{manifest.version}", *known.aliases, *([known.stage] if known.stage in HELD else [])})
        metadata = {**tags_of(bundle, known, signatures), "vedette.name": manifest.name}
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._everything_here(), reported(str(self.folder), wandb.Error):
            quiet = wandb.Settings(
                silent=True, console="off", x_disable_stats=True, x_disable_meta=True, disable_git=True, save_code=False
            )
            run = wandb.init(
                mode="offline",
                dir=str(self.folder),
                project=PROJECT,
                job_type="register",
                name=f"{manifest.name}-{manifest.version}",
                config=origin_of(manifest),
                settings=quiet,
            )
            artifact = wandb.Artifact(_NAME.sub("-", manifest.name), "model", manifest.description or None, metadata)
            for path in (*manifest.files, "bundle.json"):
                artifact.add_file(str(bundle.folder / path), f"{FILES}/{path}")
            for name, body in signatures:
                with artifact.new_file(f"{SIGNATURES}/{name if name.endswith('.sig') else name + '.sig'}", "wb") as file:
                    file.write(body)
            run.summary.update(figures_of(manifest))
            run.log_artifact(artifact, aliases=aliases)
            where = Path(run.dir).parent
            run.finish()
        return str(where)

    def fetch(self, reference: BundleReference, folder: Path) -> ExchangedBundle:
        """Copy the newest artifact that the reference means into a folder. Raises NoSuchBundle, Damaged."""
        superseded: set[str] = set()  # digests whose newest metadata was seen: older runs do not count
        for path in sorted(self.folder.rglob("*.wandb"), key=lambda p: (p.stat().st_mtime_ns, p.name), reverse=True):
            for artifact in artifacts_in(path):
                metadata = _metadata(artifact)
                if metadata is None or metadata["vedette.digest"] in superseded:
                    continue
                if _is_meant(reference, metadata, artifact.aliases):
                    return self._taken(artifact, metadata, path, folder)
                superseded.add(metadata["vedette.digest"])
        raise NoSuchBundle(
            f"{self.folder}: no offline run with {reference.name} {reference.kind} {reference.value}; a bundle that was sent to a server "
            "comes back by `wandb artifact get`, and then `vedette registry push FOLDER`"
        )

    def _taken(self, artifact: Any, metadata: dict[str, str], run: Path, folder: Path) -> ExchangedBundle:
        for entry in artifact.manifest.contents:
            target = folder / entry.path
            if not target.resolve().is_relative_to(folder.resolve()):
                raise Damaged(f"{run}: the artifact names {entry.path!r}, which is outside of it")
            source = Path(entry.local_path)
            here = self.folder / "staging" / "artifacts" / "staging" / source.name  # where the folder was moved
            source = here if here.is_file() else source
            if not source.is_file():
                raise Damaged(
                    f"{run}: {entry.path} is no longer in staging: the run was sent to its server; `wandb artifact get` brings it back"
                )
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        signatures = tuple((p.name, p.read_bytes()) for p in sorted((folder / SIGNATURES).glob("*.sig")))
        aliases = tuple(sorted(a for a in artifact.aliases if a not in (*HELD, "latest", f"v-{metadata['vedette.version']}")))
        return ExchangedBundle(
            folder / FILES,
            signatures,
            metadata["vedette.digest"],
            metadata.get("vedette.stage", "none"),
            aliases,
            str(run.parent),
        )

    @contextmanager
    def _everything_here(self) -> Iterator[None]:
        """Make wandb keep staged files, caches and settings in this folder; otherwise it writes them to the home folder."""
        told = {f"WANDB_{name}_DIR": str(self.folder / place) for name, place in _PLACES.items()}
        told |= {"WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false"}
        before = {name: os.environ.get(name) for name in told}
        os.environ.update(told)
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name)
                if value is not None:
                    os.environ[name] = value


def artifacts_in(path: Path) -> Iterator[Any]:
    """The artifacts that a run's file names. Reading stops at the first part that cannot be read: a killed run leaves a torn end."""
    for body in _records(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        try:
            record.ParseFromString(body)
        except Exception:  # protobuf's error has another name in each of its implementations
            return
        if record.WhichOneof("record_type") == "artifact":
            yield record.artifact


def _records(data: bytes) -> Iterator[bytes]:
    """LevelDB's log format: blocks of 32 KiB, records in parts (1 whole, 2 first, 3 middle, 4 last) that never cross a block."""
    at, whole = _HEADER_BYTES, b""
    while at + _RECORD.size <= len(data):
        left = _BLOCK_BYTES - at % _BLOCK_BYTES
        if left < _RECORD.size:
            at += left
            continue
        _, size, kind = _RECORD.unpack_from(data, at)
        if kind not in (1, 2, 3, 4):
            return
        part = data[at + _RECORD.size : at + _RECORD.size + size]
        at += _RECORD.size + size
        whole = part if kind in (1, 2) else whole + part
        if kind in (1, 4):
            yield whole


def _metadata(artifact: Any) -> dict[str, str] | None:
    """The metadata that Vedette wrote for the artifact; None if the artifact is not Vedette's."""
    try:
        metadata = json.loads(artifact.metadata or "{}")
    except (ValueError, RecursionError):
        return None
    needed = ("vedette.name", "vedette.version", "vedette.digest")
    is_ours = artifact.type == "model" and isinstance(metadata, dict) and all(isinstance(metadata.get(n), str) for n in needed)
    return metadata if is_ours else None


def _is_meant(reference: BundleReference, metadata: dict[str, str], aliases: Any) -> bool:
    if reference.kind == "digest":
        return metadata["vedette.digest"] == reference.value
    if metadata["vedette.name"] != reference.name:
        return False
    if reference.kind == "version":
        return metadata["vedette.version"] == reference.value
    return reference.kind == "newest" or reference.value in aliases
