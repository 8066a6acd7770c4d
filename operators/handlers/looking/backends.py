"""Which backend a service runs on, and where its evidence comes from. Wires; acts on nothing."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Protocol

import aiohttp

from operators.api.types import KserveBackend, ModelService, RayBackend
from operators.backends.evidence import Scrape
from operators.backends.kserve import KserveInference
from operators.backends.kube import Kube
from operators.backends.label_evidence.server import LabelServer
from operators.backends.load import LoadMeter
from operators.backends.metrics_pages import MetricsPages, PodTls
from operators.backends.prometheus import PrometheusEvidence
from operators.backends.ray import RayServeBackend, ReadEvidence
from operators.handlers.documents import owner_reference
from operators.handlers.settings import OperatorSettings
from operators.ports import Backend, LabelEvidence, ServiceRef
from operators.rollout.spec import Revision
from serving.access.client_credentials import FileToken


class ClusterBackend(Backend, Protocol):
    """A backend of a cluster. It also reports what the resource's status shows of it."""

    @property
    def shares_replicas(self) -> bool:
        """Whether variants live in the same replicas."""
        ...

    @property
    def selector(self) -> str:
        """Label selector of the pods; empty: not known (yet)."""
        ...

    @property
    def shortfall(self) -> str | None:
        """Why the target was not carried out in full, in words; None: it was."""
        ...

    async def serves(self, service: ServiceRef) -> Revision | None:
        """What is served as stable before the operator's first act; None: nothing, or it is not known. Raises BackendError."""
        ...


class Backends:
    """Makes the backend of a service. Cheap; ask again at each look."""

    def __init__(self, kube: Kube, session: aiohttp.ClientSession, settings: OperatorSettings) -> None:
        self._kube, self._meter = kube, LoadMeter()
        self._read = _reader(session, settings)
        self.labels: LabelEvidence | None = (
            LabelServer(session, settings.labels_url, settings.labels_token_file) if settings.labels_url else None
        )
        """Labels of analysts, if there is a label server."""

    def forget(self, service: ServiceRef) -> None:
        """The service is gone."""
        self._meter.forget(service)

    def of(self, service: ModelService, document: Mapping[str, Any]) -> ClusterBackend:
        """The backend that the resource names."""
        kserve, ray = service.spec.backend.kserve, service.spec.backend.ray
        if kserve is not None:
            named = kserve.model_copy(update={"inference_service": kserve.inference_service or service.metadata.name})
            return self._kserve(named, document)
        return RayServeBackend(self._kube, ray or RayBackend(), self._read, self._meter)

    def _kserve(self, place: KserveBackend, document: Mapping[str, Any]) -> KserveInference:
        return KserveInference(self._kube, place, self._read, self._meter, owner_reference(document))


def _reader(session: aiohttp.ClientSession, settings: OperatorSettings) -> ReadEvidence:
    if settings.evidence == "prometheus":
        source = PrometheusEvidence(
            session,
            settings.prometheus_url,
            matchers=settings.prometheus_matchers,
            max_age=timedelta(seconds=settings.prometheus_max_age_s),
            token_file=settings.prometheus_token_file,
        )

        async def ask_prometheus(service: ServiceRef, addresses: Sequence[str]) -> Scrape:
            del addresses
            return await source.read(service)

        return ask_prometheus
    tls = None
    if settings.pod_ca is not None:
        tls = PodTls(settings.pod_ca, settings.pod_name, settings.pod_cert, settings.pod_key)
    credentials = FileToken(settings.replica_token_file).headers
    pages = MetricsPages(session, timeout_s=settings.scrape_timeout_s, credentials=credentials, tls=tls)

    async def ask_pods(service: ServiceRef, addresses: Sequence[str]) -> Scrape:
        return await pages.read(service.model, addresses)

    return ask_pods
