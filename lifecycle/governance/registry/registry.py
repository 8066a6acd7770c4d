"""The registry of bundles: push, pull, stages, aliases and signatures, over a folder or an object store.

    bundles/HEX/...                a bundle's files; bundle.json is written last, so a bundle is complete or absent
    signatures/HEX/KEY.sig         its signatures, one of each signer
    models/NAME/history/N.json     what was done to this model's bundles (lifecycle.governance.registry.history)

No file is changed in place, except that a key's new signature replaces its old one. If two writers change a model at once, one of them
creates the next entry of its history and the other tries again. A change is recorded in the log of governed acts before it takes effect."""

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
from pydantic import ValidationError

from lifecycle.governance.acts import Act
from lifecycle.governance.registry.errors import Damaged, NoSuchBundle, Refused, RegistryError
from lifecycle.governance.registry.history import HistoryEntry, ModelHistory, RegisteredBundle, Stage, changes, decode
from lifecycle.governance.registry.object_store import ObjectStore
from lifecycle.governance.registry.references import BundleReference, find, parse_reference
from serving.models.bundle import MANIFEST, MANIFEST_LIMIT_BYTES, Bundle, check_paths, problems_in
from serving.models.errors import BundleError, UntrustedBundle
from serving.models.manifest import Manifest
from serving.models.signing.statement import LIMIT_BYTES
from serving.models.signing.trust import Proof, TrustedKeys
from serving.models.store import MOST_SIGNATURES, BundleStore, signature_name

_ATTEMPTS: Final = 50
CarryProgress = Callable[[str, int], None]
"""Called after each file that was transferred, with its path and its size in bytes."""


class RecordsActs(Protocol):
    """Records an act before it is carried out, as lifecycle.governance.acts.ActsLog does."""

    def record(self, act: Act) -> str:
        """Record the act durably; the note of the log's checkpoint. Raises OSError, NoteError: the caller must not act then."""
        ...


