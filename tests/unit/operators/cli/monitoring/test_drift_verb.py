"""`vedette drift` as it is typed: what `vedette score` answered into the log, with analysts' labels, and rows of files."""

import json
import time
from dataclasses import replace

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from lifecycle.labels.label import Label
from lifecycle.labels.label_log import LabelLog
from lifecycle.monitoring.drift.samples import answered_window
from lifecycle.monitoring.windows.answered import read_answers
from operators.cli.console import CommandError
from operators.cli.main import app
from serving.models.build import build_bundle
from serving.models.store import BundleStore
from tests.unit.lifecycle.declared import body, rows

pytestmark = pytest.mark.heavy

FIELDS = ["method", "failures", "seconds"]


def vedette(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def answered(folder, frame):
    """Have these rows scored, so that the log has them."""
    path = folder / "rows.parquet"
    frame[FIELDS].to_parquet(path)
    done = vedette("score", path, "--model", "logins", "--out", folder / "out.jsonl", "--store-dir", folder / "store")
    assert done.exit_code == 0, (done.output, done.exception)


@pytest.fixture
def place(tmp_path):
    (tmp_path / "logins.yaml").write_text(yaml.safe_dump(body()), encoding="utf-8")
    rows(2000).to_csv(tmp_path / "logins.csv", index=False)
    done = vedette("train", tmp_path / "logins.yaml", "--data", tmp_path / "logins.csv", "--store-dir", tmp_path / "store")
    assert done.exit_code == 0, done.output
    return tmp_path


def drift(place, *words, code):
    done = vedette("drift", *words, "--store-dir", place / "store", "--json")
    assert done.exit_code == code, (done.output, done.exception)
    return json.loads(done.stdout)


def test_answers_to_rows_of_the_same_kind_have_not_drifted(place):
    answered(place, rows(1500, seed=7))
    record = drift(place, "logins", code=0)
    assert record["current"]["rows"] == 1500
    assert {c["subject"] for c in record["checks"]} >= {"failures", "seconds", "method", "score", "verdict"}


def test_a_column_that_moved_is_named_and_labels_show_that_the_answers_are_wrong(place):
    frame = rows(1500, seed=8)
    frame["failures"] += 5  # a sensor that counts more: benign logins look like attacks
    answered(place, frame)
    events = read_answers(place / "store" / "audit", "logins").events.tolist()
    labels = [
        Label(label_id=str(i), event=event, model="logins", verdict=verdict, analyst="ada", time_us=time.time_ns() // 1000)
        for i, (event, verdict) in enumerate(
            zip(events, frame["verdict"].map({"attack": "attack", "fine": "benign"}), strict=True)
        )
    ]
    LabelLog(place / "store" / "labels").give_all(labels)
    record = drift(place, "logins", "--by", "method", code=1)
    found = {(c["kind"], c["subject"]) for c in record["checks"] if c["is_finding"]}
    assert {("data", "failures"), ("prediction", "score"), ("concept", "attacks at equal score")} <= found
    assert record["kinds"] == ["data", "prediction", "concept"]
    assert "vedette retrain" in record["advice"][0]


def test_of_more_rows_than_are_compared_some_are_drawn_and_all_labels_are_used(place):
    for seed in range(30, 34):
        answered(place, rows(500, seed=seed))
    found = read_answers(place / "store" / "audit", "logins")
    verdicts = ["attack" if score > 0.5 else "benign" for score in found.scores.tolist()]
    labels = [
        Label(label_id=event, event=event, model="logins", verdict=verdict, analyst="ada", time_us=time.time_ns() // 1000)
        for event, verdict in zip(found.events.tolist(), verdicts, strict=True)
    ]
    LabelLog(place / "store" / "labels").give_all(labels)
    done = vedette("drift", "logins", "--most-rows", 1000, "--store-dir", place / "store")
    assert "drawn of the answered rows" in done.stdout or "were drawn (--most-rows)" in done.stdout
    assert "attacks at equal score" in done.stdout.partition("Not judged")[0]


@pytest.mark.parametrize("window", [("--from", "2099-01-01"), ("--from", "2026-01-02", "--to", "2026-01-01")])
def test_a_window_that_cannot_have_answers_is_refused(place, window):
    assert "--from must be before --to" in str(vedette("drift", "logins", *window, "--store-dir", place / "store").exception)


def test_a_column_that_no_record_has_any_more_is_missing_in_all_rows(place):
    answered(place, rows(300, seed=7))
    found = read_answers(place / "store" / "audit", "logins")
    bundle = BundleStore(place / "store").resolve("logins")
    cut = replace(found, columns={name: column for name, column in found.columns.items() if name != "seconds"})
    assert np.isnan(answered_window(bundle, cut).columns["seconds"]).all()
    tensors = replace(found, columns={"numeric[0]": found.columns["seconds"]})
    assert answered_window(bundle, tensors).columns.keys() == {"numeric[0]"}


def test_rows_of_a_file_are_compared_with_those_of_training(place):
    shifted = rows(1500, seed=9)
    shifted["seconds"] *= 3
    shifted.to_csv(place / "new.csv", index=False)
    record = drift(place, "logins", "--current", place / "new.csv", code=1)
    assert "seconds" in {c["subject"] for c in record["checks"] if c["is_finding"]}
    gate = vedette(
        "gate", "logins", "--data", place / "logins.csv", "--newer", place / "new.csv", "--store-dir", place / "store", "--json"
    )
    (check,) = [c for c in json.loads(gate.stdout)["checks"] if c["name"] == "drift"]
    assert check["outcome"] == "failed"
    assert "seconds" in check["words"]


def test_a_window_that_nothing_of_could_be_judged_is_no_pass(place):
    rows(300, seed=9).head(40).to_csv(place / "few.csv", index=False)
    record = drift(place, "logins", "--current", place / "few.csv", code=1)
    assert record["summary"] == ["Nothing could be judged: see below."]
    assert "--by nowhere" in str(vedette("drift", "logins", "--current", place / "few.csv", "--by", "nowhere",
                                         "--store-dir", place / "store").exception)  # fmt: skip


def test_what_there_is_nothing_to_compare_with_is_said(place):
    assert "widen --from and --to" in str(vedette("drift", "logins", "--store-dir", place / "store").exception)
    assert isinstance(vedette("drift").exception, CommandError)
    bundle = BundleStore(place / "store").resolve("logins")
    build_bundle(place / "bare", model=bundle.model_path.read_bytes(), name="bare", version="1")
    assert "reference/sample.json" in str(vedette("drift", place / "bare", "--store-dir", place / "store").exception)
