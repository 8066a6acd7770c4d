"""A log is followed as it grows, across segments and replicas."""

import json

import pytest

from lifecycle.governance import following
from lifecycle.governance.following import LogFollower, Wanted


def line(time_us, model="flows", *verdicts):
    return json.dumps(
        {"receipt": f"r-{time_us}", "time_us": time_us, "model": model, "verdicts": verdicts, "other": {"x": [1]}}
    )


@pytest.fixture
def write(tmp_path):
    def append(name, *lines, ends="\n"):
        with (tmp_path / f"segment-{name}.jsonl").open("a") as file:
            file.write("\n".join(lines) + ends)

    return append


def times(found):
    return [record.time_us for record, _ in found]


@pytest.mark.parametrize("block", [1, 7, 64, 1 << 16])
def test_the_newest_records_of_all_replicas_come_in_the_order_of_time(tmp_path, write, monkeypatch, block):
    monkeypatch.setattr(following, "_BLOCK", block)
    write("a", *map(line, (1, 4, 5)))
    write("b", *map(line, (2, 3, 6)))
    assert times(LogFollower(tmp_path).newest(4)) == [3, 4, 5, 6]
    assert times(LogFollower(tmp_path).newest(9)) == [1, 2, 3, 4, 5, 6]


def test_what_is_appended_comes_once_and_a_torn_line_when_it_is_whole(tmp_path, write):
    write("a", line(1))
    follower = LogFollower(tmp_path)
    assert times(follower.newest(0)) == []
    write("a", line(2), line(3)[:9], ends="")
    write("b", line(4))
    assert times(follower.appended()) == [2, 4]
    write("a", line(3)[9:])
    assert times(follower.appended()) == [3]
    assert follower.appended() == []


def test_a_line_comes_as_it_stands_in_the_log(tmp_path, write):
    write("a", line(1))
    ((_, raw),) = LogFollower(tmp_path).newest(1)
    assert raw.decode() == line(1)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        pytest.param(Wanted(), [1, 2, 3], id="everything"),
        pytest.param(Wanted(model="nsl"), [2], id="of one model"),
        pytest.param(Wanted(verdict="alert"), [2, 3], id="with a verdict in any row"),
        pytest.param(Wanted("flows", "alert"), [3], id="both"),
    ],
)
def test_filters(tmp_path, write, wanted, expected):
    write("a", line(1), line(2, "nsl", "alert"), line(3, "flows", "benign", "alert"))
    assert times(LogFollower(tmp_path, wanted).newest(9)) == expected


def test_a_line_that_is_no_record_is_counted_and_passed_over(tmp_path, write):
    write("a", line(1), "no record", line(2))
    follower = LogFollower(tmp_path)
    assert times(follower.newest(9)) == [1, 2]
    assert follower.broken == 1
