"""The port for other registries: what they must do, and how a bundle is described there.

What another registry says is not trusted. A bundle that comes back is verified by its digest."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from lifecycle.governance.registry.errors import RegistryError
from lifecycle.governance.registry.history import RegisteredBundle
from lifecycle.governance.registry.references import BundleReference
from serving.models.bundle import Bundle
from serving.models.manifest import Manifest

FILES: Final = "bundle"
"""Folder of a bundle's files there."""
SIGNATURES: Final = "signatures"
"""Folder of its signatures there."""


@dataclass(frozen=True, slots=True)
class ExchangedBundle:
    """A bundle that came from another registry: its files, not verified yet, and what that registry says of it. where: its place there,
    in words."""

    folder: Path
    signatures: tuple[tuple[str, bytes], ...]
    digest: str
    stage: str = "none"
    aliases: tuple[str, ...] = ()
    where: str = ""


class ModelExchange(Protocol):
    """Another registry of models."""

    def send(self, bundle: Bundle, known: RegisteredBundle, signatures: list[tuple[str, bytes]]) -> str:
        """Store a bundle there with its stage and aliases; its place there, in words. A second send adds nothing if the other registry
        can tell that it has the bundle. Raises RegistryError."""
        ...

    def fetch(self, reference: BundleReference, folder: Path) -> ExchangedBundle:
        """Download a bundle's files into a folder. Raises NoSuchBundle, RegistryError."""
        ...


def tags_of(bundle: Bundle, known: RegisteredBundle, signatures: list[tuple[str, bytes]]) -> dict[str, str]:
    """The tags that describe a bundle in another registry: name -> value."""
    return {
        "vedette.digest": bundle.digest,
        "vedette.version": bundle.manifest.version,
        "vedette.stage": known.stage,
        "vedette.by": known.by,
        "vedette.reason": known.reason,
        "vedette.signed_by": ",".join(name.removesuffix(".sig") for name, _ in signatures),
    }


def origin_of(manifest: Manifest) -> dict[str, Any]:
    """Where the model comes from: flat names and plain values. Empty if the bundle does not say."""
    lineage = manifest.lineage
    if lineage is None:
        return {}
    facts = {"data_digest": lineage.data_digest, "code_commit": lineage.code_commit, "seed": lineage.seed, **lineage.parameters}
    return {name: value for name, value in facts.items() if value is not None}


def figures_of(manifest: Manifest) -> dict[str, float]:
    """The numbers that training measured, under flat names such as `validation.recall`."""
    found: dict[str, float] = {}

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for name, inner in value.items():
                walk(f"{prefix}.{name}" if prefix else str(name), inner)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[prefix] = float(value)

    walk("", dict(manifest.lineage.metrics) if manifest.lineage else {})
    return found


@contextmanager
def reported(where: str, errors: type[Exception]) -> Iterator[None]:
    """Turn the other registry's errors into RegistryError, which names its address."""
    try:
        yield
    except errors as problem:
        raise RegistryError(f"{where}: {' '.join(str(problem).split())[:500]}") from problem
