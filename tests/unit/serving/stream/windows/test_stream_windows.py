"""The windows of a stream are those of training: every row that an event reads is the row of the point-in-time join."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.features.windows.aggregates import SECOND_US, Measure, aggregate
from serving.features.windows.spec import WindowSpec
from serving.stream.windows.encoding import digest, encode_snapshot, restore_part
from serving.stream.windows.engine import WindowEngine, WindowRows
from serving.stream.windows.plan import WindowPlan
from tests.laws import examples

SPEC = WindowSpec.model_validate(
    {
        "service": "hosts_v1",
        "key": "host",
        "event_time": {"column": "start"},
        "columns": {"peer": "string", "port": "port", "bytes": "int", "load": "float", "state": "string"},
        "aggregates": [
            {"name": "events", "op": "count"},
            {"name": "peers", "op": "distinct", "column": "peer"},
            {"name": "ports", "op": "distinct", "column": "port"},
            {"name": "bytes", "op": "sum", "column": "bytes"},
            {"name": "load", "op": "mean", "column": "load"},
            {"name": "failed", "op": "share", "column": "state", "where": {"equals": ["S_", ""]}},
        ],
        "views": [{"name": "host_7s", "seconds": 7, "ttl_s": 5}, {"name": "host_3s", "seconds": 3, "ttl_s": 30}],
    }
)
PLAN = WindowPlan.of(SPEC)
WIDTH = len(SPEC.aggregates)


class Event(NamedTuple):
    host: int
    at_us: int
    peer: str
    port: int
    bytes: int
    load: float
    state: str


EVENTS = st.lists(
    st.builds(
        Event,
        host=st.integers(0, 2),
        at_us=st.one_of(st.integers(1, 40_000_000), st.integers(1, 40).map(lambda s: s * SECOND_US)),
        peer=st.sampled_from(["", "a", "b", "c", "d"]),
        port=st.sampled_from([-1, 22, 80, 443]),
        bytes=st.integers(0, 10_000),
        load=st.floats(0, 1e6, allow_nan=False),
        state=st.sampled_from(["S_", "", "CON"]),
    ),
    max_size=40,
)


def columns_of(events: Sequence[Event]) -> dict[str, Any]:
    """The events as the worker hands them over."""
    return {
        "peer": np.array([e.peer.encode() for e in events], dtype=object),
        "port": np.array([e.port for e in events], dtype=np.int64),
        "bytes": np.array([e.bytes for e in events], dtype=np.int64),
        "load": np.array([e.load for e in events], dtype=np.float64),
        "state": np.array([e.state.encode() for e in events], dtype=object),
    }


def step(engine: WindowEngine, events: Sequence[Event], counted: Sequence[bool] | None = None) -> WindowRows:
    """Hand a batch to an engine."""
    return engine.step(
        [e.host for e in events],
        np.array([e.at_us for e in events], dtype=np.int64),
        columns_of(events),
        np.array([True] * len(events) if counted is None else counted, dtype=np.bool_),
    )


def usable(rows: WindowRows, at_us: Any) -> Any:
    """Values of rows (n, features), NaN where there is none within its view's ttl."""
    values = rows.values.copy()
    for place, view in enumerate(SPEC.views):
        ages = at_us - rows.at_us
        values[(rows.at_us == 0) | (ages > view.ttl_s * SECOND_US), place * WIDTH : (place + 1) * WIDTH] = np.nan
    return values


def offline(events: Sequence[Event], asked: Sequence[Event]) -> Any:
    """What training joins to the events `asked`, once it knows `events`: (n, features), NaN for nothing."""
    measures = {
        "events": Measure("count", np.zeros(len(events))),
        "peers": Measure("distinct", np.array(["abcd".find(e.peer) if e.peer else -1 for e in events])),
        "ports": Measure("distinct", np.array([e.port for e in events])),
        "bytes": Measure("sum", np.array([e.bytes for e in events], dtype=np.float64)),
        "load": Measure("mean", np.array([e.load for e in events], dtype=np.float64)),
        "failed": Measure("mean", np.array([e.state in ("S_", "") for e in events])),
    }
    hosts, times = np.array([e.host for e in events]), np.array([e.at_us for e in events])
    ticks = aggregate(hosts, times, measures, {v.name: v.seconds for v in SPEC.views})
    found = np.full((len(asked), len(SPEC.views) * WIDTH), np.nan)
    for row, event in enumerate(asked):
        before = np.flatnonzero((ticks.entity == event.host) & (ticks.at_us <= event.at_us))
        if not len(before):
            continue
        newest = before[-1]
        for place, view in enumerate(SPEC.views):
            if event.at_us - ticks.at_us[newest] <= view.ttl_s * SECOND_US:
                found[row, place * WIDTH : (place + 1) * WIDTH] = [ticks.columns[view.name][m][newest] for m in measures]
    return found


@pytest.mark.heavy
@given(EVENTS, st.integers(1, 12))
@examples(200)
def test_events_in_order_read_what_training_joins(events: list[Event], most: int) -> None:
    """Batches end between two moments, as the worker's do: it releases a moment's events together."""
    ordered = sorted(events, key=lambda e: e.at_us)
    engine, start = WindowEngine(PLAN, bound=100, lateness_s=0), 0
    while start < len(ordered):
        end = min(start + most, len(ordered))
        while end < len(ordered) and ordered[end].at_us == ordered[end - 1].at_us:
            end += 1
        batch = ordered[start:end]
        got = usable(step(engine, batch), np.array([e.at_us for e in batch]))
        np.testing.assert_allclose(got, offline(ordered, batch), rtol=1e-9, atol=1e-6)
        start = end


