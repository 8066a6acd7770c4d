"""Makes Feast objects from a declaration. Every declared detector gets the same objects as `flows`, by the same functions."""

from dataclasses import dataclass

from feast import Entity, FeatureService, FeatureView, OnDemandFeatureView, PushSource, RequestSource

from feature_repo.declaration import Declaration
from feature_repo.entities import entity
from feature_repo.services import service
from feature_repo.sources import push_source, request_source
from feature_repo.views import on_demand_view, windowed_views


@dataclass(frozen=True, slots=True)
class DetectorObjects:
    """The Feast objects of one detector. request_source, on_demand_view: None if the detector declares no transform."""

    entities: tuple[Entity, ...]
    push_sources: tuple[PushSource, ...]
    request_source: RequestSource | None
    views: tuple[FeatureView, ...]
    on_demand_view: OnDemandFeatureView | None
    service: FeatureService

    def all(self) -> list[object]:
        """The objects to `apply`, in the order that Feast needs. The request source comes with its view."""
        computed = [] if self.on_demand_view is None else [self.on_demand_view]
        return [*self.entities, *self.push_sources, *self.views, *computed, self.service]


def objects_for(declaration: Declaration) -> DetectorObjects:
    """Make the Feast objects of a detector. Raises DeclarationError if its transform cannot be imported, ValueError for a key that is
    not text or a whole number."""
    entities = tuple(entity(key) for key in declaration.keys)
    sources = tuple(push_source(declaration.view(window)) for window in declaration.windows)
    request = request_source(f"{declaration.on_demand_view}_fields", declaration.request_fields)
    views = windowed_views(declaration, entities, sources)
    computed = on_demand_view(declaration, request)
    return DetectorObjects(
        entities=entities,
        push_sources=sources,
        request_source=request if computed is not None else None,
        views=views,
        on_demand_view=computed,
        service=service(declaration, [*views, *([] if computed is None else [computed])]),
    )
