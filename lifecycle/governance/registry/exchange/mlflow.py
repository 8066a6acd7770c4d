"""MLflow's model registry as a ModelExchange. The one user of mlflow; its light client (mlflow-skinny) is enough.

    registered model NAME   the bundle's name
    model version N         numbered by MLflow; our version, digest, stage, who and why are tags `vedette.*`
    alias production        the stage, for staging and production; every alias of ours beside it
    artifacts bundle/       the bundle's files; signatures/ its signatures
    run                     lineage as parameters, figures of the training as metrics

MLflow's own stages are deprecated and left alone."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read at the import
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from lifecycle.governance.registry.errors import NoSuchBundle
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

EXPERIMENT: Final = "vedette"
_LONGEST: Final = 5000
"""Characters of a parameter or tag that MLflow takes."""


class MlflowExchange:
    """A ModelExchange over an MLflow tracking server, or any address that MLflow accepts."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._client = MlflowClient(uri, uri)

    def send(self, bundle: Bundle, known: RegisteredBundle, signatures: list[tuple[str, bytes]]) -> str:
        """Make a model version of this bundle, or update the one that exists. Raises RegistryError."""
        name, tags = bundle.manifest.name, tags_of(bundle, known, signatures)
        with reported(self.uri, MlflowException):
            version = self._version_of(name, {"vedette.digest": bundle.digest})
            if version is None:
                version = self._made(bundle, tags)
            for tag, value in tags.items():
                self._client.set_model_version_tag(name, version.version, tag, value[:_LONGEST])
            self._send_signatures(version.run_id, signatures)
            self._name(name, version.version, known)
        return f"{self.uri}: {name} version {version.version}"

    def fetch(self, reference: BundleReference, folder: Path) -> ExchangedBundle:
        """Download a bundle's files into a folder. Raises NoSuchBundle, RegistryError."""
        with reported(self.uri, MlflowException):
            version = self._find(reference)
            if version is None or "vedette.digest" not in version.tags:
                raise NoSuchBundle(
                    f"{self.uri}: {reference.name} {reference.kind} {reference.value} is not a bundle that was sent there"
                )
            folder.mkdir(parents=True, exist_ok=True)
            held = {a.path for a in self._client.list_artifacts(version.run_id)}
            files = Path(self._client.download_artifacts(version.run_id, FILES, str(folder)))
            signatures: list[tuple[str, bytes]] = []
            if SIGNATURES in held:
                beside = Path(self._client.download_artifacts(version.run_id, SIGNATURES, str(folder)))
                signatures = [(path.name, path.read_bytes()) for path in sorted(beside.glob("*.sig"))]
            aliases = tuple(sorted(set(version.aliases) - set(HELD)))
        return ExchangedBundle(
            files,
            tuple(signatures),
            version.tags["vedette.digest"],
            version.tags.get("vedette.stage", "none"),
            aliases,
            f"{self.uri}: {version.name} version {version.version}",
        )

    def _made(self, bundle: Bundle, tags: Mapping[str, str]) -> Any:
        name, client = bundle.manifest.name, self._client
        found = client.get_experiment_by_name(EXPERIMENT)
        experiment = found.experiment_id if found is not None else client.create_experiment(EXPERIMENT)
        if not client.search_registered_models(f"name = '{name}'"):
            client.create_registered_model(name)
        run = client.create_run(experiment, tags=dict(tags), run_name=f"{name}/{bundle.manifest.version}")
        for key, value in origin_of(bundle.manifest).items():
            client.log_param(run.info.run_id, key, str(value)[:_LONGEST])
        for key, figure in figures_of(bundle.manifest).items():
            client.log_metric(run.info.run_id, key, figure)
        client.log_artifacts(run.info.run_id, str(bundle.folder), FILES)
        client.set_terminated(run.info.run_id)
        return client.create_model_version(
            name,
            source=f"{run.info.artifact_uri}/{FILES}",
            run_id=run.info.run_id,
            tags=dict(tags),
            description=bundle.manifest.description,
        )

    def _send_signatures(self, run_id: str, signatures: list[tuple[str, bytes]]) -> None:
        from tempfile import TemporaryDirectory

        with TemporaryDirectory(prefix="vedette-") as scratch:
            for name, body in signatures:
                path = Path(scratch) / (name if name.endswith(".sig") else f"{name}.sig")
                path.write_bytes(body)
                self._client.log_artifact(run_id, str(path), SIGNATURES)

    def _name(self, name: str, version: str, known: RegisteredBundle) -> None:
        """Give the model version the bundle's stage and aliases, and remove all others."""
        wanted = {*known.aliases, *([known.stage] if known.stage in HELD else [])}
        for alias in set(self._client.get_model_version(name, version).aliases) - wanted:
            self._client.delete_registered_model_alias(name, alias)
        for alias in sorted(wanted):
            self._client.set_registered_model_alias(name, alias, version)

    def _find(self, reference: BundleReference) -> Any:
        if reference.kind in ("stage", "alias"):
            try:
                return self._client.get_model_version_by_alias(reference.name, reference.value)
            except MlflowException as problem:
                if problem.error_code not in ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"):
                    raise
                return None
        if reference.kind == "digest":
            return self._version_of(None, {"vedette.digest": reference.value})
        return self._version_of(reference.name, {"vedette.version": reference.value} if reference.value else {})

    def _version_of(self, name: str | None, tags: Mapping[str, str]) -> Any:
        """The newest model version with these tags; None if there is none."""
        conditions = [*([f"name = '{name}'"] if name else []), *(f"tag.`{tag}` = '{value}'" for tag, value in tags.items())]
        found = self._client.search_model_versions(" and ".join(conditions))
        newest = max(found, key=lambda v: int(v.version), default=None)
        return None if newest is None else self._client.get_model_version(newest.name, newest.version)
