"""Rows for a comparison are those that no bundle of the detector was trained on."""

import dataclasses

import numpy as np
import pytest

from lifecycle.datasets.data import check_data
from lifecycle.errors import EvaluationError
from lifecycle.evaluation.held_out import held_out
from lifecycle.training.train import prepare
from tests.unit.lifecycle.declared import PLAIN, detector, rows


@pytest.mark.parametrize("is_generated", [pytest.param(False, id="given rows"), pytest.param(True, id="generated rows")])
def test_they_are_the_part_that_training_takes_off(is_generated):
    declared = detector(source__generated_split={"by": "features", "test": 0.4}, source__generator="flows")
    data = dataclasses.replace(check_data(declared, rows(), where="x"), is_generated=is_generated)
    parts = prepare(declared, data, None, with_test=True).parts
    found = held_out(declared, data, None, None)
    np.testing.assert_array_equal(found.frame.index.to_numpy(), np.flatnonzero(parts.test))
    assert (found.source, found.data_digest) == ("split", data.digest)


def test_a_test_file_is_judged_whole_or_where_it_is_verified():
    label = {**PLAIN["label"], "negative": {"equals": ["fine"]}}
    frame = rows(50).assign(verdict=lambda f: f["verdict"].where(f.index != 7, "unknown"))
    for others, expected in (("unverified", 50), ("ignore", 49)):
        declared = detector(label={**label, "others": others})
        test = check_data(declared, frame, where="test")
        found = held_out(declared, None, test, None)
        assert (len(found.rows), len(found.frame), found.source) == (expected, expected, "test file")


def test_without_any_it_is_said():
    with pytest.raises(EvaluationError, match="neither rows"):
        held_out(detector(), None, None, None)
    declared = detector(split={"by": "rows", "test": 0.0})
    with pytest.raises(EvaluationError, match="sets no test rows aside"):
        held_out(declared, check_data(declared, rows(), where="x"), None, None)
