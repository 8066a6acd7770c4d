import math
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.capacity.assumptions import DEFAULTS, PriceRange, default_assumptions, parse_assumptions
from operators.capacity.demand import CapacityDemand, peak_of
from operators.capacity.errors import CapacityError
from operators.capacity.figures import REFERENCE, MeasuredFigure, PlanFigures, parse_figures
from operators.capacity.limits import LIMITS, bites
from operators.capacity.plan import plan
from operators.capacity.sizes import sizes, spread
from operators.capacity.waiting import within
from tests.unit.operators.capacity.figures_of import door, figure, plan_figures

FIGURES, ASSUMED = plan_figures(), default_assumptions()
PLATFORM = ASSUMED.platform
DEMAND = CapacityDemand(5e9, 0.01)
events = st.floats(1e6, 1e12)
zones = st.integers(1, 5)


@given(events, st.floats(1, 100), zones)
def test_more_events_never_need_less(one: float, times: float, zone_count: int):
    small = sizes(CapacityDemand(one, 0.01, zones=zone_count), FIGURES, PLATFORM)
    large = sizes(CapacityDemand(one * times, 0.01, zones=zone_count), FIGURES, PLATFORM)
    for pick in ("serving.replicas", "serving.nodes", "store.nodes", "stream.workers", "stream.partitions", "stream.brokers"):
        room, name = pick.split(".")
        assert getattr(getattr(large, room), name) >= getattr(getattr(small, room), name), pick


@given(st.floats(0.002, 1), st.floats(1, 100))
def test_a_looser_p99_never_needs_more_replicas(p99_s: float, times: float):
    tight, loose = (sizes(CapacityDemand(5e9, min(p, 60)), FIGURES, PLATFORM) for p in (p99_s, p99_s * times))
    assert loose.serving.replicas <= tight.serving.replicas


@given(st.floats(1e10, 1e12), st.integers(2, 20), zones)
def test_a_large_plan_grows_as_the_events_do(one: float, times: int, zone_count: int):
    small = sizes(CapacityDemand(one, 0.01, zones=zone_count), FIGURES, PLATFORM)
    large = sizes(CapacityDemand(one * times, 0.01, zones=zone_count), FIGURES, PLATFORM)
    assert large.serving.needed == pytest.approx(small.serving.needed * times)
    # whole replicas, as many in each zone; with one zone, a node's more
    slack = 2 * zone_count + small.serving.replicas_per_node * (zone_count == 1)
    assert abs(large.serving.replicas - small.serving.replicas * times) <= slack * times


@given(events, st.integers(2, 5), st.floats(0.003, 0.1))
def test_without_a_zone_the_peak_is_held(one: float, zone_count: int, p99_s: float):
    demand = CapacityDemand(one, p99_s, zones=zone_count)
    found = sizes(demand, FIGURES, PLATFORM)
    left = found.serving.replicas * (zone_count - 1) // zone_count
    assert within(FIGURES.door(demand.door).replica(), demand.door_rate / left, p99_s) >= 0.99 - 1e-6


@given(events)
def test_with_one_zone_a_node_may_be_lost(one: float):
    found = sizes(CapacityDemand(one, 0.01, zones=1), FIGURES, PLATFORM).serving
    assert (
        found.replicas - min(found.replicas_per_node, found.replicas) >= found.needed
        or found.nodes == 1
        or (found.replicas_per_node * (found.nodes - 1) >= found.needed)
    )


@given(st.floats(0, 1e6), st.integers(2, 12))
def test_pieces_outside_any_zone_are_enough(needed: float, zone_count: int):
    pieces = spread(needed, zone_count)
    assert pieces % zone_count == 0
    assert pieces * (zone_count - 1) / zone_count >= needed - 1e-6


@given(events)
def test_each_line_lies_within_its_bounds(one: float):
    for line in plan(CapacityDemand(one, 0.01), FIGURES, ASSUMED).lines:
        assert 0 <= line.low <= line.value <= line.high, line
        assert math.isfinite(line.high)
        assert line.formula
        assert line.inputs or line.name.startswith("peak")


