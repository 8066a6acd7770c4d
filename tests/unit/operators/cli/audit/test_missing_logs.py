"""`vedette audit verify` of a store from which a whole log was removed."""

import json
import shutil
import time

import pytest
from typer.testing import CliRunner

from lifecycle.governance.acts import Act, ActsLog
from operators.cli.main import app
from serving.audit.keys.keyring import Keyring
from serving.audit.segments import ChainedSegments
from serving.audit.witnesses import newest_of_others
from tests.fakes.audit.honest_logs import record_line

RUNNER = CliRunner()


def now_us() -> int:
    return time.time_ns() // 1000


@pytest.fixture
def store(tmp_path):
    """A store that served, with an act after the first answers and answers after the act."""
    place = tmp_path / "store"
    keys = Keyring.of(place, None, None)
    predictions = ChainedSegments(
        place / "audit",
        "replica",
        segment_bytes=1 << 20,
        signer=keys.signer,
        now_us=now_us,
        beside=lambda: newest_of_others(place / "governance", "", keys.knows),
        is_known=keys.knows,
    )
    predictions.append([record_line("replica", now_us())])
    predictions.checkpoint()
    act = Act(time_us=now_us(), actor="ada", action="rollout.start", subject="modelservice/local/flows", reason="r")
    ActsLog(place / "governance", signer=keys.signer, now_us=now_us).record(act)
    predictions.append([record_line("replica", now_us())])
    predictions.end()
    return place


def verified(store, *words):
    said = RUNNER.invoke(app, ["audit", "verify", "--store-dir", str(store), "--json", *words], catch_exceptions=True)
    found = json.loads(said.stdout) if said.stdout else {"folders": []}
    return said, [(f["kind"], one["folder"].rpartition("/")[2]) for one in found["folders"] for f in one["findings"]]


def test_a_store_from_which_nothing_was_removed_is_sound(store):
    said, findings = verified(store)
    assert (said.exit_code, findings) == (0, [])


@pytest.mark.parametrize(
    "is_emptied", [pytest.param(False, id="the folder is gone"), pytest.param(True, id="the folder is empty")]
)
@pytest.mark.parametrize("log", ["audit", "governance"])
def test_a_whole_log_that_was_removed_is_told_by_the_other(store, log, is_emptied):
    shutil.rmtree(store / log)
    if is_emptied:
        (store / log).mkdir()
    said, findings = verified(store)
    assert said.exit_code == 1
    assert findings == [("replica missing", log)]


def test_a_prediction_log_put_back_to_an_older_copy_is_told_by_the_acts(store):
    (records,) = (store / "audit").glob("segment-*.jsonl")
    lines = records.read_bytes().splitlines(keepends=True)
    (notes,) = (store / "audit" / "chain").glob("*.checkpoints")
    records.write_bytes(b"")
    notes.write_bytes(notes.read_bytes().splitlines(keepends=True)[0])
    (store / "audit" / "chain" / f"{records.stem}.hashes").write_bytes(b"")
    said, findings = verified(store)
    assert (said.exit_code, findings) == (1, [("rolled back", "audit")])
    assert len(lines) == 2


def without_logs(store):
    for log in ("audit", "governance"):
        shutil.rmtree(store / log)


@pytest.mark.parametrize(
    ("path", "missing"),
    [
        pytest.param("revisions/1f0c.json", "audit", id="it has loaded revisions"),
        pytest.param("served.json", "audit", id="it says what is served"),
        pytest.param("archive/segment-1700000000000000-a-000001.parquet", "audit", id="its archive has segments"),
        pytest.param("control/flows.yaml", "governance", id="it has a service document"),
        pytest.param("registry/models/flows/history/000001.json", "governance", id="its registry has a history"),
    ],
)
def test_both_logs_removed_are_told_by_what_else_the_store_has(store, path, missing):
    without_logs(store)
    (store / path).parent.mkdir(parents=True, exist_ok=True)
    (store / path).write_text("{}", encoding="utf-8")
    said, findings = verified(store)
    assert said.exit_code == 1
    assert ("log missing", missing) in findings


def test_a_store_that_served_without_a_log_lacks_none(store, monkeypatch):
    without_logs(store)
    (store / "served.json").write_text("{}", encoding="utf-8")
    monkeypatch.setenv("VEDETTE_AUDIT", "off")
    said, findings = verified(store)
    assert findings == []
    assert "nothing was verified" in str(said.exception)


def test_a_store_of_which_nothing_is_left_but_its_keys_cannot_be_called_sound(store):
    without_logs(store)
    said, _ = verified(store)
    assert said.exit_code == 1
    assert "nothing was verified" in str(said.exception)


def test_an_anchor_tells_of_a_prediction_log_that_is_gone_although_the_acts_are_there(store, tmp_path):
    from serving.audit.anchors.folder import FolderAnchor
    from serving.audit.segment_files import newest_notes

    depot = FolderAnchor(tmp_path / "depot")
    for note in newest_notes(store / "audit"):
        depot.publish(note)
    shutil.rmtree(store / "audit")
    said, findings = verified(store, "--anchor", (tmp_path / "depot").as_uri())
    assert (said.exit_code, findings) == (1, [("replica missing", "audit")])
