"""A split keeps apart what the declaration says to keep apart."""

import numpy as np
import pandas as pd
import pytest

from lifecycle.datasets.benign_clusters import kinds_of
from lifecycle.datasets.data import check_data
from lifecycle.datasets.declarations import parse_detector
from lifecycle.datasets.split import split
from lifecycle.errors import DataError
from tests.unit.lifecycle.declared import body, detector, rows

TYPES = {
    "source__columns__kind": "string",
    "label": {"column": "verdict", "positive": {"equals": ["attack"]}, "type_column": "kind"},
    "split": {"by": "types", "folds": 2, "test": 0.0, "families": {"one": ["a", "b"], "two": ["c", "d"]}},
}


def parts(frame, *, with_test=True, **changes):
    declared = detector(**changes)
    data = check_data(declared, frame, where="x")
    return data, split(declared, data, with_test=with_test)


def typed(n=400):
    frame = rows(n)
    return frame.assign(kind=np.where(frame["verdict"] == "attack", np.array(list("abcd"))[np.arange(n) % 4], "normal"))


@pytest.mark.parametrize(
    "by", [pytest.param({"by": "rows"}, id="rows"), pytest.param({"by": "group", "group": "user"}, id="groups")]
)
def test_every_row_is_in_one_part(by):
    _, got = parts(rows(), split=by)
    assert (got.train.astype(int) + got.validation + got.test == 1).all()
    assert 0.05 < got.test.mean() < 0.4


def test_an_entity_is_in_one_part_only():
    data, got = parts(rows(), entity={"key": "user"}, split={"by": "entity", "assign": {"u0": "test", "u1": "train"}})
    users = data.frame["user"].to_numpy()
    assert not set(users[got.train]) & set(users[got.test])
    assert not set(users[got.train]) & set(users[got.validation])
    assert "u0" in users[got.test]
    assert "u1" in users[got.train]


def test_an_entity_keeps_its_part_when_others_come():
    _, few = parts(rows(400), entity={"key": "user"}, split={"by": "entity"})
    _, more = parts(rows(600), entity={"key": "user"}, split={"by": "entity"})
    assert (few.test == more.test[:400]).all()


def test_left_out_types_are_never_trained_on():
    data, got = parts(typed(), **TYPES)
    for fold in got.folds:
        assert not (fold.train & fold.held).any()
        assert not set(data.kind[fold.train & data.attack]) & set(data.kind[fold.held & data.attack])
        assert {k in "ab" for k in set(data.kind[fold.held & data.attack])} == {True, False}, "some of every family"
        assert (fold.held & ~data.attack).any()
    assert sum(f.held.astype(int) for f in got.folds).tolist() == [1] * len(data)


def test_ignored_rows_are_in_no_part():
    frame = rows()
    frame.loc[::3, "verdict"] = "unknown"
    label = {"column": "verdict", "positive": {"equals": ["attack"]}, "negative": {"equals": ["fine"]}, "others": "ignore"}
    data, got = parts(frame, label=label)
    assert not ((got.train | got.validation | got.test) & ~data.verified).any()


def test_kinds_of_benign_rows_are_left_out_whole():
    frame = typed(2000)
    wanted = {**TYPES, "split": {**TYPES["split"], "benign_kinds": 8}}
    data, got = parts(frame, **wanted)
    benign = ~data.attack
    kinds = kinds_of(data.frame[benign], ("method", "failures", "seconds"), 8)
    for fold in got.folds:
        assert not set(kinds[fold.held[benign]]) & set(kinds[fold.train[benign]])
    sizes = [int((f.held & benign).sum()) for f in got.folds]
    assert max(sizes) < 2 * min(sizes)


def test_the_same_rows_have_the_same_kinds():
    frame = rows(500)
    one, two = (kinds_of(frame, ("method", "failures", "seconds"), 6) for _ in range(2))
    assert (one == two).all()
    assert len(set(one.tolist())) > 1


def test_a_type_without_family_is_refused():
    frame = typed()
    frame.loc[frame["kind"] == "d", "kind"] = "new"
    with pytest.raises(DataError, match=r"attack types \['new'\] are missing in split.families"):
        parts(frame, **TYPES)


def test_a_part_without_attacks_is_refused():
    with pytest.raises(DataError, match="has no attack rows"):
        parts(rows(40), entity={"key": "user"}, split={"by": "entity", "validation": 0.0001})


def without_split(**changes):
    made = body(**changes)
    del made["split"]
    return parse_detector(made, where="mine.yaml")


def test_without_a_split_the_last_fifth_of_the_time_is_tested():
    declared = without_split(source__columns__at="timestamp", event_time={"column": "at"})
    frame = rows().assign(at=pd.date_range("2026-01-01", periods=600, freq="min"))
    data = check_data(declared, frame, where="x")
    got = split(declared, data, with_test=True)
    assert got.test.sum() == pytest.approx(120, abs=1)
    assert data.at_us[got.test].min() > data.at_us[got.validation].max() > data.at_us[got.train].max()
    assert any("has no split, so the last fifth of the time is tested" in note for note in data.notes)


def test_without_a_split_and_a_time_equal_rows_stay_together():
    declared = without_split()
    frame = pd.concat([rows(), rows()], ignore_index=True)  # every row twice
    data = check_data(declared, frame, where="x")
    got = split(declared, data, with_test=True)
    part = got.train * 1 + got.validation * 2 + got.test * 3
    assert (part[:600] == part[600:]).all()
    assert 0.1 < got.test.mean() < 0.3
    assert 0.1 < got.validation.mean() < 0.3
    assert declared.split.why
    assert any("has no split, so by a hash of the request fields" in note for note in data.notes)


def test_a_split_that_nobody_chose_says_so_when_it_does_not_work():
    frame = rows(400)
    frame["verdict"] = np.where(np.arange(400) < 200, frame["verdict"], "fine")
    declared = without_split(source__columns__at="timestamp", event_time={"column": "at"})
    data = check_data(declared, frame.assign(at=pd.date_range("2026-01-01", periods=400, freq="min")), where="x")
    with pytest.raises(
        DataError, match=r"validation part has no attack rows .*by: time, the default, as its file declares none"
    ):
        split(declared, data, with_test=True)


def test_a_declared_split_needs_no_words():
    data, _ = parts(rows())
    assert not any("split" in note for note in data.notes)


def test_without_families_each_type_is_its_own():
    wanted = {**TYPES, "split": {"by": "types", "folds": 2, "test": 0.0}}
    data, got = parts(typed(), **wanted)
    held = [set(data.kind[f.held & data.attack]) for f in got.folds]
    assert held[0] | held[1] == set("abcd")
    assert not held[0] & held[1]
    assert [len(h) for h in held] == [2, 2]
    assert "split.families is not set, so each type of attack is its own family" in data.notes


def test_one_type_of_attack_cannot_be_left_out():
    frame = typed().assign(kind="a")
    with pytest.raises(DataError, match="train part of fold 1 has no attack rows"):
        parts(frame, **{**TYPES, "split": {"by": "types", "folds": 2, "test": 0.0}})


def test_kinds_of_benign_rows_need_a_number_to_tell_them_by():
    changes = {**TYPES, "request_fields": ["method"], "split": {**TYPES["split"], "benign_kinds": 4}}
    with pytest.raises(DataError, match="benign_kinds"):
        parts(typed(), with_test=False, **changes)
