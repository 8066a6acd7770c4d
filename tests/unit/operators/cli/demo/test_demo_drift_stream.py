"""The stream of the drift demonstration: what changes is the traffic and nothing else; its files are what the verbs take."""

import csv

import numpy as np
import pytest

from lifecycle.datasets.data import check_data
from lifecycle.datasets.declarations import read_detector
from lifecycle.retraining.policy import read_policy
from operators.cli.demo.drift.files import write_files, write_labels
from operators.cli.demo.drift.play import EventStream
from operators.cli.demo.drift.stream import AFTER, ATTACKS, BEFORE, BENIGN, FIELDS, NEW_FAMILY, OLD_FAMILIES, sessions
from operators.cli.rollout.start import rollout_steps

N = 4000


def drawn(*, is_drifted, seed=5):
    return sessions(np.random.default_rng(seed), N, is_drifted=is_drifted)


@pytest.mark.parametrize("mix", [pytest.param(BEFORE, id="before"), pytest.param(AFTER, id="after")])
def test_the_shares_of_a_mix_are_shares(mix):
    assert sum(mix.values()) == pytest.approx(1.0)


def test_the_same_seed_gives_the_same_sessions():
    first, again, other = drawn(is_drifted=True), drawn(is_drifted=True), drawn(is_drifted=True, seed=6)
    assert first.frame().equals(again.frame())
    assert not first.frame().equals(other.frame())


@pytest.mark.parametrize("is_drifted", [False, True])
def test_as_many_sessions_are_attacks_before_as_after(is_drifted):
    assert np.mean(drawn(is_drifted=is_drifted).family != BENIGN) == pytest.approx(ATTACKS, abs=0.02)


def test_the_new_family_comes_with_the_drift_and_no_old_one_goes():
    before, after = set(drawn(is_drifted=False).family), set(drawn(is_drifted=True).family)
    assert before == {BENIGN, *OLD_FAMILIES}
    assert after == {*before, NEW_FAMILY}


def test_the_drift_is_in_what_detectors_are_asked_about():
    shares = [
        float(np.mean((one.rows["proto"] == "udp") & (one.rows["port"] == 443)))
        for one in (drawn(is_drifted=False), drawn(is_drifted=True))
    ]
    assert shares[0] == 0.0
    assert shares[1] > 0.3


def test_its_files_are_what_the_verbs_take(tmp_path):
    write_files(tmp_path, drawn(is_drifted=False))
    detector = read_detector(str(tmp_path / "sessions.yaml"))
    data = check_data(detector, drawn(is_drifted=False).frame(), where="sessions")
    assert data.attack.mean() == pytest.approx(ATTACKS, abs=0.02)
    assert list(detector.request_fields) == list(FIELDS)
    policy = read_policy(tmp_path / "retraining.yaml")
    assert policy.strategies.on_demand.kinds == ("data_drift", "prediction_drift")
    assert policy.rollout == "steps.yaml"
    assert next(iter(rollout_steps(str(tmp_path / "steps.yaml"))["policy"]["steps"][0])) == "mirror"


def test_the_analyst_says_the_truth_and_nothing_of_what_is_not_known(tmp_path):
    path = tmp_path / "labels.csv"
    write_labels(path, ["r1", "r2", "r3"], {"r1": "scan", "r3": BENIGN})
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["event"], row["verdict"], row["family"]) for row in rows] == [("r1", "attack", "scan"), ("r3", "benign", "")]


def test_the_next_event_after_the_drift_is_a_drifted_one():
    stream = EventStream(3)
    events = iter(stream)
    assert {next(events).phase for _ in range(10)} == {"quiet"}
    stream.is_drifted = True
    assert {next(events).phase for _ in range(10)} == {"drifted"}


def test_an_event_is_sent_with_the_datatypes_of_the_protocol():
    event = next(iter(EventStream(3)))
    assert {name: datatype for name, (datatype, _) in event.row.items()} == {
        "proto": "BYTES", "port": "INT64", "duration": "FP64", "packets": "INT64", "packet_size": "FP64", "bytes_out": "INT64",
        "bytes_in": "INT64",
    }  # fmt: skip