class Registry:
    """One registry.

    acts: records each act before anything changes. actor: who acts. now_us: the clock, microseconds since the epoch. trusted: if given,
    a bundle enters staging or production only with a signature by one of these keys."""

    def __init__(
        self,
        objects: ObjectStore,
        *,
        acts: RecordsActs,
        actor: str,
        now_us: Callable[[], int],
        trusted: TrustedKeys | None = None,
        progress: CarryProgress = lambda path, size: None,
    ) -> None:
        self.objects, self.actor = objects, actor
        self._acts, self._now_us, self._trusted, self._progress = acts, now_us, trusted, progress

    # What is there

    def names(self) -> list[str]:
        """The names of all models. Raises Unreachable."""
        return self.objects.folders("models")

    def history(self, name: str) -> ModelHistory:
        """What was done to a model's bundles; empty if the model is unknown. Raises Damaged, Unreachable."""
        files = self.objects.read_all(f"models/{name}/history")
        if list(files) != [_number(i) for i in range(1, len(files) + 1)]:
            raise Damaged(f"{self.objects.url}: the history of {name!r} has a gap: an entry was removed")
        return decode(name, list(files.values()))

    def bundles(self) -> list[RegisteredBundle]:
        """Every bundle, by model, and within a model in the order of the pushes. Raises Damaged, Unreachable."""
        return [bundle for name in self.names() for bundle in self.history(name).bundles.values()]

    def resolve(self, text: str) -> str:
        """The digest that a reference means. Raises RegistryError."""
        return self.find(text).digest

    def find(self, text: str) -> RegisteredBundle:
        """The bundle that a reference means. Raises RegistryError."""
        reference = parse_reference(text)
        if reference.kind == "digest":
            return self.history(self.manifest(reference.value).name).bundle(reference.value)
        return find(reference, self._known(reference))

    def manifest(self, digest: str) -> Manifest:
        """The bundle.json of a bundle. Raises NoSuchBundle, Damaged, Unreachable."""
        body = self._manifest_bytes(digest)
        try:
            manifest = Manifest.model_validate_json(body)
            check_paths(manifest)
        except (ValidationError, BundleError) as problem:
            words = problems_in(problem) if isinstance(problem, ValidationError) else problem
            raise Damaged(f"{self.objects.url}/{_folder(digest)}/{MANIFEST}: {words}") from problem
        return manifest

    def signatures(self, digest: str) -> list[tuple[str, bytes]]:
        """The signatures of a bundle, at most 16: (file name, bytes) each. Raises Unreachable."""
        folder = f"signatures/{_hex(digest)}"
        names = [n for n, size in self.objects.sizes(folder).items() if n.endswith(".sig") and size <= LIMIT_BYTES]
        return [(name, self.objects.read(f"{folder}/{name}")) for name in names[:MOST_SIGNATURES]]

    def prove(self, digest: str, trusted: TrustedKeys) -> Proof:
        """The proof that a trusted key signed the bundle. Raises UntrustedBundle, Unreachable."""
        return trusted.prove(digest, self.signatures(digest))

    # What is changed

    def push(
        self, bundle: Bundle, signatures: list[tuple[str, bytes]], reason: str, *, again: bool = False
    ) -> RegisteredBundle:
        """Store a verified bundle and its signatures. A second push changes nothing. again: write every file anew, to repair damaged
        ones.

        Raises Refused if its version names another bundle already, Unreachable."""
        manifest = bundle.manifest
        wanted = self._entry("push", bundle.digest, reason, version=manifest.version)
        changes(self.history(manifest.name), wanted)  # refused before a byte is carried
        self._upload(bundle, again=again)
        for _, body in signatures:
            self.objects.write(_signature(bundle.digest, signature_name(body)), body)
        evidence = {"signatures": [signature_name(body) for _, body in signatures], "files": len(manifest.files) + 1}
        after = self._change(manifest.name, wanted, evidence)
        self._upload(bundle, again=False)  # in case somebody removed it meanwhile
        return after.bundle(bundle.digest)

    def set_stage(self, text: str, stage: Stage, reason: str) -> RegisteredBundle:
        """Put a bundle into a stage. The bundle that held staging or production before is archived.

        Raises UntrustedBundle where signatures are required, NoSuchBundle, Unreachable."""
        bundle = self.find(text)
        wanted = self._entry("stage", bundle.digest, reason, stage=stage)
        history = self.history(bundle.name)
        before = history.in_stage(stage) if stage in ("staging", "production") else None
        evidence: dict[str, Any] = {"stage": stage, "from": bundle.stage, "replaces": before.digest if before else None}
        if self._trusted is not None and stage in ("staging", "production"):
            evidence["signed_by"] = self._proven(bundle, wanted, self._trusted).signer
        return self._change(bundle.name, wanted, evidence).bundle(bundle.digest)

    def set_alias(self, text: str, alias: str, reason: str) -> RegisteredBundle:
        """Point an alias to this bundle, away from any other. Raises Refused if the word cannot be an alias, NoSuchBundle, Unreachable."""
        bundle = self.find(text)
        before = self.history(bundle.name).aliased(alias)
        wanted = self._entry("alias", bundle.digest, reason, alias=alias)
        evidence = {"alias": alias, "replaces": before.digest if before else None}
        return self._change(bundle.name, wanted, evidence).bundle(bundle.digest)

    def drop_alias(self, name: str, alias: str, reason: str) -> RegisteredBundle:
        """Remove an alias from the model. Raises NoSuchBundle, Unreachable."""
        bundle = find(BundleReference(name, "alias", alias), self.history(name))
        wanted = self._entry("unalias", bundle.digest, reason, alias=alias)
        return self._change(name, wanted, {"alias": alias}).bundle(bundle.digest)

    def add_signature(self, digest: str, signature: bytes, reason: str, evidence: Mapping[str, Any]) -> str:
        """Store a signature and return its file name. Raises NoSuchBundle, UntrustedBundle if the bytes are not a signature,
        Unreachable."""
        self._manifest_bytes(digest)
        name = signature_name(signature)
        self.record_signature(digest, signature, reason, evidence)
        self.objects.write(_signature(digest, name), signature)
        return name

    def record_signature(self, digest: str, signature: bytes, reason: str, evidence: Mapping[str, Any]) -> None:
        """Record that somebody signs a bundle, wherever the signature is stored. Raises OSError, NoteError: do not store it then."""
        self._record("sign", digest, reason, {**evidence, "signature": hashlib.sha256(signature).hexdigest()})

    def record_exchange(self, action: str, digest: str, reason: str, evidence: Mapping[str, Any]) -> None:
        """Record that a bundle goes to or comes from another registry. Raises OSError, NoteError: do not transfer it then."""
        self._record(action, digest, reason, evidence)

    def remove(self, bundle: RegisteredBundle, reason: str, evidence: Mapping[str, Any]) -> None:
        """Remove a bundle and its signatures for ever. Raises Refused if it is in use, Unreachable."""
        self._change(bundle.name, self._entry("remove", bundle.digest, reason), evidence)
        self.remove_files(bundle.digest)

    def remove_files(self, digest: str) -> None:
        """Remove all files of a digest, bundle.json first: without it the bundle is absent. Raises Unreachable."""
        folders = (_folder(digest), f"signatures/{_hex(digest)}")
        self.objects.remove(f"{_folder(digest)}/{MANIFEST}")
        for folder in folders:
            for path in self.objects.sizes(folder):
                self.objects.remove(f"{folder}/{path}")
            self.objects.remove_empty(folder)

    def strays(self) -> list[str]:
        """Digests that have files and no history: pushes that were interrupted. Raises Damaged, Unreachable."""
        known = {bundle.digest for bundle in self.bundles()}
        return [digest for name in self.objects.folders("bundles") if (digest := f"sha256:{name}") not in known]

    def age_us(self, digest: str) -> int:
        """How long ago the newest file of a bundle was written, in microseconds. Raises Unreachable."""
        files = self.objects.sizes(_folder(digest))
        newest = max((self.objects.modified(f"{_folder(digest)}/{path}").timestamp() for path in files), default=0.0)
        return self._now_us() - int(newest * 1e6)

    def remove_stray(self, digest: str, reason: str) -> None:
        """Remove the files of a digest that has no history. Raises Unreachable."""
        self._record("remove", digest, reason, {"stray": True})
        self.remove_files(digest)

    # What is carried

    def pull(self, text: str, store: BundleStore) -> Bundle:
        """Copy a bundle and its signatures into a store of this machine, verified. A second pull changes nothing.

        Raises RegistryError; BundleError if the files do not match the digest; UntrustedBundle if the store requires a signature and
        there is none: only the signatures were copied then."""
        reference = parse_reference(text)
        digest = reference.value if reference.kind == "digest" else self.resolve(text)
        for _, body in self.signatures(digest):
            store.add_signature(digest, body)
        if store.folder_of(digest).is_dir():
            bundle = store.read(digest)
            store.add(bundle)  # its name and version may not be known yet
            return bundle
        store.root.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=store.root, prefix=".pulling-"))
        try:
            self._download(digest, scratch / "bundle", store)
            store.add(store.read_at(scratch / "bundle", digest))
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return store.read(digest)

    def _download(self, digest: str, folder: Path, store: BundleStore) -> None:
        body = self._manifest_bytes(digest)
        store.require_signature(digest)  # before anything of it is parsed
        folder.mkdir()
        (folder / MANIFEST).write_bytes(body)
        for name in self.manifest(digest).files:
            try:
                self.objects.download(f"{_folder(digest)}/{name}", folder / name)
            except FileNotFoundError as problem:
                raise Damaged(
                    f"{self.objects.url}/{_folder(digest)}/{name}: is missing; push the bundle again from a complete copy"
                ) from problem
            self._progress(name, (folder / name).stat().st_size)

    def _upload(self, bundle: Bundle, *, again: bool) -> None:
        """Upload every file that is missing or has another size; bundle.json last."""
        folder = _folder(bundle.digest)
        there = {} if again else self.objects.sizes(folder)
        for name in (*bundle.manifest.files, MANIFEST):
            path = bundle.folder / name
            if there.get(name) != path.stat().st_size:
                self.objects.upload(f"{folder}/{name}", path)
                self._progress(name, path.stat().st_size)

    def _known(self, reference: BundleReference) -> ModelHistory:
        history = self.history(reference.name)
        if not history.entries:
            raise NoSuchBundle(
                f"the registry {self.objects.url} has no model {reference.name!r}; it has {', '.join(self.names()) or 'none'}"
            )
        return history

    def _manifest_bytes(self, digest: str) -> bytes:
        path = f"{_folder(digest)}/{MANIFEST}"
        try:
            body = self.objects.read(path, MANIFEST_LIMIT_BYTES)
        except FileNotFoundError as problem:
            raise NoSuchBundle(f"the registry {self.objects.url} has no bundle {digest}; push it first") from problem
        if f"sha256:{hashlib.sha256(body).hexdigest()}" != digest:
            raise Damaged(f"{self.objects.url}/{path}: does not match its digest; push the bundle again with --again")
        return body

    def _proven(self, bundle: RegisteredBundle, wanted: HistoryEntry, trusted: TrustedKeys) -> Proof:
        try:
            return self.prove(bundle.digest, trusted)
        except UntrustedBundle as problem:
            self._record(wanted.action, bundle.digest, wanted.reason, {"why": str(problem), "stage": wanted.stage}, "refused")
            raise

    def _entry(self, action: Any, digest: str, reason: str, **fields: Any) -> HistoryEntry:
        return HistoryEntry(time_us=self._now_us(), actor=self.actor, action=action, digest=digest, reason=reason, **fields)

    def _record(self, action: str, digest: str, reason: str, evidence: Mapping[str, Any], outcome: str = "accepted") -> str:
        act = Act(
            time_us=self._now_us(),
            actor=self.actor,
            action=f"registry.{action}",
            subject=f"bundle/{digest}",
            reason=reason,
            evidence={"registry": self.objects.url, **evidence},
            outcome=outcome,
        )
        return self._acts.record(act)

    def _change(self, name: str, wanted: HistoryEntry, evidence: Mapping[str, Any]) -> ModelHistory:
        """Record a change, then append it to the model's history. An entry that changes nothing is not made."""
        checkpoint = ""
        for _ in range(_ATTEMPTS):
            history = self.history(name)
            try:
                if not changes(history, wanted):
                    return history
            except Refused as problem:
                self._record(wanted.action, wanted.digest, wanted.reason, {**evidence, "why": str(problem)}, "refused")
                raise
            checkpoint = checkpoint or self._record(wanted.action, wanted.digest, wanted.reason, {"model": name, **evidence})
            entry = msgspec.structs.replace(wanted, previous=history.head, checkpoint=checkpoint)
            body = msgspec.json.encode(entry)
            if self.objects.create(f"models/{name}/history/{_number(len(history.entries) + 1)}", body):
                return history.with_entry(entry, body)
        raise RegistryError(
            f"{name}: other writers change it at the same time; nothing was changed in {_ATTEMPTS} attempts, try again"
        )


def _number(number: int) -> str:
    return f"{number:09d}.json"


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")


def _folder(digest: str) -> str:
    return f"bundles/{_hex(digest)}"


def _signature(digest: str, name: str) -> str:
    return f"signatures/{_hex(digest)}/{name}"
