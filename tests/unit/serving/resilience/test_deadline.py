"""How a request's time is carved: by example, and the laws of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import DeadlineExceeded
from serving.resilience.deadline import ANSWER_S, read_slice_s, run_slice_s, too_late

seconds = st.floats(-1.0, 100.0, allow_nan=False)
durations = st.floats(0.0, 100.0, allow_nan=False)


@pytest.mark.parametrize(
    ("left_s", "run_s", "expected_s"),
    [
        pytest.param(2.0, 0.0001, 0.05, id="with time to spare a read gets all it may take"),
        pytest.param(0.03, 0.009, 0.02, id="the model's part and the answer's are kept back"),
        pytest.param(0.04, 1.0, 0.019, id="a model that takes too long anyway leaves the read half"),
        pytest.param(0.001, 0.0, 0.0, id="what no store could answer in is not attempted"),
        pytest.param(-0.1, 0.001, 0.0, id="nothing is left"),
    ],
)
def test_the_read_gets(left_s, run_s, expected_s):
    assert read_slice_s(left_s, 0.05, run_s) == pytest.approx(expected_s)


@given(seconds, durations, durations)
def test_no_slice_is_longer_than_what_is_left_and_the_model_has_its_part(left_s, most_s, run_s):
    read_s = read_slice_s(left_s, most_s, run_s)
    assert 0.0 <= read_s <= max(most_s, 0.0)
    if read_s:
        assert read_s + min(run_s, left_s / 2) + ANSWER_S <= left_s + 1e-9


@given(seconds, st.floats(0.0, 1.0))
def test_the_run_ends_in_time_for_the_answer(left_s, share):
    slice_s = run_slice_s(left_s, share)
    assert 0.0 <= slice_s <= max(left_s, 0.0)
    if left_s > 2 * ANSWER_S:
        assert slice_s <= left_s - ANSWER_S


@pytest.mark.parametrize(
    ("allowed_s", "is_refused"),
    [
        pytest.param(0.0, True, id="the time is over on arrival"),
        pytest.param(-1.0, True, id="long over"),
        pytest.param(0.004, True, id="less than the model takes"),
        pytest.param(0.006, False, id="enough"),
    ],
)
def test_refused_before_any_work(allowed_s, is_refused):
    refusal = too_late("m", allowed_s, 0.005)
    assert isinstance(refusal, DeadlineExceeded) == is_refused
