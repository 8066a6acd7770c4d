"""What was answered, read from a prediction log: by row, by column, once."""

import math

import numpy as np
import pytest

from lifecycle.monitoring.windows.answered import (
    NO_VERDICT,
    AnsweredRows,
    AnswerFollower,
    event_key,
    read_answers,
    sample_answers,
)
from serving.audit.encoding import LONGEST_LIST, encode_record
from tests.fakes.serving.records import record


@pytest.fixture
def append(tmp_path):
    def write(*records, log="a", number=1, start_us=1, tail=b""):
        with (tmp_path / f"segment-{start_us:016d}-{log}-{number:06d}.jsonl").open("ab") as stream:
            stream.write(b"".join(encode_record(r) for r in records) + tail)

    return write


def answer(receipt, time_us, **changes):
    return record(receipt=receipt, time_us=time_us, **changes)


def batch(receipt, time_us, values, **changes):
    rows = len(values)
    plain = {"rows": rows, "inputs": {}, "features": {"x": values}, "scores": [0.5] * rows}
    return answer(receipt, time_us, **(plain | {"verdicts": ["alert"] * rows, "degraded": [False] * rows} | changes))


def test_rows_of_all_segments_come_in_the_order_of_time(tmp_path, append):
    append(batch("r2", 20, [2.0, 3.0]), log="a")
    append(batch("r1", 10, [1.0]), batch("r3", 30, [4.0]), log="b")
    found = read_answers(tmp_path, "flows")
    assert found.columns["x"].tolist() == [1.0, 2.0, 3.0, 4.0]
    assert found.events.tolist() == ["r1", "r2#0", "r2#1", "r3"]
    assert found.rows.tolist() == [0, 0, 1, 0]
    assert found.verdicts.tolist() == [2, 2, 2, 2]


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        pytest.param({"since_us": 20}, ["r2", "r3"], id="from a time on, itself included"),
        pytest.param({"until_us": 20}, ["r1"], id="until a time, itself excluded"),
        pytest.param({"variant": "candidate"}, ["r3"], id="of one variant"),
    ],
)
def test_a_window(tmp_path, append, bounds, expected):
    append(answer("r1", 10), answer("r2", 20), answer("r3", 30, variant="candidate"), answer("x", 20, model="other"))
    assert read_answers(tmp_path, "flows", **bounds).receipts.tolist() == expected


def test_what_a_replica_wrote_of_a_refused_bundle_is_no_answer_of_the_window(tmp_path, append):
    refused = answer("x", 2, source="refused", rows=0, inputs={}, features={}, scores=[], verdicts=[], degraded=[])
    append(answer("r1", 1), refused, answer("r2", 3))
    found = sample_answers(tmp_path, "flows", 20)
    assert (found.answers, found.drawn, found.rows.receipts.tolist()) == (2, 2, ["r1", "r2"])


def test_a_sample_holds_so_many_rows_and_every_answer_that_is_needed(tmp_path, append):
    append(
        *(answer(f"r{i}", i) for i in range(100)),
        answer("x", 5, model="other"),
        tail=b'{"time_us": 7, "receipt": "r", "model": "flows"',
    )
    found = sample_answers(tmp_path, "flows", 20, receipts={"r3", "r97"})
    assert (len(found.rows), found.drawn, found.answers) == (20, 20, 100)
    assert found.named.receipts.tolist() == ["r3", "r97"]
    assert found.rows.times_us.tolist() == sorted(found.rows.times_us.tolist())
    assert 30 < found.rows.times_us.mean() < 70, "drawn from the whole window"
    again = sample_answers(tmp_path, "flows", 20)
    assert again.rows.receipts.tolist() == found.rows.receipts.tolist()
    assert set(sample_answers(tmp_path, "flows", 10).rows.receipts) < set(found.rows.receipts)


def test_a_sample_of_all_is_what_the_log_has(tmp_path, append):
    append(batch("r1", 10, [1.0, 2.0]), batch("r2", 20, [3.0]), answer("r3", 30, variant="candidate"))
    whole, some = read_answers(tmp_path, "flows", variant="stable"), sample_answers(tmp_path, "flows", 3, variant="stable")
    assert some.rows.events.tolist() == whole.events.tolist()
    assert some.answers == some.drawn == 2
    assert len(sample_answers(tmp_path, "flows", 1).rows) >= 1, "one answer at least, however many rows it has"


def test_a_row_of_a_request_that_two_variants_answered_keeps_its_number_and_its_key(tmp_path, append):
    append(batch("r", 10, [1.0], row_numbers=[2]))
    assert read_answers(tmp_path, "flows").events.tolist() == [event_key("r", 2, is_alone=False)]


def test_an_answer_of_so_many_rows_that_its_arrays_are_written_raw_is_read_like_any_other(tmp_path, append):
    n = LONGEST_LIST + 1
    flags, numbers = np.arange(n) % 2 == 1, np.arange(n, dtype=np.int64) * 2
    scores = np.linspace(0, 1, n, dtype=np.float32)
    append(batch("r", 10, [1.0] * n, degraded=flags, row_numbers=numbers, scores=scores, verdicts=np.full(n, 2, dtype=np.int8)))
    found = read_answers(tmp_path, "flows")
    assert found.rows.tolist() == numbers.tolist()
    assert found.degraded.tolist() == flags.tolist()
    assert found.scores.tolist() == scores.astype(np.float64).tolist()


