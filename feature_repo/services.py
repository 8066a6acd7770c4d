"""The feature services: the features that a model was trained on, by name and version. A bundle names the service it needs.

A service is never edited once a bundle names it: a change is a new version."""

from collections.abc import Sequence

from feast import FeatureService, FeatureView, OnDemandFeatureView

from feature_repo.declaration import Declaration
from feature_repo.entities import host
from feature_repo.flows import FLOWS
from feature_repo.views import flow, host_10s, host_60s, host_600s

__all__ = [
    "flow",
    "flows_v1",
    "host",
    "host_10s",
    "host_60s",
    "host_600s",
    "service",
]  # what `feast apply` finds (.feastignore)


def service(declaration: Declaration, views: Sequence[FeatureView | OnDemandFeatureView]) -> FeatureService:
    """The declaration's feature service over its views, which are given in the declaration's order."""
    return FeatureService(name=declaration.service, features=list(views), tags={"detector": declaration.name})


flows_v1 = service(FLOWS, [host_10s, host_60s, host_600s, flow])
