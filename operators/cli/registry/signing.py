"""`vedette registry sign | verify | key`: signatures of bundles in the form of OpenSSF's model signing."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from operators.cli.console import CommandError, Json, errors, page, print_json
from operators.cli.registry.carry import local_bundle
from operators.cli.registry.options import AnyBundle, Because, Place, RegistryUrl, StoreDir, place

if TYPE_CHECKING:
    from lifecycle.governance.registry.registry import Registry
    from serving.models.bundle import Bundle
    from serving.settings import ServingSettings

key_app = typer.Typer(no_args_is_help=True, help="Keys that sign bundles.")


def sign(
    bundle: AnyBundle,
    key: Annotated[Path, typer.Option(help="Private key, PEM: Ed25519, or ECDSA on P-256, P-384, P-521.")],
    why: Because = "",
    registry: RegistryUrl = None,
    store_dir: StoreDir = None,
    as_json: Json = False,
) -> None:
    """Verify a bundle, then sign it. The signature is stored with the bundle: in the folder (model.sig), store or registry."""
    from serving.models.bundle import files_of
    from serving.models.signing.keys import SigningKey
    from serving.models.signing.statement import sign as sign_files

    at, signer = place(store_dir, registry), SigningKey.from_file(key)
    opened = at.registry()
    found, is_registered = _bundle(at, opened, bundle)
    manifest = found.manifest
    body = sign_files(f"{manifest.name}/{manifest.version}", files_of(manifest, found.digest), signer)
    where = []
    if is_registered:
        opened.add_signature(found.digest, body, why, {"key": signer.public.hint})
        where.append(at.settings.registry_url)
    else:
        opened.record_signature(found.digest, body, why, {"key": signer.public.hint})
    if found.folder == at.store.folder_of(found.digest):
        where.append(str(at.store.add_signature(found.digest, body)))
    else:
        (found.folder / "model.sig").write_bytes(body)
        where.append(str(found.folder / "model.sig"))
    if as_json:
        print_json({"digest": found.digest, "key": signer.public.hint, "signature": where})
        return
    page().print(f"signed {found.digest}\nkey    {signer.public.hint}", soft_wrap=True, markup=False)
    errors.print(f"in {', '.join(where)}", markup=False, soft_wrap=True)


def sign_trained(bundle: "Bundle", settings: "ServingSettings") -> None:
    """Sign what was trained here with VEDETTE_BUNDLE_KEY, once, on record; without a key say what to run where signatures are required.

    Raises BundleKeyError."""
    from operators.cli.acts import record_act
    from serving.models.bundle import files_of
    from serving.models.signing.keys import SigningKey
    from serving.models.signing.statement import sign as sign_files
    from serving.models.store import BundleStore, signature_name

    name, version, store = bundle.manifest.name, bundle.manifest.version, BundleStore(settings.store_dir)
    if settings.bundle_key is None:
        if settings.require_signed and not store.signatures_of(bundle.digest):
            errors.print(
                f"{name}/{version} is not signed, and only signed bundles are served (VEDETTE_REQUIRE_SIGNED): run vedette registry sign "
                f"{name}/{version} --key KEY, or set VEDETTE_BUNDLE_KEY to the key that signs what is trained here",
                markup=False,
                soft_wrap=True,
            )
        return
    signer = SigningKey.from_file(settings.bundle_key)
    body = sign_files(f"{name}/{version}", files_of(bundle.manifest, bundle.digest), signer)
    if signature_name(body) in {known for known, _ in store.signatures_of(bundle.digest)}:
        return
    record_act(settings, "registry.sign", f"bundle/{bundle.digest}", "trained here", {"key": signer.public.hint})
    store.add_signature(bundle.digest, body)
    errors.print(f"signed {name}/{version} with {settings.bundle_key}", markup=False, soft_wrap=True)


def verify(bundle: AnyBundle, registry: RegistryUrl = None, store_dir: StoreDir = None, as_json: Json = False) -> None:
    """Verify that a trusted key signed a bundle and that no file was changed since. Exit code 1 if not."""
    from tempfile import TemporaryDirectory

    from serving.models.store import BundleStore

    at = place(store_dir, registry)
    with TemporaryDirectory(prefix="vedette-") as scratch:
        strict = BundleStore(Path(scratch), at.trusted)
        opened = at.registry()
        if _is_registered(opened, bundle):
            found = opened.pull(bundle, strict)
        else:
            here, signatures = local_bundle(at, bundle)
            for _, body in signatures:
                strict.add_signature(here.digest, body)
            found = strict.read_at(here.folder, here.digest)
        signer = strict.prove(found.digest).signer
    files = len(found.manifest.files) + 1
    if as_json:
        print_json({"digest": found.digest, "signed_by": signer, "files": files, "is_valid": True})
    else:
        page().print(f"{found.digest}\nsigned by {signer}; {files} files are what was signed", soft_wrap=True, markup=False)


@key_app.command()
def new(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="The private key, e.g. ada.pem; ada.pub beside it is public.")],
    as_json: Json = False,
) -> None:
    """Make an Ed25519 key that signs bundles. To trust it, put FILE.pub into the folder of trusted keys."""
    from serving.models.signing.keys import SigningKey

    try:
        key = SigningKey.create(path)
    except FileExistsError as problem:
        raise CommandError(
            f"{problem.filename}: exists already, and a key is never overwritten; give the new key another name"
        ) from problem
    if as_json:
        print_json({"private": path, "public": path.with_suffix(".pub"), "key": key.public.hint})
    else:
        page().print(
            f"private {path}\npublic  {path.with_suffix('.pub')}\nkey     {key.public.hint}", soft_wrap=True, markup=False
        )


def _bundle(at: Place, opened: "Registry", which: str) -> "tuple[Bundle, bool]":
    """The bundle, verified, and whether the registry has it."""
    if _is_registered(opened, which):
        return opened.pull(which, at.store), True
    return local_bundle(at, which)[0], False


def _is_registered(opened: "Registry", which: str) -> bool:
    from lifecycle.governance.registry.errors import NoSuchBundle

    if (Path(which) / "bundle.json").is_file() or which.startswith((".", "/")):
        return False
    try:
        opened.find(which)
    except NoSuchBundle:
        return False
    return True
