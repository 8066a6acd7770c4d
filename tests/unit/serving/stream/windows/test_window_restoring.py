"""A state that was restored is the state that was never lost: the same digest, and the same rows for every later event."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from test_stream_windows import EVENTS, PLAN, Event, columns_of, make

from serving.stream.events import StreamEvents
from serving.stream.ports import Partition, StreamRecord
from serving.stream.windows.engine import WindowRows
from serving.stream.windows.state import PartitionWindows
from tests.laws import examples

PARTITION = Partition("events", 0)


OLD = [Event(host=0, at_us=1, peer="", port=-1, bytes=0, load=0.0, state="S_")] * 12
OTHER = OLD[0]._replace(host=1)
"""Seconds that no row needs any more are still here until they are trimmed, and an entity that is over until it is looked for. A late event
that is not counted must not see them: a restored state does not have them."""


class Run:
    """A partition's state, and the rows that it answered."""

    def __init__(self, bound: int, lateness_s: int) -> None:
        self.rows: list[WindowRows] = []
        self.state = PartitionWindows(
            PLAN, bound=bound, lateness_s=lateness_s, answered=lambda e, k, rows: self.rows.append(rows)
        )

    def update(self, events: list[Event], counted: list[bool]) -> None:
        self.state.update(
            StreamEvents(
                PARTITION,
                [StreamRecord(PARTITION, i, b"") for i in range(len(events))],
                [{}] * len(events),
                {**columns_of(events), "host": np.array([e.host for e in events])},
                [str(e.host).encode() for e in events],
                np.array([e.at_us for e in events], dtype=np.int64),
                np.zeros(len(events), dtype=np.bool_),
                np.array(counted, dtype=np.bool_),
            )
        )


def batches(events: list[Event], sizes: list[int], lateness_s: int) -> list[tuple[list[Event], list[bool]]]:
    """In order of arrival, each with whether it is counted."""
    newest, flags = 0, []
    for event in events:
        newest = max(newest, event.at_us)
        flags.append(event.at_us >= newest - lateness_s * 1_000_000)
    found, start = [], 0
    while start < len(events):
        size = sizes[len(found) % len(sizes)]
        found.append((events[start : start + size], flags[start : start + size]))
        start += size
    return found


@pytest.mark.heavy
@given(
    EVENTS,
    st.lists(st.integers(1, 5), min_size=1, max_size=5),
    st.lists(st.sampled_from(["go on", "commit", "snapshot", "kill"]), min_size=1, max_size=12),
    st.integers(0, 50),
    st.sampled_from([2, 100]),
)
@example([*OLD, OLD[0]._replace(at_us=8_000_000), OLD[0], OLD[0]._replace(at_us=1_000_000)], [1], ["snapshot", "kill"], 0, 2)
@example(
    [
        OLD[0]._replace(at_us=1_500_000),
        OLD[0]._replace(at_us=2_000_000),
        OTHER._replace(at_us=40_000_000),
        OTHER,
        OLD[0]._replace(at_us=2_000_001),
    ],
    [1],
    ["snapshot", "kill"],
    0,
    100,
)
@examples(300)
def test_a_state_killed_at_any_commit_goes_on_as_if_it_had_not_been(
    events: list[Event], sizes: list[int], acts: list[str], lateness_s: int, bound: int
) -> None:
    undisturbed, run = Run(bound, lateness_s), Run(bound, lateness_s)
    log: list[bytes] = []
    whole: list[bytes] = []
    for place, (batch, counted) in enumerate(batches(events, sizes, lateness_s)):
        undisturbed.update(batch, counted)
        run.update(batch, counted)
        act = acts[place % len(acts)]
        if act != "go on" and (delta := run.state.take_delta()) is not None:
            log.append(delta)
        if act == "snapshot":
            whole, log = list(run.state.snapshot()), []
        if act == "kill":
            answered = run.rows
            run = Run(bound, lateness_s)
            for part in whole:
                run.state.restore(part)
            for delta in log:
                run.state.apply(delta)
            run.rows = answered
    for left, right in zip(undisturbed.rows, run.rows, strict=True):
        assert left.at_us.tolist() == right.at_us.tolist()
        has_row = left.at_us > 0
        if bound == 100:
            assert left.values[has_row].tolist() == right.values[has_row].tolist()
    if bound == 100:
        assert undisturbed.state.digest() == run.state.digest()


def test_a_state_with_sketches_is_restored_from_a_snapshot() -> None:
    first, second = Run(20, 0), Run(20, 0)
    for start in range(0, 900, 90):
        first.update([make(1 + start / 200, peer=str(i)) for i in range(start, start + 90)], [True] * 90)
    for part in first.state.snapshot():
        second.state.restore(part)
    assert first.state.digest() == second.state.digest()
    for run in (first, second):
        run.update([make(5.6, peer=str(i)) for i in range(50)] + [make(7.5)], [True] * 51)
    assert first.rows[-1].values.tolist() == second.rows[-1].values.tolist()
    assert first.rows[-1].sketched.tolist() == [True] * 51
    assert first.state.digest() == second.state.digest()


def test_a_second_that_a_read_has_closed_is_the_same_state_as_an_open_one() -> None:
    opened, closed = Run(10, 0), Run(10, 0)
    for run in (opened, closed):
        run.update([make(1.5)], [True])
    closed.update([make(3.5)], [False])
    assert opened.state.digest() == closed.state.digest()


def test_a_state_without_changes_has_no_delta() -> None:
    run = Run(10, 0)
    assert run.state.take_delta() is None
    run.update([make(1.5)], [True])
    assert run.state.take_delta() is not None
    run.update([make(0.5)], [False])
    assert run.state.take_delta() is None


@pytest.mark.parametrize("raw", [b"", b"\xc1", b"\x80", b"\x91\x01"], ids=["nothing", "no MessagePack", "a map", "a list"])
def test_what_is_no_state_is_refused(raw: bytes) -> None:
    state = Run(10, 0).state
    for take in (state.apply, state.restore):
        with pytest.raises(ValueError, match="of windows cannot be read"):
            take(raw)


def test_a_snapshot_is_no_delta_and_a_delta_no_snapshot() -> None:
    run = Run(10, 0)
    run.update([make(1.5)], [True])
    (part,), delta = run.state.snapshot(), run.state.take_delta()
    with pytest.raises(ValueError, match="cannot be read"):
        run.state.apply(part)
    with pytest.raises(ValueError, match="cannot be read"):
        run.state.restore(delta or b"")
