"""`vedette batch --model hosts`: the risk of each host by the hour, what it is made of, and peers that were not seen before."""

import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from operators.cli.console import CommandError
from operators.cli.main import app
from serving.batch.behaviour.risk_signals import probabilities
from serving.risk.opening import open_ledger
from serving.risk.signal import RiskSignal
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


def test_a_late_batch_result_updates_the_risk_and_says_how_late(hosts_store, flows_rows, tmp_path):
    """The flows of some hours ago: a stream spoke of a host meanwhile, then the batch's result comes. Moved by whole hours, so that each
    window holds the same flows whenever this runs."""
    newest = flows_rows["StartTime"].max()
    since = (pd.Timestamp.now("Europe/Prague").tz_localize(None) - newest).floor("h") - pd.Timedelta(1, "h")
    rows = flows_rows.assign(StartTime=flows_rows["StartTime"] + since)
    rows.to_parquet(tmp_path / "flows.parquet", index=False)
    run(hosts_store, tmp_path / "flows.parquet", tmp_path / "out", "--model", "hosts")
    found = risks(tmp_path / "out")
    newest_windows = found.sort_values("window_end").groupby("host").tail(1)  # of a host's windows the newest counts
    row = newest_windows.iloc[newest_windows["risk"].argmax()]
    at = int(row["window_end"].timestamp() * 1_000_000)
    ledger = open_ledger(hosts_store, None)
    said = RiskSignal(entity=row["host"], kind="realtime", name="flows", probability=0.6, at_us=at, id="events/0/1")
    ledger.add([said], (), at)
    ledger.close()
    run(hosts_store, tmp_path / "flows.parquet", tmp_path / "out", "--model", "hosts", "--to-risk")  # all is done already
    words = ["risk", "show", row["host"], "--store-dir", str(hosts_store), "--json"]
    told = json.loads(CliRunner().invoke(app, words, catch_exceptions=False).stdout)
    assert {part["kind"] for part in told["parts"]} == {"realtime", "batch"}
    (change,) = [c for c in told["changes"] if "batch/hosts" in c["because"]]
    assert change["after"] > change["before"]
    assert change["late_s"] > 1800
    run(hosts_store, tmp_path / "flows.parquet", tmp_path / "out", "--model", "hosts", "--to-risk")
    again = json.loads(CliRunner().invoke(app, words, catch_exceptions=False).stdout)
    assert len(again["changes"]) == len(told["changes"])


def test_only_a_behavioural_model_gives_risks(flows_store, flows_folder, tmp_path):
    with pytest.raises(CommandError, match="--to-risk: model 'flows' scores events"):
        run(flows_store, flows_folder, tmp_path / "out", "--to-risk")


@pytest.mark.parametrize(
    ("risk", "least", "most"), [(0.5, 0.01, 0.01001), (0.99, 0.07, 0.08), (0.999, 0.34, 0.36), (1.0, 0.34, 0.36)]
)
def test_a_rank_is_evidence_within_its_bound(risk, least, most):
    assert least <= probabilities(np.array([risk]), 1000, 0.01)[0] <= most
