"""Finds in the store which revision a record names, and loads it to answer again."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from serving.audit.record import AuditRecord
from serving.loading.kept_revisions import kept_revision, revision_file
from serving.loading.loaded_bundle import LoadedBundle, build_revision, load_bundle
from serving.loading.served_file import ServedFile
from serving.models.errors import ModelError
from serving.models.store import BundleStore
from serving.scoring.loaded_revision import LoadedRevision
from serving.spec import RevisionSpec


@dataclass(frozen=True, slots=True)
class Unexplained:
    """A revision that the store does not know or cannot load. reason: why, and the way out."""

    reason: str


class RevisionBook:
    """The revisions of one store, each loaded once. threads: of each model session, as many as the replicas use."""

    def __init__(self, store: Path, threads: int = 1) -> None:
        self._store, self._threads = BundleStore(store), threads
        self._bundles: dict[str, LoadedBundle] = {}
        self._known: dict[str, LoadedRevision | Unexplained] = {}

    def revision(self, record: AuditRecord) -> LoadedRevision | Unexplained:
        """The loaded revision that answered a record, or why it is not available."""
        found = self._known.get(record.revision)
        if found is None:
            found = self._known[record.revision] = self._load(record)
        return found

    def _load(self, record: AuditRecord) -> LoadedRevision | Unexplained:
        spec = self._spec(record)
        if spec is None:
            return Unexplained(
                f"revision {record.revision} of {record.model}/{record.version} is not explained: there is no "
                f"{revision_file(self._store.root, record.revision)}, and no bundle of that name and version in {self._store.root} "
                "gives this revision without its own thresholds; copy `revisions/` and `bundles/` from the store that served it"
            )
        try:
            bundle = self._bundles.get(spec.bundle)
            if bundle is None:
                bundle = self._bundles[spec.bundle] = load_bundle(self._store.read(spec.bundle), threads=self._threads)
            return build_revision(bundle, spec)
        except ModelError as problem:
            return Unexplained(f"bundle {spec.bundle} of {record.model}/{record.version} cannot be loaded: {problem}")

    def _spec(self, record: AuditRecord) -> RevisionSpec | None:
        kept = kept_revision(self._store.root, record.revision)
        if kept is not None:
            return kept
        return next((spec for spec in self._candidates(record) if spec.digest == record.revision), None)

    def _candidates(self, record: AuditRecord) -> Iterator[RevisionSpec]:
        """Revisions that may have been served under this name: those served now, and the store's bundles as they are."""
        try:
            served = ServedFile(self._store.root).read()
        except ModelError:
            served = None
        for model in served.models if served is not None else ():
            yield model.revision
            yield from (variant.revision for variant in model.variants)
        for entry in self._store.entries():
            if (entry.name, entry.version) == (record.model, record.version):
                yield RevisionSpec(bundle=entry.digest)
                yield RevisionSpec(bundle=entry.digest, operating_point=record.operating_point)
