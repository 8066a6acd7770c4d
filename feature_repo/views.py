"""The feature views: one stored view for each window, and the view that is computed from the request."""

import json
from collections.abc import Sequence
from datetime import timedelta
from importlib import import_module
from typing import Any

from feast import Entity, FeatureView, Field, OnDemandFeatureView, PushSource, RequestSource
from feast.transformation.python_transformation import PythonTransformation

from feature_repo.declaration import Declaration, DeclarationError, Transform
from feature_repo.entities import host
from feature_repo.fields import feast_type, field
from feature_repo.flows import FLOWS
from feature_repo.sources import flow_request, push_source


def windowed_views(
    declaration: Declaration, entities: Sequence[Entity], sources: Sequence[PushSource] | None = None
) -> tuple[FeatureView, ...]:
    """One stored view for each window, with the window's TTL and the aggregates' defaults. sources: in the order of the windows."""
    keys = [Field(name=key.name, dtype=feast_type(key.datatype)) for key in declaration.keys]
    sources = sources or [push_source(declaration.view(window)) for window in declaration.windows]
    return tuple(
        FeatureView(
            name=declaration.view(window),
            entities=list(entities),
            ttl=timedelta(seconds=window.ttl_s),
            schema=[*keys, *(field(aggregate) for aggregate in declaration.aggregates)],
            source=source,
            online=True,
            tags={"detector": declaration.name, "window_s": str(window.seconds)},
        )
        for window, source in zip(declaration.windows, sources, strict=True)
    )


def resolve(transform: Transform) -> Any:
    """The function that a transform names. Raises DeclarationError if it cannot be imported."""
    module, _, name = transform.reference.partition(":")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise DeclarationError(
            f"transform {transform.reference!r} cannot be imported ({error}); "
            "write it as module:function, e.g. feature_repo.transforms:encode_columns"
        ) from error


def on_demand_view(declaration: Declaration, source: RequestSource) -> OnDemandFeatureView | None:
    """The view that is computed from the request, in Feast's mode `python`; None if the detector declares no transform.

    Its tags name the function, so that the data plane imports that function and does not unpickle Feast's copy. Raises DeclarationError."""
    transform = declaration.transform
    if transform is None:
        return None
    function, parameters = resolve(transform), dict(transform.parameters)

    def compute(columns: dict[str, Any]) -> dict[str, Any]:
        return dict(function(columns, **parameters))

    return OnDemandFeatureView(
        name=declaration.on_demand_view,
        sources=[source],
        schema=[
            Field(name=c.name, dtype=feast_type(c.datatype)) for c in transform.outputs
        ],  # bare: Feast compares with what it infers
        feature_transformation=PythonTransformation(udf=compute, udf_string=transform.reference),
        mode="python",
        tags={
            "detector": declaration.name,
            "transform": transform.reference,
            "parameters": json.dumps(parameters),
            "defaults": json.dumps({column.name: column.default for column in transform.outputs}),
        },
    )


host_10s, host_60s, host_600s = windowed_views(FLOWS, [host])
flow = on_demand_view(FLOWS, flow_request)
