"""A share counts the values that the detector's own rule means, whatever the column holds."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.datasets.data import matches
from lifecycle.datasets.detector import Match
from serving.features.windows.spec import ValueKind, ValueMatch
from serving.stream.windows.matching import matcher
from tests.laws import examples

TEXTS = st.sampled_from(["", "S_", "S_RA", "INT", "ü", "1", "True", "nan"])
NUMBERS = st.integers(-2, 3)
FLOATS = st.sampled_from([0.0, 1.0, -1.0, 1.5, 2.0, float("nan")])
VALUES: dict[ValueKind, st.SearchStrategy[Any]] = {
    "string": st.one_of(TEXTS, st.none()), "int": NUMBERS, "port": NUMBERS, "float": FLOATS, "bool": st.booleans(),
}  # fmt: skip
LISTED: dict[ValueKind, st.SearchStrategy[Any]] = {
    "string": TEXTS, "int": NUMBERS, "port": NUMBERS, "float": st.one_of(NUMBERS, FLOATS.filter(lambda f: f == f)), "bool": st.booleans(),
}  # fmt: skip
DTYPES = {"int": np.int64, "port": np.int64, "float": np.float64, "bool": np.bool_}


@pytest.mark.parametrize("kind", list(VALUES))
@given(data=st.data())
@examples(100)
def test_a_rule_means_the_same_values_in_a_stream_as_in_training(kind: ValueKind, data: st.DataObject) -> None:
    values = data.draw(st.lists(VALUES[kind], max_size=8))
    listed = tuple(data.draw(st.lists(LISTED[kind], min_size=1, max_size=4)))
    how = data.draw(st.sampled_from(["equals", "not_equals", "contains"]))
    rule = {how: data.draw(st.sampled_from(["", "S", "1", "."])) if how == "contains" else listed}
    if kind == "string":
        sent = np.array([None if v is None else v.encode() for v in values] or [], dtype=object)
        column = pd.Series(values, dtype=object)
    else:
        sent, column = np.array(values, dtype=DTYPES[kind]), pd.Series(values, dtype=DTYPES[kind])
    expected = matches(column, Match.model_validate(rule)).tolist()
    assert matcher(ValueMatch.model_validate(rule), kind)(sent) == expected
