"""`vedette audit verify` of a store from which a whole log was removed."""

import json
import shutil
import time

import pytest
from typer.testing import CliRunner

from lifecycle.governance.acts import Act, ActsLog
from lifecycle.labels.label import Label
from lifecycle.labels.label_log import LabelLog
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


@pytest.fixture
def labelled(store):
    """The same store with labels, and an act after them."""
    keys = Keyring.of(store, None, None)
    log = LabelLog(store / "labels", signer=keys.signer, knows=keys.knows)
    for number in range(3):
        log.give(
            Label(label_id=f"l{number}", event=f"r{number}", model="flows", verdict="attack", analyst="ada", time_us=now_us())
        )
    act = Act(time_us=now_us(), actor="ada", action="rollout.pause", subject="modelservice/local/flows", reason="r")
    acts = ActsLog(store / "governance", signer=keys.signer, now_us=now_us)
    acts.record(act)
    return store


def test_the_labels_of_a_store_are_verified_with_its_other_logs(labelled):
    said, findings = verified(labelled)
    assert (said.exit_code, findings) == (0, [])
    logs = {log["log"]: log["records"] for one in json.loads(said.stdout)["folders"] for log in one["logs"]}
    assert logs == {"replica": 2, "governance": 2, "labels": 3}


def test_a_label_that_was_changed_is_found(labelled):
    (records,) = (labelled / "labels").glob("segment-*.jsonl")
    records.write_bytes(records.read_bytes().replace(b"attack", b"benign", 1))
    said, findings = verified(labelled)
    assert (said.exit_code, findings) == (1, [("changed", "labels")])


def test_the_labels_speak_of_the_acts_and_of_the_predictions(labelled):
    shutil.rmtree(labelled / "governance")
    shutil.rmtree(labelled / "audit")
    said, findings = verified(labelled)
    assert said.exit_code == 1
    assert set(findings) == {("replica missing", "audit"), ("replica missing", "governance")}


def test_labels_that_were_removed_are_told_by_a_checkpoint_made_after_them(labelled):
    acts = ActsLog(
        labelled / "governance", signer=Keyring.of(labelled, None, None).signer, now_us=lambda: now_us() + 120_000_000
    )
    acts.record(Act(time_us=now_us(), actor="ada", action="rollout.resume", subject="modelservice/local/flows", reason="r"))
    shutil.rmtree(labelled / "labels")
    said, findings = verified(labelled)
    assert (said.exit_code, findings) == (1, [("replica missing", "labels")])


def test_a_log_planted_by_the_name_of_another_turns_no_claim_away(labelled):
    """A log called `labels` among the predictions does not make the folder one of labels, of whose predictions nobody asks."""
    (place,) = (labelled / "audit").glob("segment-*.jsonl")
    for path in [place, *(labelled / "audit" / "chain").glob("segment-*")]:
        path.unlink()
    (labelled / "audit" / f"segment-{now_us():016d}-labels-000001.jsonl").write_bytes(record_line("x", now_us()))
    _, findings = verified(labelled)
    assert ("replica missing", "audit") in findings
