"""The releases of a model, for retraining: reads from the control plane which revision serves, puts a challenger into the store and
requests a rollout, as `vedette rollout start` does. It changes nothing that serves."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from operators.cli.console import CommandError

if TYPE_CHECKING:
    from lifecycle.retraining.signals import Champion
    from operators.control.port import Control, Record, ServiceDocument
    from serving.models.bundle import Bundle
    from serving.models.store import BundleStore
    from serving.settings import ServingSettings


@dataclass(frozen=True, slots=True)
class ControlReleases:
    """Port Releases over a control plane and the store of this machine. service: the name of the service that serves the model.

    beside: folder against which a policy's file with steps is resolved."""

    control: "Control"
    settings: "ServingSettings"
    service: str
    beside: Path = Path()

    def champion(self, model: str) -> "Champion | None":
        """Stable, as the last look of the loop or the operator left it."""
        from lifecycle.retraining.signals import Champion

        record = self._record()
        stable = None if record is None else record.status.stable
        if stable is None:
            return None
        point = stable.operating_point or self.bundle(stable.bundle).manifest.default_operating_point
        override = None if point is None else stable.thresholds.get(point)
        return Champion(stable.version, stable.bundle, stable.digest, stable.operating_point, override)

    def busy(self, model: str) -> str | None:
        """A rollout or experiment, or a revision that was asked for and is not looked at yet."""
        record = self._record()
        if record is None:
            return None
        status, wanted = record.status, record.service.spec.revision
        if status.candidate is not None:
            return f"a rollout to version {status.candidate.version} is under way"
        if status.experiment is not None:
            return "an experiment is under way"
        if wanted is not None and wanted.digest not in (status.seen, None if status.stable is None else status.stable.digest):
            return f"a rollout to version {wanted.version} was asked for and has not begun"
        return None

    def bundle(self, digest: str) -> "Bundle":
        """A bundle of this machine's store. Raises ModelError."""
        return self._store().read(digest)

    def next_version(self, model: str) -> str:
        """The version that the store gives next."""
        return self._store().next_version(model)

    def publish(self, folder: Path) -> "Bundle":
        """Put it into the store, and sign it where the settings have a key."""
        from operators.cli.registry.signing import sign_trained
        from serving.models.bundle import read_bundle

        store = self._store()
        bundle = store.read(store.add(read_bundle(folder)))
        sign_trained(bundle, self.settings)
        return bundle

    def start(self, model: str, bundle: "Bundle", operating_point: str | None, steps: str | None, why: str) -> str:
        """Ask for the revision; nothing changes where it was asked for already. Raises CommandError, ControlError."""
        from operators.cli.rollout.start import rollout_steps, started
        from operators.rollout.spec import Revision

        revision: dict[str, Any] = {"version": bundle.manifest.version, "bundle": bundle.digest}
        if operating_point is not None:
            revision["operatingPoint"] = operating_point
        before = self._record()
        stable = None if before is None else before.status.stable
        if stable is not None and stable.suppressions:  # they are about events, not about the model
            revision["suppressions"] = [entry.model_dump(mode="json", by_alias=True) for entry in stable.suppressions]
        if (
            stable is not None and stable.triage is not None and bundle.manifest.triage is not None
        ):  # a bound is of its own model
            revision["triage"] = {"auditShare": stable.triage.audit_share}
        wanted = Revision.model_validate(revision)
        chosen = None if steps is None else rollout_steps(self._place_of(steps))

        def edit(before: "ServiceDocument | None") -> "ServiceDocument":
            if before is None:  # a first revision is served at once, without steps: people start that
                raise CommandError(f"service {self.service!r} does not exist; `vedette rollout start {self.service}` makes one")
            return started(before, self.service, revision, chosen, self.control.who(), why)

        record = self._record()
        asked = None if record is None or record.service.spec.revision is None else record.service.spec.revision.digest
        if asked != wanted.digest:
            self.control.change(self.service, edit)
        return wanted.digest

    def _place_of(self, steps: str) -> str:
        """A file is looked for beside the policy that names it; any other text is the name of a RolloutPolicy."""
        is_file = Path(steps).suffix.lower() in (".yaml", ".yml")
        return str(self.beside / steps) if is_file else steps

    def _record(self) -> "Record | None":
        from operators.control.port import NoSuchService

        try:
            return self.control.read(self.service)
        except NoSuchService:
            return None

    def _store(self) -> "BundleStore":
        from serving.models.store import BundleStore

        return BundleStore(self.settings.store_dir)
