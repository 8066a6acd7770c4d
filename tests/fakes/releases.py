"""What serves, in memory, over a real store of bundles: a rollout is asked for and stands until somebody settles it."""

from pathlib import Path

from lifecycle.retraining.signals import Champion
from serving.models.bundle import read_bundle
from serving.models.store import BundleStore
from serving.spec import RevisionSpec


class MemoryReleases:
    def __init__(self, store: BundleStore, digest: str | None):
        self.store, self.under_way, self.asked = store, None, []
        self.serving = None if digest is None else self._champion(digest)

    def _champion(self, digest: str) -> Champion:
        manifest = self.store.read(digest).manifest
        return Champion(manifest.version, digest, RevisionSpec(bundle=digest).digest)

    def champion(self, model):
        return self.serving

    def busy(self, model):
        return None if self.under_way is None else f"a rollout to version {self.under_way.manifest.version} is under way"

    def bundle(self, digest):
        return self.store.read(digest)

    def next_version(self, model):
        return self.store.next_version(model)

    def publish(self, folder: Path):
        return self.store.read(self.store.add(read_bundle(folder)))

    def start(self, model, bundle, operating_point, steps, why):
        if self.under_way is None or self.under_way.digest != bundle.digest:
            self.under_way = bundle
            self.asked.append((bundle.digest, steps, why))
        return RevisionSpec(bundle=bundle.digest, operating_point=operating_point).digest

    def promote(self):
        """The rollout under way ends well."""
        self.serving, self.under_way = self._champion(self.under_way.digest), None

    def abort(self):
        """The rollout under way is aborted."""
        self.under_way = None
