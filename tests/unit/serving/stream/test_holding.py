"""Holding: what waits for the watermark, what is late, and in which order events are released."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.stream.events import StreamEvents
from serving.stream.partitions.holding import HeldEvents, HoldLimits
from serving.stream.ports import Partition, StreamRecord

SECOND = 1_000_000
PARTITION = Partition("events", 0)


def events(*seconds: float, first: int = 0) -> StreamEvents:
    n = len(seconds)
    return StreamEvents(
        PARTITION,
        [StreamRecord(PARTITION, first + i, b"{}") for i in range(n)],
        [{"second": s} for s in seconds],
        {"second": np.array(seconds)},
        [b"host"] * n,
        np.array([int(s * SECOND) for s in seconds], np.int64),
        np.zeros(n, np.bool_),
        np.ones(n, np.bool_),
    )


def held(disorder_s: float = 0, lateness_s: float = 0, most: int = 1000) -> HeldEvents:
    return HeldEvents(HoldLimits(int(disorder_s * SECOND), int(lateness_s * SECOND), most))


def seconds(released: StreamEvents | None) -> list[float]:
    return [] if released is None else released.columns["second"].tolist()


@pytest.mark.parametrize(
    ("disorder_s", "arrivals", "released"),
    [
        pytest.param(0, [[3, 1, 2]], [[3, 1, 2]], id="without disorder events leave as they come, in that order"),
        pytest.param(5, [[1, 2, 3]], [[]], id="events wait until the newest is newer by the disorder"),
        pytest.param(5, [[1, 3, 2, 8]], [[1, 2, 3]], id="what the watermark has reached leaves in order of event time"),
        pytest.param(5, [[1], [2], [9]], [[], [], [1, 2]], id="each batch moves the watermark"),
        pytest.param(5, [[10], [4]], [[], [4]], id="a late event leaves at once"),
    ],
)
def test_events_leave_when_the_watermark_reaches_them(
    disorder_s: float, arrivals: list[list[float]], released: list[list[float]]
) -> None:
    waiting, first = held(disorder_s), 0
    for batch, expected in zip(arrivals, released, strict=True):
        waiting.add(events(*batch, first=first))
        first += len(batch)
        assert seconds(waiting.release()) == expected


@pytest.mark.parametrize(
    ("arrivals", "late", "counted"),
    [
        pytest.param([10, 10], [False, False], [True, True], id="an event at the watermark is in time"),
        pytest.param([10, 9], [False, True], [True, True], id="an event behind it is late, and counted within the lateness"),
        pytest.param([10, 7], [False, True], [True, True], id="the lateness itself still counts"),
        pytest.param([10, 6], [False, True], [True, False], id="a later one is scored and not counted"),
        pytest.param([10, 6, 11, 9], [False, True, False, True], [True, False, True, True], id="late is judged at arrival"),
    ],
)
def test_what_is_late_and_what_is_counted(arrivals: list[float], late: list[bool], counted: list[bool]) -> None:
    waiting = held(0, lateness_s=3)
    waiting.add(events(*arrivals))
    found = waiting.release()
    assert found is not None
    assert (found.is_late.tolist(), found.is_counted.tolist()) == (late, counted)


def test_an_idle_partition_releases_everything_and_what_comes_behind_is_late() -> None:
    waiting = held(60)
    waiting.add(events(1, 3, 2))
    assert seconds(waiting.release()) == []
    assert seconds(waiting.release_all()) == [1, 2, 3]
    waiting.add(events(2.5, 4, first=3))
    found = waiting.release_all()
    assert found is not None
    assert found.is_late.tolist() == [True, False]


def test_no_more_than_the_limit_is_held_and_the_oldest_leave_first() -> None:
    waiting = held(1000, most=3)
    waiting.add(events(5, 1, 4, 2, 3))
    assert seconds(waiting.release()) == [1, 2]
    assert waiting.count == 3
    assert waiting.offsets().tolist() == [0, 2, 4]


@given(
    st.lists(st.lists(st.integers(0, 50), min_size=1, max_size=6), min_size=1, max_size=12),
    st.integers(0, 20),
    st.integers(1, 20),
)
def test_nothing_is_lost_or_doubled_and_what_is_in_time_leaves_in_order(
    batches: list[list[int]], disorder_s: int, most: int
) -> None:
    waiting, first = held(disorder_s, most=most), 0
    left: list[int] = []
    in_time: list[tuple[int, int]] = []
    for batch in batches:
        waiting.add(events(*batch, first=first))
        first += len(batch)
        for found in (waiting.release(), waiting.release_all() if batch[0] == 13 else None):
            if found is not None:
                left += [r.offset for r in found.records]
                in_time += [
                    (int(t), r.offset)
                    for t, r, late in zip(found.times_us, found.records, found.is_late, strict=True)
                    if not late
                ]
    assert sorted([*left, *waiting.offsets().tolist()]) == list(range(first))
    if disorder_s:
        assert [t for t, _ in in_time] == sorted(t for t, _ in in_time)