def test_one_price_and_fuller_nodes_by_the_lower_bounds_leave_each_cost_within_its_bounds():
    """With the lower bounds a replica takes more of a node, and by rounding there may be more nodes."""
    wide = msgspec.structs.replace(door(1e-3), busy_s=figure(1e-3, 0.5), cpu_s=figure(1.2e-3, 0.0))
    found = sizes(replace(DEMAND, events_per_day=1.54e9), plan_figures(doors={"http/features": wide}), PLATFORM, "low")
    one = msgspec.structs.replace(ASSUMED.prices, core_hour=PriceRange(0.05, 0.05))
    planned = plan(
        replace(DEMAND, events_per_day=1.54e9),
        plan_figures(doors={"http/features": wide}),
        msgspec.structs.replace(ASSUMED, prices=one),
    )
    assert found.serving.nodes > planned.sizes.serving.nodes
    for line in planned.lines:
        assert line.low <= line.value <= line.high, line


def test_the_network_carries_the_features_of_events_too():
    found, door_of, redis, event = sizes(DEMAND, FIGURES, PLATFORM), FIGURES.door(DEMAND.door), FIGURES.redis, FIGURES.stream
    requests = DEMAND.door_rate * (door_of.request_bytes.value + door_of.answer_bytes.value)
    events_s = DEMAND.stream_rate * (event.event_bytes.value + event.verdict_bytes.value)
    assert found.network_bytes_s == pytest.approx(requests + events_s + DEMAND.peak_rate * redis.reply_bytes.value)


def test_upper_bounds_that_no_replica_can_answer_with_leave_no_bound_above():
    wild = msgspec.structs.replace(
        door(160e-6), pause_per_s=MeasuredFigure(1.0, 1.0, 30.0), pause_s=MeasuredFigure(0.001, 0.001, 0.03)
    )
    found = plan(DEMAND, plan_figures(doors={"http/features": wild, "http": wild}), ASSUMED)
    assert (
        found.line("serving/replicas").high
        == found.line("cost/all").high
        == found.line("serving/replicas at http").high
        == math.inf
    )
    assert found.line("audit/archive").high < math.inf


def test_an_unmeasured_door_is_named_with_those_that_were():
    with pytest.raises(CapacityError, match=r"door 'smtp'.*http/features, http, grpc"):
        plan(replace(DEMAND, door="smtp"), FIGURES, ASSUMED)


def test_a_latency_that_no_replica_has_is_refused_with_what_one_has():
    with pytest.raises(CapacityError, match=r"--p99 0.4 ms cannot be had.*0.56 ms"):
        plan(replace(DEMAND, p99_s=0.0004), FIGURES, ASSUMED)


def test_what_is_not_asked_for_is_not_planned():
    found = sizes(replace(DEMAND, stream_share=0, batch_share=0, door="grpc"), FIGURES, PLATFORM)
    assert (found.stream.workers, found.stream.brokers, found.batch_cores, found.store.shards) == (0, 0, 0, 0)
    nothing_at_doors = sizes(replace(DEMAND, stream_share=1), FIGURES, PLATFORM)
    assert (nothing_at_doors.serving.replicas, nothing_at_doors.serving.nodes) == (0, 0)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"events_per_day": 0}, "--events-per-day is 0"),
        ({"events_per_day": math.inf}, "--events-per-day is inf"),
        ({"p99_s": math.nan}, "--p99 is nan"),
        ({"zones": 0}, "--zones is 0"),
        ({"stream_share": 1.5}, "--stream-share is 1.5, expected 0 to 1"),
        ({"years": -1}, "--years is -1"),
    ],
)
def test_a_demand_out_of_range_is_refused_by_its_option(wrong: dict[str, float], words: str):
    with pytest.raises(CapacityError, match=words):
        replace(DEMAND, **wrong)


@pytest.mark.parametrize("profile", [[], [1.0] * 23, [0.0] * 24, [math.nan] * 24, [-1.0] * 24])
def test_a_profile_is_24_hours(profile: list[float]):
    with pytest.raises(CapacityError, match="expected 24"):
        peak_of(profile)


def _changed(**changes: object) -> bytes:
    whole = msgspec.json.decode(msgspec.json.encode(FIGURES))
    whole.update(changes)
    return msgspec.json.encode(whole)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "f.json: "),
        (b"[]", "f.json: Expected `object`"),
        (_changed(version=2), "version 2, this program reads version 1"),
        (_changed(doors={}), "no door"),
        (_changed(more=1), "unknown field"),
        (_changed(row_s={"value": 1.0, "low": 2.0, "high": 3.0}), r"row_s"),
        (_changed(row_s={"value": -1.0, "low": -1.0, "high": 3.0}), r"0 <= low"),
    ],
)
def test_a_file_of_figures_that_is_none_is_refused_with_its_field(text: bytes, words: str):
    with pytest.raises(CapacityError, match=words):
        parse_figures(text, "f.json")


