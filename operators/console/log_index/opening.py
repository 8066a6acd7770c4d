"""The index of the store that a console shows, made at the first use; and what a person may see of it."""

import threading
from typing import Final

from starlette.responses import Response

from lifecycle.governance.archive.place import ArchivePlace
from operators.console.log_index.index_file import IndexUnavailable
from operators.console.log_index.index_scope import LogScope
from operators.console.log_index.store_index import StoreIndex, index_of
from operators.console.page import Handler, PageProblem, Visit
from operators.console.site import Site
from serving.settings import ServingSettings

_making: Final = threading.Lock()


def store_index(site: Site) -> StoreIndex:
    """The index of the site's store. Raises PageProblem where no store is shown."""
    store = site.store_dir
    if store is None:
        raise PageProblem(
            "This console has no store, so it has no logs to show. Start it with --store-dir, or mount the volume of the logs.",
            404,
        )
    with _making:
        found = index_of(site.kept, store)
        if found is None:
            found = StoreIndex(store, lambda: archive_of(settings_of(site)))
            found.prepare()
            site.kept["log-index"] = found
        return found


def with_index(handler: Handler) -> Handler:
    """The handler of a page; if the index cannot be read now, a page says so and that it may be asked again."""

    def guarded(visit: Visit) -> Response:
        try:
            return handler(visit)
        except IndexUnavailable as problem:
            raise PageProblem(str(problem), 503) from problem

    return guarded


def settings_of(site: Site) -> ServingSettings:
    """The settings, with the site's store."""
    return ServingSettings() if site.store_dir is None else ServingSettings(store_dir=site.store_dir)


def archive_of(settings: ServingSettings) -> ArchivePlace | None:
    """The archive that the settings name, or that the store has; None if there is none. Raises ArchiveError."""
    own = settings.store_dir / "archive"
    if settings.audit_archive is not None:
        return ArchivePlace(settings.audit_archive)
    return ArchivePlace(str(own)) if own.is_dir() else None


def scope_of(visit: Visit) -> LogScope:
    """What of the logs the person may see: of a tenant's person, the records of the tenant's callers, and the risk of its entities; of one
    who is narrowed to models, the records of these."""
    person = visit.person
    may_see_model = person.models.match if person.is_narrowed else None
    if not person.tenant:
        return LogScope(may_see_model=may_see_model)
    return LogScope(frozenset({person.tenant}), may_see_model, person.entities.match)
