"""Where the rows of stored feature views lie, for batch jobs whose features are not counted over the data."""

import hashlib
from pathlib import Path
from typing import Final

from lifecycle.errors import DetectorError
from lifecycle.training.feast_store import EVENT, FeastStore
from serving.batch.job import StoredFile

_HASHED: Final = 1 << 20


def stored_views(store: FeastStore, service: str) -> dict[str, StoredFile]:
    """The views of a feature service that have a file of rows; one without is all defaults. Raises DetectorError, UnknownService."""
    found = {}
    for projection in store.service(service).feature_view_projections:
        view = store.view_source(projection.name)
        if view is None:
            continue
        path, stamp = view
        if stamp != EVENT:
            raise DetectorError(f"feature view {projection.name!r}: its times are in {stamp!r}; batch jobs read {EVENT!r}")
        if path.is_file():
            found[projection.name_to_use()] = StoredFile(str(path.resolve()), _digest(path))
    return found


def _digest(path: Path) -> str:
    state = hashlib.sha256()
    with path.open("rb") as stream:
        while part := stream.read(_HASHED):
            state.update(part)
    return f"sha256:{state.hexdigest()}"