def test_a_door_that_takes_no_time_by_a_bound_is_refused():
    idle = {**msgspec.to_builtins(door(1e-4)), "busy_s": {"value": 1e-4, "low": 0.0, "high": 2e-4}}
    with pytest.raises(CapacityError, match=r"f\.json: .*busy_s is above 0"):
        parse_figures(_changed(doors={"http": idle}), "f.json")


def test_a_door_that_would_always_stand_still_is_refused():
    still = {**msgspec.to_builtins(door(1e-4)), "pause_s": {"value": 1.0, "low": 1.0, "high": 1.0}}
    text = _changed(doors={"http": still})
    with pytest.raises(CapacityError, match="stand still"):
        parse_figures(text, "f.json")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("node_cores: 16 ", "node_cores: 0 ", "node_cores is 0, expected above 0"),
        ("node_reserved: 0.1 ", "node_reserved: 1 ", "node_reserved is 1, expected 0 to 0.9"),
        ("redis_busy: 0.6 ", "redis_busy: 60 ", "redis_busy is 60"),
        ("low: 0.025, high: 0.06", "low: 2, high: 1", "low 2 and high 1"),
        ("node_cores:", "cores:", "unknown field"),
        ("platform:", "platform: [", "a.yaml"),
        ("kafka_days: 3 ", "kafka_days: 2026-13-01 ", "a.yaml: month"),
        ("broker_partitions: 4000 ", f"broker_partitions: 4{'0' * 400} ", "a.yaml: "),
    ],
)
def test_a_file_of_assumptions_that_is_none_is_refused_with_its_field(old: str, new: str, words: str):
    text = DEFAULTS.read_text(encoding="utf-8")
    assert old in text
    with pytest.raises(CapacityError, match=words):
        parse_assumptions(text.replace(old, new, 1), "a.yaml")


def test_the_figures_that_come_along_make_a_plan():
    found = parse_figures(REFERENCE.read_bytes(), REFERENCE.name)
    assert isinstance(found, PlanFigures)
    assert plan(DEMAND, found, ASSUMED).line("cost/all").value > 0


def test_what_bites_is_reached_where_it_says():
    for bite in bites(DEMAND, FIGURES, PLATFORM):
        assert (bite.used > 1) == (bite.reached_at < DEMAND.events_per_day), bite.resource.name
    small = replace(DEMAND, events_per_day=1e6, entities=1e4)
    assert all(bite.used < 1 for bite in bites(small, FIGURES, PLATFORM))


def test_the_log_of_events_alone_lies_on_the_nodes_of_the_workers():
    demand = replace(DEMAND, events_per_day=5e11, stream_share=1)
    found = sizes(demand, FIGURES, PLATFORM)
    disk = next(bite for bite in bites(demand, FIGURES, PLATFORM) if bite.resource.name == "disk of a node's log")
    nodes = found.stream.workers / PLATFORM.node_cores
    assert disk.used == pytest.approx(found.record.hot_bytes / nodes / (PLATFORM.node_disk_gb * 1e9))


def test_the_most_used_resource_comes_first_and_each_is_judged():
    found = bites(DEMAND, FIGURES, PLATFORM, 10)
    assert [b.used for b in found] == sorted((b.used for b in found), reverse=True)
    assert {b.resource.name for b in found} == {one.name for one in LIMITS}


def test_a_door_that_costs_as_much_as_the_plans_own_needs_as_many_replicas_also_where_the_simulation_asks_for_more():
    figures = plan_figures(doors=dict.fromkeys(("http/features", "grpc/features"), door(160e-6)))
    for steps in (0, 10):
        found = plan(DEMAND, figures, ASSUMED, steps)
        assert found.line("serving/replicas at grpc/features").value == found.sizes.serving.replicas


def test_a_door_has_bounds_of_its_own():
    wild = msgspec.structs.replace(
        door(160e-6), pause_per_s=MeasuredFigure(1.0, 1.0, 30.0), pause_s=MeasuredFigure(0.001, 0.001, 0.03)
    )
    found = plan(DEMAND, plan_figures(doors={"http/features": wild, "http": door(110e-6)}), ASSUMED)
    assert found.line("serving/replicas").high == math.inf
    assert found.line("serving/replicas at http").high < math.inf
