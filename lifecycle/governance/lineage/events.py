"""OpenLineage events of a training run, for data catalogues (Marquez, DataHub, ...). The one user of the `openlineage` client.

Each bundle gives two events of the run that trained it, START and COMPLETE. The data and the feature service are the run's inputs, the
bundle is its output.
Source: OpenLineage 2-0-2 (openlineage.io/spec). Facets of our own are under the key `vedette`."""

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import attr
from openlineage.client import OpenLineageClient
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import DatasetFacet, RunFacet, dataset_version_dataset, documentation_dataset
from openlineage.client.transport.file import FileConfig, FileTransport
from openlineage.client.transport.http import HttpConfig, HttpTransport

from lifecycle.governance.lineage.facts import BundleFact, provenance_of

PRODUCER: Final = "https://vedette.dev/lineage"
NAMESPACE: Final = "vedette"
_RUNS: Final = uuid.uuid5(uuid.NAMESPACE_URL, PRODUCER)
"""Run ids are made from the bundle's digest, so events that are sent twice describe the same run."""


_RETRY: Final = {
    "total": 2,
    "backoff_factor": 0.1,
    "status_forcelist": [500, 502, 503, 504],
    "allowed_methods": ["HEAD", "POST"],
}
"""Few retries, because a person waits for the command: it fails within about a second if the endpoint is not there."""


class LineageSendError(Exception):
    """Events could not be delivered; the message says where to."""


@attr.define
class FactsFacet(RunFacet):
    """Facts of a run for which the standard has no facet."""

    facts: dict[str, Any]


@attr.define
class DataFactsFacet(DatasetFacet):
    """Facts of a data set for which the standard has no facet."""

    facts: dict[str, Any]


def training_events(bundle: BundleFact, when: str) -> list[RunEvent]:
    """START and COMPLETE of the run that trained the bundle. when: of both, ISO 8601. Raises ValueError for a bundle made elsewhere."""
    manifest, lineage = bundle.manifest, bundle.manifest.lineage
    if lineage is None:
        raise ValueError(f"bundle {manifest.name} {manifest.version} was made elsewhere and does not describe its training")
    facts = {
        "code_commit": lineage.code_commit,
        "seed": lineage.seed,
        "parameters": dict(lineage.parameters),
        "environment": dict(lineage.environment),
        "metrics": dict(lineage.metrics),
    }
    run = Run(str(uuid.uuid5(_RUNS, bundle.digest)), {"vedette": FactsFacet(facts)})
    job = Job(NAMESPACE, f"train.{manifest.name}")
    inputs = [_data(manifest.name, lineage.data_digest, dict(lineage.data), dict(provenance_of(lineage)), lineage.findings)]
    if manifest.feature_service is not None:
        digest = str(lineage.features.get("digest", ""))
        described = DataFactsFacet({"views": lineage.features.get("views", {})})
        facets: dict[str, DatasetFacet] = {"vedette": described}
        if digest:
            facets["version"] = dataset_version_dataset.DatasetVersionDatasetFacet(digest)
        inputs.append(InputDataset(NAMESPACE, f"feature-service/{manifest.feature_service}", facets=facets))
    version = dataset_version_dataset.DatasetVersionDatasetFacet(bundle.digest)
    outputs = [OutputDataset(NAMESPACE, f"bundle/{manifest.name}", facets={"version": version})]
    states = (RunState.START, RunState.COMPLETE)
    return [
        RunEvent(eventTime=when, producer=PRODUCER, run=run, job=job, eventType=state, inputs=inputs, outputs=outputs)
        for state in states
    ]


def send(events: Sequence[RunEvent], to: str) -> None:
    """Deliver events. to: `http(s)://...` is an OpenLineage endpoint; anything else is a file to which lines are appended.

    Raises LineageSendError."""
    if urlsplit(to).scheme in ("http", "https"):
        transport: Any = HttpTransport(HttpConfig(url=to, retry=_RETRY))
    else:
        Path(to).parent.mkdir(parents=True, exist_ok=True)
        transport = FileTransport(FileConfig(log_file_path=to, append=True))
    client = OpenLineageClient(transport=transport)
    try:
        for event in events:
            client.emit(event)
    except Exception as problem:  # each transport has errors of its own library
        raise LineageSendError(f"lineage events could not be sent to {to}: {problem}") from problem
    finally:
        client.close()


def _data(name: str, digest: str, data: dict[str, Any], provenance: dict[str, Any], findings: Sequence[str]) -> InputDataset:
    facets: dict[str, DatasetFacet] = {
        "version": dataset_version_dataset.DatasetVersionDatasetFacet(digest),
        "vedette": DataFactsFacet({**data, "provenance": provenance, "findings": list(findings)}),
    }
    if provenance.get("source"):
        facets["documentation"] = documentation_dataset.DocumentationDatasetFacet(provenance["source"])
    return InputDataset(NAMESPACE, f"data/{name}", facets=facets)
