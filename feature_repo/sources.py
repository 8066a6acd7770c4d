"""Where feature rows come from: a Parquet file for each view under the store's folder, a push source over each file, and the request.

Paths are relative to the folder of feature_store.yaml (`STORE/feast/`), so a store can be moved."""

from collections.abc import Sequence

from feast import Field, FileSource, PushSource, RequestSource

from feature_repo.declaration import Column
from feature_repo.fields import feast_type
from feature_repo.flows import FLOWS

TIMESTAMP = "event_timestamp"


def offline_path(view: str) -> str:
    """Parquet file of a stored view, relative to `STORE/feast/`."""
    return f"offline/{view}.parquet"


def push_source(view: str) -> PushSource:
    """A source that takes fresh rows online. Training and materialization read the view's file."""
    rows = FileSource(name=f"{view}_file", path=offline_path(view), timestamp_field=TIMESTAMP)
    return PushSource(name=f"{view}_push", batch_source=rows)


def request_source(name: str, columns: Sequence[Column]) -> RequestSource:
    """The request-time fields that a client sends."""
    return RequestSource(name=name, schema=[Field(name=c.name, dtype=feast_type(c.datatype)) for c in columns])


flow_request = request_source("flow_fields", FLOWS.request_fields)