@pytest.mark.heavy
@given(EVENTS)
@examples(100)
def test_an_event_out_of_order_reads_what_training_joins_of_what_has_come(events: list[Event]) -> None:
    engine = WindowEngine(PLAN, bound=100, lateness_s=100)
    for seen, event in enumerate(events, 1):
        got = usable(step(engine, [event]), np.array([event.at_us]))
        np.testing.assert_allclose(got, offline(events[:seen], [event]), rtol=1e-9, atol=1e-6)


@given(EVENTS, st.integers(1, 6))
@examples(100)
def test_events_late_within_the_lateness_are_counted_exactly(events: list[Event], lateness_s: int) -> None:
    engine, newest, counted = WindowEngine(PLAN, bound=100, lateness_s=lateness_s), 0, []
    for event in events:
        newest = max(newest, event.at_us)
        is_counted = event.at_us >= newest - lateness_s * SECOND_US
        rows = step(engine, [event], [is_counted])
        if is_counted:
            counted.append(event)
            got = usable(rows, np.array([event.at_us]))
            np.testing.assert_allclose(got, offline(counted, [event]), rtol=1e-9, atol=1e-6)


def make(at_s: float, host: int = 1, peer: str = "a") -> Event:
    return Event(host, round(at_s * 1e6), peer, 80, 100, 1.0, "CON")


def test_an_event_that_is_not_counted_reads_and_changes_nothing() -> None:
    engine = WindowEngine(PLAN, bound=100, lateness_s=0)
    step(engine, [make(1.5), make(4.5)])
    rows = step(engine, [make(3.2)], [False])
    assert rows.at_us.tolist() == [2 * SECOND_US]
    assert rows.values[0, 0] == 1
    assert step(engine, [make(9.5)]).values[0, 0] == 2


@pytest.mark.heavy
def test_entities_whose_rows_are_too_old_for_every_view_are_forgotten() -> None:
    engine = WindowEngine(PLAN, bound=100, lateness_s=0)
    for second in range(0, 4000, 2):
        step(engine, [make(second + 0.5, host=second)])
    oldest = max(view.ttl_s for view in SPEC.views)
    assert len(engine.entities) < oldest + 64
    assert sum(len(keys) for keys in engine._due.values()) == len(engine.entities)


@pytest.mark.heavy
def test_state_of_a_busy_entity_does_not_grow_with_its_events() -> None:
    engine = WindowEngine(PLAN, bound=100, lateness_s=3)
    for second in range(3000):
        step(engine, [make(second + 0.1 * i, peer="abcd"[i % 4]) for i in range(1, 10)])
    (entity,) = engine.entities.values()
    assert len(entity.ticks) < 200
    assert all(len(measure.undo) < 32 for measure in entity.distinct)


@pytest.mark.parametrize("at_once", [True, False], ids=["in one second", "over many seconds"])
def test_more_distinct_values_than_the_bound_become_a_sketch_that_says_so(at_once: bool) -> None:
    engine = WindowEngine(PLAN, bound=200, lateness_s=0)
    peers = 5000
    for start in range(0, peers, 500):
        second = 1.5 if at_once else 1 + start / 2000
        events = [make(second, peer=f"10.0.{i >> 8}.{i & 255}") for i in range(start, start + 500)]
        step(engine, events)
    rows = step(engine, [make(6.5)])
    place = [a.name for a in SPEC.aggregates].index("peers")
    assert rows.sketched.tolist() == [True]
    assert abs(rows.values[0, place] / peers - 1) < 0.07
    assert rows.values[0, 0] == peers


def test_a_sketched_entity_does_not_mark_another() -> None:
    engine = WindowEngine(PLAN, bound=10, lateness_s=0)
    step(engine, [make(1.5, peer=str(i)) for i in range(50)] + [make(1.6, host=2)])
    assert step(engine, [make(3.5), make(3.5, host=2)]).sketched.tolist() == [True, False]


def test_numbers_that_no_sum_can_hold_count_as_nothing() -> None:
    engine = WindowEngine(PLAN, bound=100, lateness_s=0)
    loads = [1.0, float("nan"), float("inf"), -float("inf"), 1.7e308, 1.7e308, 2.0]
    for second, load in enumerate(loads):
        step(engine, [make(second / 2 + 0.1)._replace(load=load, bytes=2**62)])
    values = dict(zip([a.name for a in SPEC.aggregates], step(engine, [make(4.5)]).values[0, :WIDTH].tolist(), strict=True))
    assert values["load"] == pytest.approx(3 / 7)
    assert values["bytes"] == 7 * 2.0**62


def test_numbers_that_come_to_more_than_64_bits_are_summed_and_kept() -> None:
    most = 2**63 - 1
    events = [Event(1, 5 * SECOND_US + n, "a", 80, most, 1.7e308, "x") for n in range(4)]
    events += [Event(1, 6 * SECOND_US + n, "a", 80, -most, 1.7e308, "x") for n in range(4)]
    engine, other = WindowEngine(PLAN, bound=100, lateness_s=60), WindowEngine(PLAN, bound=100, lateness_s=60)
    step(engine, events[:4])
    for part in encode_snapshot(engine):
        restore_part(other, part)
    assert digest(other) == digest(engine)
    rows, again = step(engine, events[4:]), step(other, events[4:])
    assert np.isfinite(rows.values).all()
    assert (rows.values == again.values).all()
    step(engine, [events[0]._replace(at_us=9 * SECOND_US)])
    restored = WindowEngine(PLAN, bound=100, lateness_s=60)
    for part in encode_snapshot(engine):
        restore_part(restored, part)
    assert digest(restored) == digest(engine)
