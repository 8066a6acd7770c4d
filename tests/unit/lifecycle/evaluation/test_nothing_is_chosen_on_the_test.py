"""Rows that are kept for evaluation are scored and counted. No threshold, calibration or model depends on them."""

import numpy as np
import pytest

from lifecycle.datasets.data import check_data
from lifecycle.evaluation.evaluate import evaluate
from tests.unit.lifecycle.declared import detector, rows

TYPES = {
    "source__columns__kind": "string",
    "label": {"column": "verdict", "positive": {"equals": ["attack"]}, "type_column": "kind"},
    "split": {"by": "types", "folds": 2, "benign_kinds": 5},
}


def typed(n, seed):
    frame = rows(n, seed)
    return frame.assign(kind=np.where(frame["verdict"] == "attack", np.array(list("abcd"))[np.arange(n) % 4], "normal"))


@pytest.mark.heavy
@pytest.mark.parametrize(
    "split", [pytest.param(TYPES, id="left-out types"), pytest.param(TYPES | {"split": {"by": "rows"}}, id="rows")]
)
def test_another_test_file_gives_the_same_bundle(split):
    """One with other rows, and one with every label turned round: whoever looked at either would choose otherwise."""
    declared = detector(**split)
    data = check_data(declared, typed(600, 0), where="train")
    other = typed(300, 9)
    turned = other.assign(verdict=np.where(other["verdict"] == "attack", "fine", "attack"))
    tests = [check_data(declared, frame, where="test") for frame in (typed(300, 5), other, turned)]
    results = [evaluate(declared, data, test, None, seeds=1).seeds[0] for test in tests]
    assert len({r.digest for r in results}) == 1
    assert results[0].points == results[1].points == results[2].points
    assert results[1].units[0].points[0].rates != results[2].units[0].points[0].rates, "but they were judged"


@pytest.mark.heavy
def test_a_split_keeps_its_test_rows_out_of_the_choice():
    """The same with a test part that is taken off: its labels may be anything."""
    declared = detector()
    frame = rows(900)
    data = check_data(declared, frame, where="x")
    from lifecycle.datasets.split import split

    mask = split(declared, data, with_test=True).test
    label = np.where(frame["verdict"] == "attack", "fine", "attack")
    turned = frame.assign(verdict=np.where(mask, label, frame["verdict"]))
    first, second = (
        evaluate(declared, check_data(declared, f, where="x"), None, None, seeds=1).seeds[0] for f in (frame, turned)
    )
    assert first.points == second.points
    assert first.units[0].points[0].rates != second.units[0].points[0].rates
