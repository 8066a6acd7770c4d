"""Keys: everything that decides a prediction is in it, and no two tenants ever share one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.cache.prediction_key import KEY_BYTES, prediction_key

ROW = {"x": np.array([[1.0, 2.0]], np.float32)}
text = st.text(max_size=8)
arrays = st.one_of(
    st.lists(st.floats(width=32), max_size=4).map(lambda v: np.array(v, np.float32)),
    st.lists(st.integers(-5, 5), max_size=4).map(lambda v: np.array(v, np.int64)),
    st.lists(text | st.binary(max_size=4), max_size=4).map(lambda v: np.array(v, dtype=object)),
)
asked = st.tuples(text, text, st.none() | text, st.lists(text, max_size=3), st.dictionaries(text, arrays, max_size=3))


def same(one, other):
    """Whether two requests are the same in every bit that counts."""
    if one[:4] != other[:4] or one[4].keys() != other[4].keys():
        return False
    pairs = [(one[4][name], other[4][name]) for name in one[4]]
    return all(
        (a.dtype, a.shape) == (b.dtype, b.shape)
        and (a.tolist() == b.tolist() if a.dtype == object else a.tobytes() == b.tobytes())
        for a, b in pairs
    )


@pytest.mark.heavy
@given(asked, asked)
def test_two_requests_share_a_key_only_if_all_is_the_same(one, other):
    assert (prediction_key(*one) == prediction_key(*other)) == same(one, other)


@given(asked, text)
def test_no_two_tenants_ever_share_an_entry(one, tenant):
    other = (tenant, *one[1:])
    assert (prediction_key(*one) == prediction_key(*other)) == (tenant == one[0])


@given(text, text, st.lists(text, max_size=3))
def test_what_one_tenant_may_choose_never_reaches_anothers_entry(mine, yours, parts):
    """Names and values run into each other in no way: each part stands behind its length."""
    whole = prediction_key(mine, "r", "p", parts, ROW)
    moved = prediction_key(yours, "r", "p", parts, ROW)
    assert (whole == moved) == (mine == yours)
    assert prediction_key(mine + "r", "", "p", parts, ROW) != whole
    assert prediction_key("", "t" + mine, "p", parts, ROW) != prediction_key("t" + mine, "", "p", parts, ROW)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(("t", "r2", "p", ["o"], ROW), id="another revision"),
        pytest.param(("t", "r", "q", ["o"], ROW), id="another operating point"),
        pytest.param(("t", "r", None, ["o"], ROW), id="no operating point"),
        pytest.param(("t", "r", "p", ["o", "q"], ROW), id="other outputs"),
        pytest.param(("t", "r", "p", ["o"], {"x": ROW["x"].astype(np.float64)}), id="another type"),
        pytest.param(("t", "r", "p", ["o"], {"x": ROW["x"].reshape(2, 1)}), id="another shape"),
        pytest.param(("t", "r", "p", ["o"], {"y": ROW["x"]}), id="another input"),
        pytest.param(("t", "r", "p", ["o"], {"x": np.array([[1.0, -0.0]], np.float32)}), id="another feature value"),
    ],
)
def test_it_is_another_key_for(other):
    assert prediction_key(*other) != prediction_key("t", "r", "p", ["o"], ROW)


def test_it_holds_nothing_a_client_sent_and_has_one_length():
    key = prediction_key("tenant", "r", "p", ["o"], {"host": np.array(["10.0.0.1"], dtype=object)})
    assert len(key) == KEY_BYTES
    assert b"10.0" not in key


def test_a_view_of_other_memory_is_the_same_key():
    wide = np.arange(8, dtype=np.float32).reshape(2, 4)
    assert prediction_key("", "r", None, [], {"x": wide[:, ::2]}) == prediction_key(
        "", "r", None, [], {"x": wide[:, ::2].copy()}
    )
