"""`vedette report fairness`: what the prediction log's answers were by segment, with analysts' labels where there are some."""

import json

import pytest
from typer.testing import CliRunner

from operators.cli.main import app
from serving.models.store import BundleStore
from tests.fakes.serving.records import record
from tests.unit.lifecycle.governance.archive.logs import START_US, LogWorld
from tests.unit.serving.scoring.variants import threat

FROM, TO = "2023-11-14T22:13:20", "2023-11-15"


def hosts(count, unit, alerts):
    """One row of each of `count` hosts, the first `alerts` of which alert."""
    names = [f"{unit}{i}" for i in range(count)]
    return names, ["alert" if i < alerts else "benign" for i in range(count)]


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    world = LogWorld(tmp_path / "store")
    BundleStore(world.store).add(threat(tmp_path / "bundle", "1", 1.0))
    many, few = hosts(150, "a", 45), hosts(600, "b", 30)
    for number, (names, verdicts) in enumerate((many, few)):
        world.write(
            record(
                receipt=f"r-{number}", time_us=START_US + number, model="threat", rows=len(names), verdicts=verdicts,
                scores=[0.5] * len(names), degraded=[False] * len(names), features={}, event_times_us={},
                inputs={"host": {"datatype": "BYTES", "shape": [len(names)], "data": names}},
            ),
            log=f"{number + 1}-aa",
        )  # fmt: skip
    lines = "".join(f"{n},north\n" for n in many[0]) + "".join(f"{n},south\n" for n in few[0][:400])
    (tmp_path / "units.csv").write_text(f"entity,unit\n{lines}", encoding="utf-8")
    return tmp_path


def test_a_disparity_in_a_window_of_the_log_is_found(store):
    words = ["report", "fairness", "threat", "--segments", str(store / "units.csv"), "--store-dir", str(store / "store")]
    done = CliRunner().invoke(app, [*words, "--from", FROM, "--to", TO, "--json"])
    assert done.exit_code == 1, done.output
    said = json.loads(done.stdout)
    assert said["findings"][0] == "unit=north alert_rate"
    assert (said["rows"], said["unmapped"]) == (750, 200)
    table = CliRunner().invoke(app, [*words, "--from", FROM, "--to", TO])
    assert "unit=north: alerts, of all rows: 45/150" in table.stdout
    empty = CliRunner().invoke(app, [*words, "--from", "2020-01-01", "--to", "2020-01-02"])
    assert "no verdict of 'threat' in that time" in str(empty.exception)


def test_labels_give_false_positives_and_negatives(store):
    lines = [f"r-0,{i},{'attack' if i < 15 or i >= 130 else 'benign'}" for i in range(150)]
    lines += [f"r-1,{i},benign" for i in range(600)]
    (store / "labels.csv").write_text("receipt,row,label\n" + "\n".join(lines) + "\n", encoding="utf-8")
    words = ["report", "fairness", "threat", "--segments", str(store / "units.csv"), "--store-dir", str(store / "store")]
    done = CliRunner().invoke(app, [*words, "--labels", str(store / "labels.csv"), "--from", FROM, "--to", TO, "--json"])
    said = {(d["value"], d["rate"]): d for d in json.loads(done.stdout)["disparities"]}
    north = said["north", "false_positive_rate"]["segment"]
    assert (north["events"], north["total"]) == (30, 115)
    missed = said["north", "false_negative_rate"]["segment"]
    assert (missed["events"], missed["total"]) == (20, 35)
    (store / "labels.csv").write_text("receipt,row,label\nr-0,x,attack\n", encoding="utf-8")
    broken = CliRunner().invoke(app, [*words, "--labels", str(store / "labels.csv"), "--from", FROM, "--to", TO])
    assert "labels.csv, line 2: is not a label" in str(broken.exception)


def test_entities_that_the_log_hides_count_with_the_rest(store):
    from lifecycle.governance.reports.answered_rows import answered_rows
    from serving.audit.encoding import encode_record
    from serving.audit.personal.subject_keys import SubjectKeys

    hidden = {"datatype": "BYTES", "shape": [2], "data": ["x", "y"], "redacted": "hash"}
    shown = {"datatype": "BYTES", "shape": [2], "data": ["n1", "n2"]}
    lines = [
        encode_record(record(receipt=f"r{i}", rows=2, inputs={"host": host}, verdicts=["alert", "benign"], scores=[0.9, 0.1],
                             degraded=[False, False], row_numbers=[3, 5]))[:-1]
        for i, host in enumerate((hidden, shown))
    ]  # fmt: skip
    found = answered_rows(lines, "host", SubjectKeys(store / "keys"), {("r1", 5): True})
    assert found.without_entity == 2
    assert found.entity.tolist()[2:] == ["n1", "n2"]
    assert found.alert.tolist() == [True, False, True, False]
    assert found.attack.tolist() == [False, False, False, True]
