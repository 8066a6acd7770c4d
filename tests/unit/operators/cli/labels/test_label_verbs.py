"""`vedette label`: give, import, list, show, export, queue."""

import csv
import json

import pytest
from typer.testing import CliRunner

from lifecycle.labels.label_log import LabelLog
from operators.cli.main import app
from tests.fakes.labelled import PredictionLog, record

pytestmark = pytest.mark.heavy

RUNNER = CliRunner()


@pytest.fixture
def store(tmp_path):
    log = PredictionLog(tmp_path / "store" / "audit")
    log.append(
        record(1, verdicts=["alert"], request_id="evt-1"),
        record(2, verdicts=["benign", "alert"]),
        *(record(n, scores=[n / 100], columns={"x": [float(n)]}) for n in range(3, 60)),
    )
    return tmp_path / "store"


def run(store, *words, fails=False):
    said = RUNNER.invoke(app, ["label", *words, "--store-dir", str(store)])
    if not fails:
        assert said.exception is None or isinstance(said.exception, SystemExit), said.exception
        assert said.exit_code == 0, said.output
    return said


def refused(store, *words):
    return str(run(store, *words, fails=True).exception)


def current(store):
    return LabelLog(store / "labels").current("flows")


def test_a_label_is_given_corrected_and_shown(store):
    said = run(
        store,
        "give",
        "evt-1",
        "--verdict",
        "attack",
        "--family",
        "dos",
        "--sure",
        "0.9",
        "--note",
        "pcap",
        "--by",
        "ada",
        "--json",
    )
    assert json.loads(said.stdout) | {"label_id": "", "time_us": 0} == {
        "outcome": "given", "label_id": "", "event": "r-1", "model": "flows", "verdict": "attack", "family": "dos", "analyst": "ada",
        "time_us": 0, "sureness": 0.9, "note": "pcap", "source": "cli", "selection": "other", "inclusion": None,
    }  # fmt: skip
    assert (
        "corrected: r-1 of flows is benign, says eve" in run(store, "give", "r-1", "--verdict", "benign", "--by", "eve").stdout
    )
    shown = json.loads(run(store, "show", "evt-1", "--json").stdout)
    assert [one["verdict"] for one in shown["history"]] == ["attack", "benign"]
    assert shown["current"]["analyst"] == "eve"
    assert "the last counts" in run(store, "show", "r-1").stdout


def test_an_id_makes_giving_it_twice_safe(store):
    for outcome in ("given", "repeated"):
        said = run(store, "give", "r-2#1", "--verdict", "benign", "--by", "ada", "--id", "ticket-7", "--json")
        assert json.loads(said.stdout)["outcome"] == outcome
    assert "already names another label" in refused(store, "give", "r-2#1", "--verdict", "attack", "--id", "ticket-7")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        pytest.param(["r-999", "--verdict", "attack"], "--unseen", id="an answer that is not there"),
        pytest.param(["r-2", "--verdict", "attack"], "name one: r-2#0, r-2#1", id="which row"),
        pytest.param(["r-1", "--verdict", "bad"], "attack", id="a verdict that there is not"),
        pytest.param(["r-1", "--verdict", "benign", "--family", "dos"], "only an attack has a family", id="a benign family"),
        pytest.param(["r-1", "--verdict", "benign", "--sure", "2"], "sureness is 2", id="too sure"),
        pytest.param(["r-999", "--verdict", "benign", "--unseen"], "name its model", id="unseen, of which model"),
    ],
)
def test_what_is_wrong_is_said(store, words, why):
    assert why in refused(store, "give", *words)
    assert not (store / "labels").exists()


def test_an_unseen_event_is_taken_where_that_is_said(store):
    run(store, "give", "elsewhere-1", "--verdict", "benign", "--unseen", "--model", "flows")
    assert "elsewhere-1" in current(store)


