"""Who a row is about: the same bytes whatever the door, another entity whenever a key differs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import BadRequest
from serving.scoring.entity import canonical, entity_hashes, salt_of
from tests.unit.serving.scoring.rows import columns, tensors

SALT = salt_of("m")


def of(rows, named=None, by_row=True):
    return entity_hashes(SALT, rows, named, by_row=by_row)


@given(st.integers(-(2**31), 2**31 - 1))
def test_a_whole_number_is_itself_in_any_width_and_as_text(value):
    forms = [np.int32(value), np.int64(value), value, str(value), str(value).encode()]
    assert len({canonical(f) for f in forms}) == 1


@pytest.mark.heavy
@given(st.text())
def test_text_is_its_utf8(value):
    if value.isprintable():
        assert canonical(value) == canonical(value.encode())


@given(st.tuples(st.binary(), st.binary()), st.tuples(st.binary(), st.binary()))
def test_several_keys_are_told_apart_wherever_one_ends(one, other):
    a, b = (of(columns(x=[pair[0]], y=[pair[1]])) for pair in (one, other))
    assert (a == b) is (one == other)


def test_the_order_of_the_keys_does_not_matter():
    assert of(columns(a=["1"], b=["2"])) == of(columns(b=["2"], a=["1"]))


def test_only_the_keys_decide_never_the_fields():
    assert of(columns({"level": [1.0]}, host=["a"])) == of(columns({"level": [2.0]}, host=["a"]))


def test_without_keys_the_fields_are_the_content():
    rows = of(columns({"level": [1.0, 1.0, 2.0]}))
    assert rows[0] == rows[1] != rows[2]


def test_an_entity_named_beside_a_tensor_is_the_one_with_that_key():
    assert of(tensors(x=[[1.0]]), "10.0.0.1") == of(columns(host=["10.0.0.1"]))
    assert of(tensors(x=[[1.0]]), 7) == of(columns(account=np.array([7], np.int32)))


def test_an_entity_named_is_that_of_all_rows():
    assert len(of(tensors(x=[[1.0], [2.0]]), "a")) == 1


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_row_of_tensors_is_its_content_however_it_lies_in_memory(order):
    data = np.asarray(np.arange(12, dtype=np.float32).reshape(3, 4), order=order)
    whole = of(tensors(x=data))
    assert whole == [of(tensors(x=data[i : i + 1].copy()))[0] for i in range(3)]
    assert whole == of(tensors(x=data.astype(">f4")))
    assert len(set(whole)) == 3


def test_rows_that_are_no_events_of_their_own_stay_together():
    assert len(of(tensors(x=[[1.0], [2.0]]), by_row=False)) == 1
    assert len(of(tensors(x=[[1.0], [2.0]], y=[1.0]))) == 1, "another first dimension: no rows"


def test_a_parameter_that_names_nothing_is_refused():
    with pytest.raises(BadRequest, match="expected text or a number that names the entity"):
        of(tensors(x=[[1.0]]), [1])
