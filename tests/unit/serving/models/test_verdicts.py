"""From scores to verdicts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.models.manifest import Calibration, OperatingPoint, ScoreSpec
from serving.models.verdicts import VERDICTS, CalibrationTable, VerdictThresholds, scores_of, verdict_codes

POINT = OperatingPoint(threshold=0.8, investigate=0.3, requirement="f1 >= 0.85")


@pytest.mark.parametrize(
    ("score", "verdict"),
    [
        pytest.param(0.29, "benign", id="under both"),
        pytest.param(0.3, "investigate", id="on the lower one"),
        pytest.param(0.79, "investigate", id="between"),
        pytest.param(0.8, "alert", id="on the threshold"),
        pytest.param(np.nan, "investigate", id="what cannot be judged is never benign"),
    ],
)
def test_verdict(score, verdict):
    assert VERDICTS[verdict_codes(np.array([score]), POINT)[0]] == verdict


@given(st.lists(st.floats(0, 1, width=32), min_size=2, max_size=50))
def test_a_higher_score_is_never_a_milder_verdict(scores):
    codes = verdict_codes(np.sort(np.array(scores, np.float32)), POINT)
    assert (np.diff(codes) >= 0).all()


@pytest.mark.parametrize(
    ("values", "column"),
    [
        pytest.param(np.array([[0.9, 0.1], [0.2, 0.8]], np.float32), 1, id="a column of probabilities"),
        pytest.param(np.array([[0.1], [0.8]], np.float32), None, id="one column"),
        pytest.param(np.array([0.1, 0.8]), None, id="a vector of doubles"),
    ],
)
def test_scores_of(values, column):
    got = scores_of({"p": values}, ScoreSpec(output="p", column=column), 2)
    assert got.dtype == np.float32
    assert got.tolist() == pytest.approx([0.1, 0.8])


def test_one_number_a_row_or_an_error():
    with pytest.raises(ValueError, match="one number per row"):
        scores_of({"p": np.zeros((2, 2))}, ScoreSpec(output="p"), 2)


def test_calibration_steps():
    table = CalibrationTable.of(Calibration(scores=(0.2, 0.5), low=(0.1, 0.6), high=(0.3, 0.9), rows=10))
    assert table.look_up(np.array([0.0, 0.2, 0.49, 0.5, 1.0])).tolist() == [0, 0, 0, 1, 1]
    assert (table.low <= table.merged).all()
    assert (table.merged <= table.high).all()


ANY_FP32 = st.floats(width=32, allow_nan=True, allow_infinity=True)


def near(value: float) -> list[float]:
    """An FP32 and its neighbours."""
    middle = np.float32(value)
    return [float(x) for x in (np.nextafter(middle, np.float32(-9)), middle, np.nextafter(middle, np.float32(9)))]


@given(data=st.data(), threshold=st.floats(0, 1), investigate=st.floats(0, 1))
def test_one_row_is_judged_as_it_is_among_many(data, threshold, investigate):
    point = OperatingPoint(threshold=threshold, investigate=min(threshold, investigate), requirement="any")
    score = data.draw(ANY_FP32 | st.sampled_from(near(threshold) + near(point.investigate)))
    assert VerdictThresholds.of(point).code_of(score) == verdict_codes(np.array([score, 0.0], np.float32), point)[0]


@given(data=st.data(), scores=st.lists(st.floats(-5, 5), min_size=1, max_size=20, unique=True))
def test_one_row_is_calibrated_as_it_is_among_many(data, scores):
    steps = sorted(scores)
    bounds = tuple(np.linspace(0.1, 0.8, len(steps)).tolist())
    table = CalibrationTable.of(Calibration(scores=tuple(steps), low=bounds, high=bounds, rows=10))
    score = data.draw(ANY_FP32 | st.sampled_from([near(s)[i] for s in steps for i in range(3)]))
    assert table.step_of(score) == table.look_up(np.array([score, 0.0], np.float32))[0]
