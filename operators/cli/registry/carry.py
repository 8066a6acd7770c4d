"""`vedette registry push | pull`: bundles between this machine's store and the registry."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from operators.cli.console import Json, errors, page, print_json, progress
from operators.cli.registry.options import Because, Place, ReferenceArgument, RegistryUrl, StoreDir, place, say

if TYPE_CHECKING:
    from lifecycle.governance.registry.registry import Registry
    from serving.models.bundle import Bundle


def push(
    bundle: Annotated[
        str, typer.Argument(metavar="BUNDLE", help="A model of the store (NAME, the newest, or NAME/VERSION), or a folder.")
    ],
    why: Because = "",
    again: Annotated[bool, typer.Option("--again", help="Write every file again, to repair damaged files.")] = False,
    registry: RegistryUrl = None,
    store_dir: StoreDir = None,
    as_json: Json = False,
) -> None:
    """Put a bundle and its signatures into the registry. It is safe to repeat."""
    at = place(store_dir, registry)
    found, signatures = local_bundle(at, bundle)
    with _carrying(at, f"pushing {found.manifest.name} {found.manifest.version}") as open_registry:
        after = open_registry.push(found, signatures, why, again=again)
    say(after, as_json=as_json)


def pull(reference: ReferenceArgument, registry: RegistryUrl = None, store_dir: StoreDir = None, as_json: Json = False) -> None:
    """Copy a bundle and its signatures into this machine's store, and verify its digest. A refused bundle is recorded as an act."""
    from lifecycle.governance.registry.references import parse_reference
    from operators.cli.acts import refusals_recorded
    from serving.models.store import open_store

    at = place(store_dir, registry)
    with _carrying(at, f"pulling {reference}") as open_registry:
        meant = parse_reference(reference)
        digest = meant.value if meant.kind == "digest" else open_registry.resolve(reference)
        with refusals_recorded(at.settings, "bundle.pull", f"bundle/{digest}"):
            bundle = open_registry.pull(digest, open_store(at.settings))
    manifest = bundle.manifest
    if as_json:
        print_json({"name": manifest.name, "version": manifest.version, "digest": bundle.digest, "folder": bundle.folder})
        return
    page().print(f"{manifest.name} {manifest.version}\n{bundle.digest}", soft_wrap=True, markup=False)
    errors.print(f"in {bundle.folder}", markup=False, soft_wrap=True)


def local_bundle(at: Place, which: str) -> "tuple[Bundle, list[tuple[str, bytes]]]":
    """A bundle of this machine, verified, and its signatures: a folder, or a model of the store. Raises ModelError."""
    from serving.models.bundle import SIGNATURE, read_bundle

    if (Path(which) / "bundle.json").is_file() or which.startswith((".", "/")):
        found, beside = read_bundle(Path(which)), Path(which) / SIGNATURE
        own = [(SIGNATURE, beside.read_bytes())] if beside.is_file() else []
        return found, [*own, *at.store.signatures_of(found.digest)]
    if which.startswith("sha256:"):
        found = at.store.read(which)
    else:
        name, _, version = which.partition("/")
        found = at.store.resolve(name, version or None)
    return found, at.store.signatures_of(found.digest)


@contextmanager
def _carrying(at: Place, what: str) -> "Iterator[Registry]":
    with progress() as display:
        task = display.add_task(what, total=None)

        def carried(path: str, size: int) -> None:
            display.update(task, advance=1, description=f"{what}: {path}")

        yield at.registry(carried)
