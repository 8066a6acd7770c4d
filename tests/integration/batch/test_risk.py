"""`vedette batch --model hosts`: the risk of each host by the hour, what it is made of, and peers that were not seen before."""

import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from operators.cli.main import app
from tests.integration.batch.test_batch import run

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def hosts_store(tmp_path_factory):
    store = tmp_path_factory.mktemp("hosts-store")
    for _ in range(2):  # the same model again keeps its version
        done = CliRunner().invoke(app, ["train", "hosts", "--store-dir", str(store), "--json"], catch_exceptions=False)
        assert json.loads(done.stdout)["version"] == "1"
    return store


def risks(out):
    files = sorted((out / "risk").rglob("*.parquet"))
    return pd.concat([pq.ParquetFile(path).read().to_pandas() for path in files], ignore_index=True)


def test_each_host_and_hour_has_one_risk_with_its_parts(hosts_store, flows_folder, flows_rows, tmp_path):
    summary = run(hosts_store, flows_folder, tmp_path / "out", "--model", "hosts")
    found = risks(tmp_path / "out")
    assert summary["rows"] == len(flows_rows)
    ends = flows_rows["StartTime"].dt.tz_localize("Europe/Prague") + pd.to_timedelta(flows_rows["Dur"].round(6), unit="s")
    hours = ends.dt.tz_convert("UTC").dt.floor("h")
    counts = flows_rows.groupby([hours, "SrcAddr"]).size()
    counts = counts[counts >= 3]
    mine = found.set_index(["window_start", "host"])["events"].sort_index()
    assert not mine.index.duplicated().any()
    assert abs(len(mine) - len(counts)) <= 2  # a microsecond more or less at an hour's end
    assert ((found["risk"] >= 0) & (found["risk"] <= 1)).all()
    assert (found["risk"].rank() == found["score"].rank()).mean() > 0.9
    assert set(found["model"]) == {"hosts"}
    row = found.iloc[found["risk"].argmax()]
    assert {part["feature"] for part in row["parts"]} >= {"beacon", "first_seen_share", "peer_entropy"}
    assert len(row["reasons"])


def test_peers_of_earlier_hours_are_known(hosts_store, flows_rows, tmp_path):
    """Two hours of the very same flows: in the second no peer is new; another one is."""
    first = flows_rows.head(400).copy()
    second = first.assign(StartTime=first["StartTime"] + np.timedelta64(1, "h"))
    host = first["SrcAddr"].value_counts().index[0]
    second.loc[second.index[second["SrcAddr"] == host][:1], "DstAddr"] = "192.0.2.99"
    pd.concat([first, second]).to_parquet(tmp_path / "flows.parquet", index=False)
    run(hosts_store, tmp_path / "flows.parquet", tmp_path / "out", "--model", "hosts")
    found = risks(tmp_path / "out")
    hours = sorted(found["window_start"].unique())
    assert not found[found["window_start"] == hours[0]]["history_known"].any()
    later = found[found["window_start"] == hours[-1]]
    share = {row.host: next(p["value"] for p in row.parts if p["feature"] == "first_seen_share") for row in later.itertuples()}
    assert share.pop(host) > 0
    assert set(share.values()) == {0.0}


def test_a_changed_hour_changes_what_looks_back_on_it(hosts_store, flows_folder, tmp_path):
    first = run(hosts_store, flows_folder, tmp_path / "out", "--model", "hosts")
    assert run(hosts_store, flows_folder, tmp_path / "out", "--model", "hosts")["scored_units"] == 0
    earliest = sorted(flows_folder.rglob("*.parquet"))[0]
    pq.write_table(pq.read_table(earliest).slice(1), earliest)
    again = run(hosts_store, flows_folder, tmp_path / "out", "--model", "hosts")
    assert again["scored_units"] > first["units"] / 2
