"""The point-in-time join that training data comes from: laws, an oracle, and Feast's own file store as a witness."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from feature_repo.declaration import Column, Declaration, Transform, Window
from lifecycle.training.feast_store import BadRows, FeastStore, Materialized, StoreError, UnknownService, connection_string

START = datetime(2026, 1, 1, tzinfo=UTC)
LOGINS = Declaration(
    name="logins",
    keys=(Column("user", "BYTES"), Column("site", "INT64")),
    windows=(Window(10, ttl_s=60), Window(60, ttl_s=300)),
    aggregates=(Column("count", "FP64", 0.0), Column("failures", "INT64", -1)),
    request_fields=(Column("kind", "BYTES"), Column("size", "FP64")),
    transform=Transform(
        "feature_repo.transforms:encode_columns",
        (Column("kind", "FP64"), Column("size", "FP64")),
        {"categories": {"kind": ["web", "ssh"]}, "numbers": ["size"]},
    ),
)


def at(*seconds):
    return [START + timedelta(seconds=s) for s in seconds]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = FeastStore(tmp_path_factory.mktemp("feast"))
    store.apply(LOGINS)
    return store


def entities(*rows):
    frame = pd.DataFrame(rows, columns=["user", "site", "second"])
    frame["event_timestamp"] = at(*frame.pop("second"))
    return frame.assign(kind="ssh", size=2.5)


def window(*rows):
    frame = pd.DataFrame(rows, columns=["user", "site", "second", "count", "failures"])
    frame["event_timestamp"] = at(*frame.pop("second"))
    return frame


def test_each_row_gets_the_newest_value_of_its_key_within_the_ttl(store):
    store.write_rows("logins_user_site_10s", window(("a", 1, 0, 1.0, 10), ("a", 1, 50, 2.0, 20), ("a", 2, 50, 3.0, 30)))
    store.write_rows("logins_user_site_60s", window(("a", 1, 0, 4.0, 40)))
    frame = store.training_frame(
        entities(("a", 1, 200), ("a", 1, 50), ("a", 1, 49), ("a", 1, 110), ("a", 1, 111), ("a", 2, 60), ("b", 1, 60)),
        "logins_v1",
    )
    assert frame["logins_user_site_10s__count"].tolist() == [0.0, 2.0, 1.0, 2.0, 0.0, 3.0, 0.0]
    assert frame["logins_user_site_10s__failures"].tolist() == [-1, 20, 10, 20, -1, 30, -1]
    assert frame["logins_user_site_60s__count"].tolist() == [4.0, 4.0, 4.0, 4.0, 4.0, 0.0, 0.0]
    assert frame["logins_user_site_10s__failures"].dtype == np.int64


def test_columns_come_in_the_order_of_the_service_and_rows_in_their_own(store):
    store.write_rows("logins_user_site_10s", window(("a", 1, 0, 1.0, 10)))
    store.write_rows("logins_user_site_60s", window(("a", 1, 0, 4.0, 40)))
    asked = entities(("b", 1, 9), ("a", 1, 3), ("a", 1, 3)).assign(label=[7, 8, 9])
    frame = store.training_frame(asked, "logins_v1")
    assert [c for c in frame.columns if "__" in c] == list(LOGINS.features())
    assert frame["label"].tolist() == [7, 8, 9]
    assert frame["logins_request__kind"].tolist() == [2.0, 2.0, 2.0]


def test_the_join_agrees_with_an_oracle_and_with_feasts_file_store(store):
    rng = np.random.default_rng(7)
    rows = window(*((f"u{rng.integers(3)}", int(rng.integers(2)), int(rng.integers(400)), float(i), i) for i in range(60)))
    rows = rows.drop_duplicates(["user", "site", "event_timestamp"], keep="last")
    for view in ("logins_user_site_10s", "logins_user_site_60s"):
        store.write_rows(view, rows)
    asked = entities(*((f"u{rng.integers(4)}", int(rng.integers(2)), int(rng.integers(500))) for _ in range(80)))
    ours = store.training_frame(asked, "logins_v1")
    for view, ttl_s in (("logins_user_site_10s", 60), ("logins_user_site_60s", 300)):
        expected = [newest(rows, row, ttl_s) for row in asked.itertuples()]
        assert ours[f"{view}__count"].tolist() == expected
        witness = feasts_own(store, view, asked)
        assert len(witness) > 20
        assert [expected[i] for i in witness["place"]] == witness["count"].fillna(0.0).tolist()


def newest(rows, row, ttl_s):
    past = row.event_timestamp - timedelta(seconds=ttl_s)
    fits = (rows.user == row.user) & (rows.site == row.site) & (rows.event_timestamp <= row.event_timestamp)
    fits &= rows.event_timestamp >= past
    found = rows[fits].sort_values("event_timestamp")
    return 0.0 if found.empty else float(found["count"].iloc[-1])


def feasts_own(store, view, asked):
    """The rows Feast's file store returns for one view; it drops those whose every match is too old."""
    from feast import FeatureStore, RepoConfig

    config = RepoConfig(
        project="vedette",
        provider="local",
        registry=str(store.folder / "registry.db"),
        offline_store={"type": "dask"},
        repo_path=store.folder,
    )
    frame = asked[["user", "site", "event_timestamp"]].assign(place=range(len(asked)))
    return FeatureStore(config=config).get_historical_features(frame, [f"{view}:count"]).to_df()


def test_rows_can_be_added_and_the_newer_writing_wins(store):
    view = "logins_user_site_10s"
    store.write_rows(view, window(("a", 1, 0, 1.0, 1), ("a", 1, 5, 2.0, 2)))
    path = store.write_rows(view, window(("a", 1, 5, 9.0, 9), ("a", 1, 6, 3.0, 3)), keep=True)
    assert pd.read_parquet(path)["count"].tolist() == [1.0, 9.0, 3.0]


def test_materializing_tells_its_progress_and_fills_the_online_store(store):
    for view in ("logins_user_site_10s", "logins_user_site_60s"):
        store.write_rows(view, window(("a", 1, 0, 1.0, 10), ("a", 1, 5, 2.0, 20)))
    seen = []
    written = store.materialize(START, START + timedelta(seconds=60), seen.append, service="logins_v1")
    assert (written, seen[-1]) == (2, Materialized("logins_user_site_60s", 2, 2))
    online = store.online("logins_v1", {"user": ["a"], "site": [1], "kind": ["web"], "size": [1.0]})
    assert online["logins_user_site_10s__count"] == [2.0]


def test_rows_without_a_column_are_refused(store):
    with pytest.raises(BadRows, match="failures"):
        store.write_rows("logins_user_site_10s", window(("a", 1, 0, 1.0, 1)).drop(columns="failures"))


def test_an_unknown_service_is_named_with_the_known_ones(store):
    with pytest.raises(UnknownService, match="logins_v1"):
        store.training_frame(entities(("a", 1, 0)), "nothing_v1")


def test_a_redis_address_is_written_feasts_way():
    assert connection_string("redis://:s%40t@cache:6380/2") == "cache:6380,db=2,password=s@t"
    assert connection_string("rediss://cache") == "cache:6379,db=0,ssl=true"
    with pytest.raises(StoreError, match="redis://HOST"):
        connection_string("http://cache")
