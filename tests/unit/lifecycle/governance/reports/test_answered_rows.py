"""Rows of the prediction log as fairness is judged of them, and the labels of analysts: also from files that are odd."""

import numpy as np
import pytest

from lifecycle.governance.reports.answered_rows import LabelError, answered_rows, read_labels
from serving.audit.encoding import LONGEST_LIST, encode_record
from serving.audit.personal.subject_keys import SubjectKeys
from tests.fakes.serving.records import record

HOSTS = {"host": {"datatype": "BYTES", "shape": [2], "data": ["a", "b"]}}


def line(**changes):
    of_two = {
        "rows": 2, "verdicts": ["alert", "benign"], "scores": [0.9, 0.1], "degraded": [False] * 2, "features": {},
        "event_times_us": {}, "inputs": HOSTS,
    }  # fmt: skip
    return encode_record(record(**{**of_two, **changes}))


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param(b'{"receipt":"r","time_us":1,"model":"m"}', id="no record"),
        pytest.param(b"\xff", id="no text"),
        pytest.param(b"[" * 100_000, id="nested without end"),
        pytest.param(line().replace(b'"BYTES"', b'"NOTHING"'), id="an input of no datatype"),
        pytest.param(line().replace(b'["a","b"]', b'["a"]').replace(b"[2]", b"[1]"), id="fewer entities than verdicts"),
        pytest.param(line(verdicts=["alert"]), id="fewer verdicts than rows"),
    ],
)
def test_a_line_that_is_no_whole_record_is_passed_over(tmp_path, odd):
    found = answered_rows([odd, line()], "host", SubjectKeys(tmp_path), {})
    assert (found.entity.tolist(), found.alert.tolist(), found.without_entity) == (["a", "b"], [True, False], 0)
    assert len(found.labelled) == len(found.attack) == 2


def test_an_answer_of_so_many_rows_that_its_row_numbers_are_written_raw_counts(tmp_path):
    n = LONGEST_LIST + 1
    wide = line(rows=n, verdicts=["alert"] * n, scores=[0.9] * n, degraded=[False] * n, inputs={}, row_numbers=np.arange(n) * 2)
    found = answered_rows([wide], None, SubjectKeys(tmp_path), {("r", 2 * (n - 1)): True})
    assert len(found.alert) == n
    assert np.flatnonzero(found.attack).tolist() == [n - 1]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        pytest.param("r,\u00b2,attack\n".encode(), "line 2: is not a label", id="a digit that is no number"),
        pytest.param(b"r,-1,attack\n", "line 2: is not a label", id="a row before the first"),
        pytest.param(b"r," + b"9" * 5000 + b",attack\n", "line 2: is not a label", id="a row without end"),
        pytest.param(b"r,0,malicious\n", "line 2: is not a label", id="another word"),
        pytest.param(b"r,0,\xff\n", "not CSV in UTF-8", id="no UTF-8"),
        pytest.param(b"r," + b"x" * 200_000 + b",attack\n", "not CSV in UTF-8", id="a field without end"),
    ],
)
def test_a_file_that_holds_no_labels_is_named(tmp_path, body, said):
    (tmp_path / "labels.csv").write_bytes(b"receipt,row,label\n" + body)
    with pytest.raises(LabelError, match=said):
        read_labels(tmp_path / "labels.csv")


def test_a_row_that_is_left_out_is_the_first(tmp_path):
    (tmp_path / "labels.csv").write_text("receipt,row,label\nr,,attack\nr,1,benign\n", encoding="utf-8")
    assert read_labels(tmp_path / "labels.csv") == {("r", 0): True, ("r", 1): False}