def test_a_csv_is_taken_bad_rows_are_set_aside_and_reading_it_again_changes_nothing(store, tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text(
        "receipt,row,label,analyst,time,family,note\n"
        'r-1,,attack,ada,2026-01-02T03:04:05Z,dos,"a, b"\n'
        "r-2,1,benign,,,,\n"
        "r-999,,benign,,,,\n"
        "r-3,,malware,,,,\n"
        "r-4,,benign,,,dos,\n"
        "r-5,,unsure,ada,2999-01-01,,\n",
        encoding="utf-8",
    )
    said = run(store, "import", str(path), "--by", "file", "--json", fails=True)
    assert said.exit_code == 1
    found = json.loads(said.stdout)
    assert (found["given"], found["repeated"]) == (2, 0)
    assert [one["line"] for one in found["set_aside"]] == [4, 5, 6, 7]
    with (tmp_path / "labels.csv.rejected.csv").open(encoding="utf-8", newline="") as file:
        rejected = list(csv.DictReader(file))
    assert "no answer" in rejected[0]["reason"]
    assert "future" in rejected[3]["reason"]
    assert (current(store)["r-1"].time_us, current(store)["r-1"].family) == (1767323045000000, "dos")
    assert current(store)["r-2#1"].analyst == "file"
    again = json.loads(run(store, "import", str(path), "--by", "file", "--json", fails=True).stdout)
    assert (again["given"], again["repeated"], again["corrected"]) == (0, 2, 0)


def test_what_is_exported_can_be_imported(store, tmp_path):
    run(store, "give", "r-1", "--verdict", "attack", "--family", "dos", "--by", "ada")
    run(store, "give", "r-2#0", "--verdict", "benign", "--by", "eve", "--sure", "0.5")
    for name in ("out.csv", "out.jsonl"):
        run(store, "export", str(tmp_path / name))
        other = tmp_path / f"other-{name}"
        PredictionLog(other / "audit").append(record(1, verdicts=["alert"]), record(2, verdicts=["benign", "alert"]))
        run(other, "import", str(tmp_path / name))
        mine, theirs = current(store), current(other)
        assert {e: (w.verdict, w.family, w.sureness, w.analyst, w.time_us, w.label_id) for e, w in theirs.items()} == {
            e: (w.verdict, w.family, w.sureness, w.analyst, w.time_us, w.label_id) for e, w in mine.items()
        }
    lines = run(store, "export").stdout.splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["r-1", "r-2#0"]


def test_the_list_has_the_last_words_and_their_count(store):
    assert "no label was given yet" in refused(store, "list")
    run(store, "give", "r-1", "--verdict", "attack", "--by", "ada")
    run(store, "give", "r-1", "--verdict", "benign", "--by", "ada")
    run(store, "give", "r-3", "--verdict", "unsure", "--by", "eve")
    assert "2 events are labelled: 0 attack, 1 benign, 1 unsure" in run(store, "list").stdout
    assert [one["event"] for one in json.loads(run(store, "list", "--by", "eve", "--json").stdout)] == ["r-3"]
    assert json.loads(run(store, "list", "--since", "2999-01-01", "--json").stdout) == []
    assert "is not a time" in refused(store, "list", "--since", "yesterday")


def test_the_queue_is_drawn_once_and_labels_of_it_say_so(store):
    drawn = ["queue", "flows", "--budget", "10", "--since", "2025-01-01", "--json"]
    first = json.loads(run(store, *drawn).stdout)
    assert len(first["events"]) == 10
    assert first["drawn"]["rows"] == 60
    again = json.loads(run(store, *drawn).stdout)
    assert {one["event"] for one in again["events"]} == {one["event"] for one in first["events"]}
    assert again["drawn"] is None
    sampled = next(one for one in first["events"] if one["selection"] == "audit")
    given = json.loads(run(store, "give", sampled["event"], "--verdict", "benign", "--json").stdout)
    assert (given["selection"], given["inclusion"]) == ("audit", sampled["inclusion"])
    later = json.loads(run(store, *drawn).stdout)
    assert sampled["event"] not in {one["event"] for one in later["events"]}
    assert "random sample" in run(store, *drawn[:-1]).stdout


def test_a_dry_run_records_nothing(store):
    run(store, "queue", "flows", "--since", "2025-01-01", "--dry-run")
    assert not (store / "labels").exists()


def test_shares_beyond_the_budget_are_refused(store):
    assert "add up to more than 1" in refused(store, "queue", "flows", "--audit-share", "0.8", "--alert-share", "0.8")


def test_a_password_of_kafka_is_refused_as_an_argument(store, tmp_path):
    follow = ("follow", "--bootstrap", "127.0.0.1:1", "--topic", "labels")
    said = refused(store, *follow, "--option", "sasl.password=hunter2")
    assert "write it to a file, and give --option-file sasl.password=FILE" in said
    assert "hunter2" not in said
    assert "cannot be read" in refused(store, *follow, "--option-file", f"sasl.password={tmp_path}/none")
    assert "write NAME=FILE" in refused(store, *follow, "--option-file", "hunter2")
