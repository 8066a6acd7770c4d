"""`vedette batch` from end to end: every row once, the features that training counts, and what was stopped goes on."""

import json
import os
import signal
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from lifecycle.datasets.data import check_data
from lifecycle.datasets.declarations import read_detector
from lifecycle.governance.acts import ActsLog
from lifecycle.training.feast_store import FeastStore
from lifecycle.training.features import with_features
from operators.cli.main import app
from serving.audit.segment_files import read_entries, segments_in
from serving.batch.data.files import BatchFolder
from serving.batch.errors import OutputInUse, OutputMismatch
from serving.batch.output import BatchOutput
from tests.waiting import until

pytestmark = pytest.mark.integration


def run(store, folder, out, *more):
    workers = () if "--workers" in more else ("--workers", "0")
    words = ["batch", str(folder), str(out), "--store-dir", str(store), *workers, "--json", *more]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def verdicts(out: Path) -> pd.DataFrame:
    files = sorted(path for path in out.rglob("*.parquet") if "_vedette" not in path.parts)
    return pd.concat([pq.ParquetFile(path).read().to_pandas() for path in files], ignore_index=True)


def by_row(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.astype({"source_file": str}).sort_values(["source_file", "source_row"]).reset_index(drop=True)


def test_every_row_is_scored_once_on_the_features_that_training_counts(flows_store, flows_rows, flows_folder, tmp_path):
    summary = run(flows_store, flows_folder, tmp_path / "out", "--max-rows-per-partition", "700")
    found = verdicts(tmp_path / "out")
    assert summary["rows"] == summary["scored_rows"] == len(found) == len(flows_rows)
    assert not found.duplicated(["source_file", "source_row"]).any()
    detector = read_detector("flows")
    data = check_data(detector, flows_rows, where="rows")
    frame, _ = with_features(detector, data, FeastStore(tmp_path / "feast"))
    expected = scores_of(flows_store, frame)
    ends = data.at_us
    order = np.lexsort((found["score"], found["host"], found["event_time"].astype("int64")))
    mine = found.iloc[order]
    theirs = np.lexsort((expected, data.frame["host"], ends))
    assert (mine["host"].to_numpy() == data.frame["host"].to_numpy()[theirs]).all()
    assert np.abs(mine["score"].to_numpy() - expected[theirs]).max() < 1e-6


def scores_of(store: Path, frame: pd.DataFrame) -> np.ndarray:
    from serving.models.onnx import OnnxModel

    (manifest,) = [json.loads(path.read_text(encoding="utf-8")) for path in store.glob("bundles/*/bundle.json")]
    (graph,) = store.glob("bundles/*/model.onnx")
    (assembly,) = manifest["assembly"]
    model = OnnxModel(graph.read_bytes())
    tensor = frame[list(assembly["columns"])].to_numpy(dtype=np.float32)
    score = manifest["score"]
    return model.run({assembly["tensor"]: tensor}, [score["output"]])[score["output"]][:, score["column"]]


def test_a_row_accounts_for_itself_and_is_in_the_prediction_log(flows_store, flows_folder, tmp_path):
    run(flows_store, flows_folder, tmp_path / "out", "--until", "2026-01-05T10:00:00Z")
    row = verdicts(tmp_path / "out").iloc[0]
    receipts = [json.loads(line) for files in segments_in(flows_store / "audit") for line in read_entries(files.records)]
    (record,) = [r for r in receipts if r["receipt"] == row["receipt"]]
    assert (record["door"], record["revision"], record["version"]) == ("batch", row["revision"], row["version"])
    assert (row["source"], row["variant"], row["model"]) == ("model", "stable", "flows")
    assert record["inputs"]["host"]["data"][row["receipt_row"]] == row["host"]


def test_the_log_may_keep_the_digest_of_each_file_in_place_of_each_answer(flows_store, flows_folder, tmp_path):
    acts = ActsLog(flows_store / "governance", signer=lambda: None, now_us=lambda: 0)
    before = sum(1 for files in segments_in(flows_store / "audit") for _ in read_entries(files.records))
    for _ in range(2):  # what is done already has its act
        summary = run(flows_store, flows_folder, tmp_path / "out", "--records", "files")
    assert sum(1 for files in segments_in(flows_store / "audit") for _ in read_entries(files.records)) == before
    found = [act for act in acts.read() if act.action == "batch.score" and str(tmp_path) in act.subject]
    assert len(found) == summary["units"]
    for act in found:
        file = tmp_path / "out" / f"{act.subject.removeprefix(f'batch/{tmp_path}/out/')}.parquet"
        assert act.evidence["digest"] == f"sha256:{sha256(file.read_bytes()).hexdigest()}"


def test_what_is_done_is_left_out_and_what_changed_is_done_again(flows_store, flows_folder, tmp_path):
    out = tmp_path / "out"
    first = run(flows_store, flows_folder, out)
    assert run(flows_store, flows_folder, out)["scored_units"] == 0
    last = sorted(flows_folder.rglob("*.parquet"))[-1]
    rows = pq.read_table(last)
    pq.write_table(pa.concat_tables([rows, rows.slice(0, 3)]), last)
    again = run(flows_store, flows_folder, out)
    assert 0 < again["scored_units"] < first["units"]
    assert again["rows"] == first["rows"] + 3 == len(verdicts(out))


def test_another_revision_does_everything_again(flows_store, flows_folder, tmp_path):
    first = run(flows_store, flows_folder, tmp_path / "out")
    again = run(flows_store, flows_folder, tmp_path / "out", "--operating-point", "breach_response")
    assert again["scored_units"] == first["units"]
    assert set(verdicts(tmp_path / "out")["operating_point"]) == {"breach_response"}


def test_smaller_files_take_the_place_of_larger_ones(flows_store, flows_folder, tmp_path):
    for rows in (300, 100_000, 500):
        summary = run(flows_store, flows_folder, tmp_path / "out", "--max-rows-per-partition", str(rows))
        assert len(verdicts(tmp_path / "out")) == summary["rows"]


def test_input_that_went_away_is_not_forgotten_silently(flows_store, flows_folder, tmp_path):
    run(flows_store, flows_folder, tmp_path / "out")
    gone = sorted(flows_folder.rglob("*.parquet"))[0]
    gone.unlink()
    with pytest.raises(OutputMismatch, match="--replace"):
        run(flows_store, flows_folder, tmp_path / "out")
    run(flows_store, flows_folder, tmp_path / "out", "--replace")


def test_a_row_that_cannot_be_scored_is_there_with_its_reason(flows_store, flows_rows, tmp_path):
    rows = flows_rows.head(50).copy()
    rows["Dur"] = rows["Dur"].astype(float)
    rows.loc[3, "SrcAddr"] = None
    rows.loc[5, "StartTime"] = None
    rows.loc[7, "Dur"] = float("nan")
    rows.to_parquet(tmp_path / "rows.parquet", index=False)
    summary = run(flows_store, tmp_path / "rows.parquet", tmp_path / "out")
    assert (summary["rows"], summary["counts"]["rejected"]) == (50, 3)
    found = verdicts(tmp_path / "out").set_index("source_row")["error"].dropna()
    assert sorted(found.index) == [3, 5, 7]
    assert "'SrcAddr' is missing or null" in found[3]
    assert "time of the event" in found[5]


def test_a_text_that_is_no_time_rejects_its_row_alone(flows_store, flows_rows, tmp_path):
    rows = flows_rows.head(50).copy()
    rows["StartTime"] = [str(stamp) for stamp in rows["StartTime"]]
    rows.loc[[0, 5], "StartTime"] = ["soon", "2011-02-30 10:00:00"]
    rows.to_parquet(tmp_path / "rows.parquet", index=False)
    summary = run(flows_store, tmp_path / "rows.parquet", tmp_path / "out")
    assert (summary["rows"], summary["counts"]["rejected"]) == (50, 2)
    found = verdicts(tmp_path / "out").set_index("source_row")["error"].dropna()
    assert sorted(found.index) == [0, 5]
    assert "time of the event" in found[5]


def test_two_jobs_do_not_share_an_output(flows_store, flows_folder, tmp_path):
    held = BatchOutput(BatchFolder(str(tmp_path / "out")))
    with held.locked("somebody, process 7"), pytest.raises(OutputInUse, match="somebody, process 7 writes to it"):
        run(flows_store, flows_folder, tmp_path / "out")


def test_a_killed_job_goes_on_where_it_was(flows_store, flows_folder, flows_rows, tmp_path):
    """Killed after each of its first three files, then let go to its end."""
    out = tmp_path / "out"
    words = [
        "batch", str(flows_folder), str(out), "--store-dir", str(flows_store), "--workers", "0",
        "--max-rows-per-partition", "300",
    ]  # fmt: skip
    entries = out / "_vedette" / "units"
    for kills in range(1, 4):
        process = subprocess.Popen(
            [sys.executable, "-m", "operators.cli.main", *words],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        )  # fmt: skip
        until(lambda kills=kills, process=process: len(list(entries.rglob("*.json"))) >= kills or process.poll() is not None)
        process.send_signal(signal.SIGKILL)
        process.wait()
    summary = run(flows_store, flows_folder, out, "--max-rows-per-partition", "300")
    assert summary["scored_units"] <= summary["units"] - 3
    undisturbed = tmp_path / "undisturbed"
    run(flows_store, flows_folder, undisturbed, "--max-rows-per-partition", "300")
    mine, theirs = by_row(verdicts(out)), by_row(verdicts(undisturbed))
    assert len(mine) == len(flows_rows)
    same = ["source_file", "source_row", "event_time", "host", "verdict", "score", "probability", "degraded", "revision"]
    pd.testing.assert_frame_equal(mine[same], theirs[same], check_categorical=False)
    assert not list(out.rglob("*.part"))
