from pathlib import Path

import pytest

from lifecycle.performance.labelled_rows import ATTACK, BENIGN, NO_LABEL
from lifecycle.performance.reading import PerformanceReader
from tests.fakes.labelled import SECOND_US, START_US, PredictionLog, record, said


@pytest.fixture
def log(tmp_path: Path) -> Path:
    log = PredictionLog(tmp_path / "audit")
    log.append(
        record(1, verdicts=("alert", "benign"), columns={"port": [80.0, 22.0]}),
        record(3, verdicts=("benign",), columns={"port": [80.0]}),
        record(2, verdicts=("alert",), variant="candidate"),
        record(4, verdicts=("alert",), model="web"),
        record(5, verdicts=("investigate",), revision="sha256:bb"),
    )
    return log.folder


LABELS = [said(1, "attack", "r-1#1"), said(3, "benign"), said(2, "benign"), said(5, "unsure")]


def test_rows_of_stable_in_the_order_of_time_with_their_labels(log: Path):
    found = PerformanceReader(log, "flows", LABELS, segment="port").read(None, None)
    assert found.rows.label.tolist()[:3] == [NO_LABEL, ATTACK, BENIGN]
    assert found.rows.alert.tolist() == [True, False, False, False]
    assert found.segments.tolist() == ["80", "22", "80", ""]
    assert found.revisions[-1] == "sha256:bb"


def test_only_labelled_rows_are_those_of_all_that_have_a_definite_label(log: Path):
    reader = PerformanceReader(log, "flows", LABELS)
    every, few = reader.read(None, None), reader.read(None, None, only_labelled=True)
    assert few.rows.label.tolist() == every.rows.label[every.rows.is_definite].tolist() == [ATTACK, BENIGN]
    assert few.rows.times_us.tolist() == [START_US + SECOND_US, START_US + 3 * SECOND_US]


def test_a_time_begins_with_its_first_moment_and_ends_before_its_last(log: Path):
    reader = PerformanceReader(log, "flows", LABELS)
    assert len(reader.read(START_US + SECOND_US, START_US + 3 * SECOND_US)) == 2
    assert len(reader.read(None, START_US)) == 0


def test_a_label_of_later_is_not_known_yet(log: Path):
    early = PerformanceReader(log, "flows", LABELS, until_us=START_US + 10 * SECOND_US)
    assert (early.read(None, None).rows.label == NO_LABEL).all()
