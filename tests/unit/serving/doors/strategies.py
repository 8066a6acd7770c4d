"""Hypothesis strategies for the protocol's values: any tensor, request and answer."""

import math

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from serving.messages import DTYPES, InferAnswer, InferRequest, RequestedOutput, Tensor

SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
SCALARS = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8"), max_size=8),
)
RESERVED = {"timeout", "binary_data_output", "binary_data", "binary_data_size", "shared_memory_region", "classification"}
PARAMETERS = st.dictionaries(NAMES.filter(lambda name: name not in RESERVED), SCALARS, max_size=3)


@st.composite
def tensors(draw, *, datatypes=tuple(DTYPES), is_text=False, is_finite=False, name=None):
    """Any tensor. is_text: BYTES are UTF-8. is_finite: no NaN or infinity, as JSON demands."""
    datatype = draw(st.sampled_from(datatypes))
    shape = draw(SHAPES)
    if datatype == "BYTES":
        element = st.text(st.characters(codec="utf-8"), max_size=8).map(str.encode) if is_text else st.binary(max_size=8)
        count = math.prod(shape)
        data = np.empty(count, object)
        data[:] = draw(st.lists(element, min_size=count, max_size=count))
        data = data.reshape(shape)
    else:
        dtype = DTYPES[datatype]
        more = {"allow_nan": not is_finite, "allow_infinity": not is_finite} if dtype.kind == "f" else {}
        data = draw(hnp.arrays(dtype, shape, elements=hnp.from_dtype(dtype, **more)))
    return Tensor(draw(NAMES) if name is None else name, datatype, data)


@st.composite
def requests(draw, **kinds):
    """Any request with distinct names."""
    inputs = draw(st.lists(tensors(**kinds), min_size=1, max_size=4, unique_by=lambda tensor: tensor.name))
    outputs = draw(st.lists(NAMES, max_size=3, unique=True))
    return InferRequest(
        "m",
        draw(st.one_of(st.none(), st.just("3"))),
        tuple(inputs),
        draw(st.one_of(st.none(), NAMES)),
        draw(PARAMETERS),
        tuple(RequestedOutput(name) for name in outputs),
    )


@st.composite
def answers(draw, **kinds):
    """Any answer with distinct output names."""
    outputs = draw(st.lists(tensors(**kinds), max_size=4, unique_by=lambda tensor: tensor.name))
    return InferAnswer("m", "3", tuple(outputs), draw(st.one_of(st.none(), NAMES)), draw(PARAMETERS))


def assert_same(one: Tensor, other: Tensor) -> None:
    """Name, datatype, shape and every bit of the data."""
    assert (one.name, one.datatype, one.shape) == (other.name, other.datatype, other.shape)
    assert other.data.dtype == DTYPES[one.datatype]
    if one.datatype == "BYTES":
        assert one.data.reshape(-1).tolist() == other.data.reshape(-1).tolist()
    else:
        assert one.data.tobytes() == other.data.tobytes()
