"""Every row of the input is in exactly one unit, and a unit reads what its rows and their windows depend on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.batch.data.files import BatchFolder
from serving.batch.plan import SECOND_US, InputFile, InputGroup, chains, plan_files, plan_units
from tests import laws

HOUR = 3600


def file_of(path, *groups, untimed=0):
    """groups: the seconds of each one's rows."""
    made, first = [], 0
    for seconds in groups:
        at = [s * SECOND_US for s in seconds]
        rows = len(at) + untimed
        made.append(InputGroup(rows, first, min(at, default=None), max(at, default=None), untimed))
        first += rows
    seconds, counts = np.unique([s for group in groups for s in group], return_counts=True)
    return InputFile(path, f"sha256:{path}{groups}", tuple(made), tuple(seconds.tolist()), tuple(counts.tolist()))


def plan(files, **options):
    return plan_units(files, identity="", **{"max_rows": 100, **options})


FILES = st.lists(
    st.lists(st.lists(st.integers(0, 4 * HOUR), min_size=1, max_size=30), min_size=1, max_size=3), min_size=1, max_size=3
).map(lambda files: [file_of(f"f{i}.parquet", *groups) for i, groups in enumerate(files)])


@laws.examples(100)
@given(FILES, st.integers(1, 20), st.integers(0, 2 * HOUR))
def test_each_row_is_in_one_unit_that_reads_it_and_what_came_before(files, max_rows, lookback_s):
    units = plan(files, max_rows=max_rows, lookback_us=lookback_s * SECOND_US)
    rows = [(f.path, g, s) for f in files for g in range(len(f.groups)) for s in f.seconds]
    for path, number, second in rows:
        group = next(f for f in files if f.path == path).groups[number]
        if not group.from_us <= second * SECOND_US <= group.to_us:
            continue
        own = [u for u in units if u.from_us <= second * SECOND_US < u.to_us]
        assert len(own) == 1
        for unit in units:
            needs = (unit.context_us or unit.from_us) <= second * SECOND_US < unit.to_us
            reads = any(read.path == path and number in read.groups for read in unit.reads)
            assert reads or not needs
    assert sum(u.rows for u in units) == sum(f.rows for f in files)
    assert len({u.name for u in units}) == len(units)
    seconds = [s for f in files for s, n in zip(f.seconds, f.counts, strict=True) for _ in range(n)]
    for unit in units:
        inside = [s for s in seconds if unit.from_us <= s * SECOND_US < unit.to_us]
        assert len(inside) == unit.rows
        assert len(inside) <= max_rows or len(set(inside)) == 1


def test_partitions_are_hours_of_utc():
    names = [unit.name for unit in plan([file_of("a.parquet", [0, HOUR - 1, HOUR, 30 * HOUR])])]
    assert names == [
        "date=1970-01-01/hour=00/part-0000", "date=1970-01-01/hour=01/part-0000", "date=1970-01-02/hour=06/part-0000",
    ]  # fmt: skip


def test_rows_without_a_time_have_a_unit_of_their_own():
    units = plan([file_of("a.parquet", [5], untimed=2)])
    assert [(u.partition, u.rows) for u in units] == [
        ("date=1970-01-01/hour=00", 1),
        ("date=__HIVE_DEFAULT_PARTITION__/hour=__HIVE_DEFAULT_PARTITION__", 2),
    ]


def test_only_what_changed_has_another_key():
    first, second = file_of("a.parquet", [10]), file_of("b.parquet", [5 * HOUR])
    changed = file_of("b.parquet", [5 * HOUR, 5 * HOUR + 1])
    before, after = plan([first, second]), plan([first, changed])
    assert [a.key == b.key for a, b in zip(before, after, strict=True)] == [True, False]


def test_a_change_of_what_a_unit_looks_back_on_changes_its_key():
    early, late = file_of("a.parquet", [HOUR - 10]), file_of("b.parquet", [HOUR + 10])
    more = file_of("a.parquet", [HOUR - 11, HOUR - 10])
    before, after = (plan(files, lookback_us=60 * SECOND_US) for files in ([early, late], [more, late]))
    assert [a.key == b.key for a, b in zip(before, after, strict=True)] == [False, False]


@pytest.mark.parametrize(("since", "until", "hours"), [(HOUR, None, [1, 2]), (None, HOUR, [0]), (HOUR, 2 * HOUR, [1])])
def test_hours_can_be_chosen(since, until, hours):
    files = [file_of("a.parquet", [0, HOUR, 2 * HOUR])]
    units = plan(
        files,
        since_us=None if since is None else since * SECOND_US,
        until_us=None if until is None else until * SECOND_US,
    )
    assert [unit.from_us // SECOND_US // HOUR for unit in units] == hours


def test_files_without_times_are_cut_by_rows():
    files = [InputFile("site/a.parquet", "x", (InputGroup(4, 0), InputGroup(3, 4)))]
    units = plan_files(files, identity="", max_rows=5)
    assert [(u.name, u.first_row, u.end_row, u.reads[0].groups) for u in units] == [
        ("site/a/part-0000", 0, 5, (0, 1)),
        ("site/a/part-0001", 5, 7, (1,)),
    ]


def test_files_that_differ_in_their_endings_only_have_units_of_their_own():
    names = [
        unit.name
        for unit in plan_files([file_of("a.parquet", [1]), file_of("a.pq", [1]), file_of("b.pq", [1])], identity="", max_rows=5)
    ]
    assert names == ["a.parquet/part-0000", "a.pq/part-0000", "b/part-0000"]


def test_runs_keep_the_order_of_time():
    units = plan([file_of("a.parquet", [h * HOUR for h in range(7)])])
    runs = chains(units, 3)
    assert [unit for run in runs for unit in run] == units
    assert len(runs) == 3


@pytest.mark.parametrize(
    ("output", "is_within"),
    [
        pytest.param("events", True, id="the same folder"),
        pytest.param("events/scored", True, id="a folder in it"),
        pytest.param("link/scored", True, id="a folder in it by another name"),
        pytest.param("events-scored", False, id="a folder beside it that begins alike"),
        pytest.param(".", False, id="the folder around it"),
    ],
)
def test_an_output_that_the_next_job_would_read_is_noticed(tmp_path, output, is_within):
    (tmp_path / "events").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "events")
    assert BatchFolder(str(tmp_path / "events")).holds(BatchFolder(str(tmp_path / output))) is is_within
