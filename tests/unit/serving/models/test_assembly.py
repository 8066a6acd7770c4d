"""How columns become the graph's tensors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.models.assembly import assemble
from serving.ports import TensorPlan

COLUMNS = {
    "f64": np.array([0.1, 1e300, -7.5]),
    "f32": np.array([0.1, 2.5, -0.0], np.float32),
    "i64": np.array([2**53 + 1, -3, 0]),
    "flag": np.array([True, False, True]),
    "object": np.array([0.1, 2, True], dtype=object),
}


@pytest.mark.filterwarnings("ignore:overflow")
@given(
    names=st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, max_size=6),
    dtype=st.sampled_from([np.float32, np.float64, np.object_]),
)
def test_one_row_is_put_together_as_it_is_among_many(names, dtype):
    plan = (TensorPlan("x", np.dtype(dtype), tuple(names), is_matrix=True),)
    many = assemble(plan, COLUMNS, 3)["x"]
    for row in range(3):
        one = assemble(plan, {name: column[row : row + 1] for name, column in COLUMNS.items()}, 1)["x"]
        assert (one.shape, one.dtype) == ((1, len(names)), many.dtype)
        assert [(type(a), repr(a)) for a in one[0].tolist()] == [(type(a), repr(a)) for a in many[row].tolist()]
