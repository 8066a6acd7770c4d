"""Feast's offline store over Parquet files, with a point-in-time join that scales: an as-of merge.

A Feast plug-in (`offline_store.type` in feature_store.yaml). Reading, materialisation and pushes are those of Feast's file
store; only the join of `get_historical_features` is ours. Feast's own joins match every flow of a host with every row of that
host before they filter: 41 million pairs a view on 107,000 flows, minutes and over 10 GB in the file store (which also drops
entity rows whose every match is too old), 90 s in the DuckDB store. This one takes 1.2 s for three views and gives what Feast
documents: the newest row at or before the event and not older than the TTL, nulls where there is none."""

from datetime import timedelta
from typing import Any, Literal

import pandas as pd
from feast import FeatureView, RepoConfig
from feast.infra.offline_stores.dask import DaskOfflineStore, DaskOfflineStoreConfig, DaskRetrievalJob
from feast.infra.offline_stores.file_source import FileSource
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.on_demand_feature_view import OnDemandFeatureView

EVENT = "event_timestamp"


class AsOfOfflineStoreConfig(DaskOfflineStoreConfig):  # type: ignore[misc]
    """The store's configuration. It has no option except its type."""

    type: Literal["feature_repo.offline.AsOfOfflineStore"] = "feature_repo.offline.AsOfOfflineStore"


class AsOfRetrievalJob(DaskRetrievalJob):  # type: ignore[misc]
    """A retrieval job whose evaluation function gives a pandas frame."""

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        return self.evaluation_function()

    def _to_arrow_internal(self, timeout: int | None = None) -> Any:
        import pyarrow

        return pyarrow.Table.from_pandas(self.evaluation_function(), preserve_index=False)


class AsOfOfflineStore(DaskOfflineStore):  # type: ignore[misc]
    """Feast's file store with an as-of join."""

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame,
        registry: Any,
        project: str,
        full_feature_names: bool = False,
        **_: Any,
    ) -> RetrievalJob:
        """Join the stored features named by feature_refs to entity_df, each as of the row's `event_timestamp`.

        entity_df: the join keys and `event_timestamp` (UTC if it has no zone). Rows keep their order. The join runs when the job is
        read. Raises ValueError if entity_df is not a data frame with that column."""
        if not isinstance(entity_df, pd.DataFrame) or EVENT not in entity_df.columns:
            raise ValueError(f"entity rows must be a pandas DataFrame with a column {EVENT!r} (UTC)")

        def join() -> pd.DataFrame:
            joined = entity_df.reset_index(drop=True).assign(**{EVENT: utc(entity_df[EVENT]).to_numpy()})
            joined[EVENT] = utc(joined[EVENT])
            for view in feature_views:
                names = requested(view, feature_refs, full_feature_names)
                joined = pd.concat([joined, as_of(joined, rows_of(view, config), view, names)], axis=1)
            return joined

        return AsOfRetrievalJob(
            evaluation_function=join,
            full_feature_names=full_feature_names,
            repo_path=str(config.repo_path),
            on_demand_feature_views=OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry),
            metadata=RetrievalMetadata(
                features=feature_refs,
                keys=[c for c in entity_df.columns if c != EVENT],
                min_event_timestamp=entity_df[EVENT].min(),
                max_event_timestamp=entity_df[EVENT].max(),
            ),
        )


def utc(times: pd.Series) -> pd.Series:
    """Times as datetime64[us, UTC]. Times without a zone are taken as UTC, as everywhere in Feast."""
    return pd.to_datetime(times, utc=True).astype("datetime64[us, UTC]")


def requested(view: FeatureView, feature_refs: list[str], full_names: bool) -> dict[str, str]:
    """Column of the view's rows -> column of the result, for the features that were asked for, in the view's own order."""
    name = view.projection.name_to_use()
    asked = {ref.split(":", 1)[1] for ref in feature_refs if ref.split(":", 1)[0] == name}
    mapping = {new: old for old, new in view.batch_source.field_mapping.items()}
    return {
        mapping.get(f.name, f.name): f"{name}__{f.name}" if full_names else f.name for f in view.features if f.name in asked
    }


def rows_of(view: FeatureView, config: RepoConfig) -> pd.DataFrame:
    """The rows of a view's Parquet file. Raises ValueError if the view's source is not a file."""
    source = view.batch_source
    if not isinstance(source, FileSource):
        raise ValueError(f"feature view {view.name}: its source is a {type(source).__name__}, this store reads files only")
    return pd.read_parquet(FileSource.get_uri_for_file_path(config.repo_path, source.file_options.uri))


def as_of(left: pd.DataFrame, rows: pd.DataFrame, view: FeatureView, names: dict[str, str]) -> pd.DataFrame:
    """For each row of left, the features of the newest row with the same keys that is not later and not older than the TTL; nulls if
    there is none. Shape (len(left), len(names)), in left's order."""
    source = view.batch_source
    stored = [column.name for column in view.entity_columns]
    keys = [view.projection.join_key_map.get(key, key) for key in stored]
    order = [source.timestamp_field, *([source.created_timestamp_column] if source.created_timestamp_column else [])]
    right = rows[[*dict.fromkeys([*stored, *order, *names])]].assign(
        **{source.timestamp_field: utc(rows[source.timestamp_field])}
    )
    right = right.sort_values(order, kind="stable").drop_duplicates([*stored, source.timestamp_field], keep="last")
    right = right.rename(columns={**names, **dict(zip(stored, keys, strict=True)), source.timestamp_field: "__at"})
    wanted = left[[*keys, EVENT]].assign(__row=range(len(left))).sort_values(EVENT, kind="stable")
    right = right.astype({key: wanted[key].dtype for key in keys})
    ttl: timedelta | None = view.ttl if view.ttl and view.ttl.total_seconds() > 0 else None
    merged = pd.merge_asof(
        wanted, right, left_on=EVENT, right_on="__at", by=keys, tolerance=pd.Timedelta(ttl) if ttl is not None else None
    )
    return merged.sort_values("__row", kind="stable")[list(names.values())].reset_index(drop=True)
