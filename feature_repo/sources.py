"""Where feature rows come from: Parquet files under the store folder, a push source over each, and the request itself.

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
    """A source that takes fresh rows online, backed by the view's file for training and materialisation."""
    rows = FileSource(name=f"{view}_file", path=offline_path(view), timestamp_field=TIMESTAMP)
    return PushSource(name=f"{view}_push", batch_source=rows)


def request_source(name: str, columns: Sequence[Column]) -> RequestSource:
    """The request-time fields a client sends."""
    return RequestSource(name=name, schema=[Field(name=c.name, dtype=feast_type(c.datatype)) for c in columns])


flow_request = request_source("flow_fields", FLOWS.request_fields)