def test_a_value_that_is_redacted_encrypted_or_not_there_is_missing(tmp_path, append):
    sealed = {"encrypted": "AAAA", "subject": "s"}
    append(
        answer("r1", 1, inputs={"host": {"datatype": "BYTES", "shape": [1], "data": [sealed]}}, features={}),
        answer("r2", 2, inputs={"host": {"datatype": "BYTES", "shape": [1], "data": ["h"]}}, features={"x": [1.5]}),
        answer("r3", 3, inputs={"bytes": {"datatype": "INT64", "shape": [1], "redacted": "drop"}}, features={"x": [2.5]}),
    )
    columns = read_answers(tmp_path, "flows").columns
    assert columns["host"].tolist() == [None, "h", None]
    np.testing.assert_array_equal(columns["x"], [math.nan, 1.5, 2.5])
    assert np.isnan(columns["bytes"]).all()


def test_a_tensor_of_several_numbers_a_row_is_a_column_each(tmp_path, append):
    tensor = {"datatype": "FP32", "shape": [2, 2], "data": [1.0, 2.0, 3.0, 4.0]}
    append(batch("r", 1, [9.0, 9.0], inputs={"t": tensor}))
    columns = read_answers(tmp_path, "flows").columns
    assert columns["t[0]"].tolist() == [1.0, 3.0]
    assert columns["t[1]"].tolist() == [2.0, 4.0]


def test_numbers_that_json_has_no_words_for_come_back(tmp_path, append):
    append(batch("r", 1, np.array([math.inf, math.nan])))
    found = read_answers(tmp_path, "flows").columns["x"]
    assert found[0] == math.inf
    assert math.isnan(found[1])


def test_a_model_without_a_score_has_no_verdict(tmp_path, append):
    append(answer("r", 1, scores=[], verdicts=[], degraded=[]))
    found = read_answers(tmp_path, "flows")
    assert found.verdicts.tolist() == [NO_VERDICT]
    assert np.isnan(found.scores).all()


def test_a_line_that_is_no_record_and_one_that_contradicts_itself_are_passed_over(tmp_path, append):
    append(batch("r1", 1, [1.0]), tail=b'{"model":"flows","time_us":2,"receipt":"broken"}\nnothing\n')
    append(batch("r2", 3, [1.0, 2.0], verdicts=["alert"]), batch("r3", 4, [3.0]))
    assert read_answers(tmp_path, "flows").receipts.tolist() == ["r1", "r3"]
    assert AnswerFollower(tmp_path, "flows").read().receipts.tolist() == ["r1", "r3"]


def test_some_of_the_rows():
    found = AnsweredRows.of("flows", [batch("r", 1, [1.0, 2.0, 3.0])])
    some = found.take(found.columns["x"] > 1)
    assert len(some) == 2
    assert some.columns["x"].tolist() == [2.0, 3.0]
    assert some.events.tolist() == ["r#1", "r#2"]


def test_a_follower_reads_each_row_once_whatever_the_batches_and_restarts(tmp_path, append):
    for number in range(30):
        append(batch(f"r{number}", number, [1.0] * (1 + number % 3)), log="ab"[number % 2])
        append(answer(f"x{number}", number, model="other"), log="ab"[number % 2])
    expected = read_answers(tmp_path, "flows").events.tolist()
    for most in (1, 4, 1000):
        position, seen = {}, []
        while len(found := (follower := AnswerFollower(tmp_path, "flows", dict(position))).read(most)):
            assert len(found) <= max(most, 3)
            position, seen = follower.position, seen + found.events.tolist()
        assert seen == expected


def test_a_torn_line_waits_for_its_end_and_new_segments_are_found(tmp_path, append):
    whole = encode_record(answer("r2", 2))
    append(answer("r1", 1), tail=whole[:50])
    follower = AnswerFollower(tmp_path, "flows")
    assert follower.read().receipts.tolist() == ["r1"]
    append(tail=whole[50:])
    append(answer("r3", 3), log="b", start_us=2)
    assert follower.read().receipts.tolist() == ["r2", "r3"]
    assert len(follower.read()) == 0


def test_a_follower_that_begins_at_the_end_reads_what_comes(tmp_path, append):
    append(answer("r1", 1))
    follower = AnswerFollower(tmp_path, "flows")
    follower.skip_to_end()
    append(answer("r2", 2))
    assert follower.read().receipts.tolist() == ["r2"]


def test_a_segment_that_is_gone_is_forgotten_and_no_folder_is_no_rows(tmp_path, append):
    append(answer("r1", 1))
    append(answer("r2", 2), log="b")
    follower = AnswerFollower(tmp_path, "flows")
    follower.read()
    next(tmp_path.glob("segment-*-a-*.jsonl")).unlink()
    assert len(follower.read()) == 0
    assert len(follower.position) == 1
    assert len(AnswerFollower(tmp_path / "none", "flows").read()) == 0
    assert len(read_answers(tmp_path / "none", "flows")) == 0
