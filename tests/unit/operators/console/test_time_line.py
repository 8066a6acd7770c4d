"""The span and the places of an entity's time line."""

from hypothesis import given
from hypothesis import strategies as st

from operators.console.detections.risks import RiskPoint
from operators.console.detections.timeline import HEIGHT, HOUR_US, RECENT_US, WIDTH, span_of, time_line
from tests import laws

NOW_US = 1_800_000_000_000_000


@given(st.lists(st.integers(NOW_US - 2 * RECENT_US, NOW_US), max_size=6))
@laws.examples(100)
def test_a_span_ends_now_and_covers_what_is_recent_or_else_all_there_is(times):
    since_us, until_us = span_of(times, NOW_US)
    recent = [at for at in times if at >= NOW_US - RECENT_US]
    assert until_us - since_us >= HOUR_US
    assert all(since_us <= at <= until_us for at in (recent or times))
    assert (until_us == NOW_US) == bool(recent or not times) or not recent


@given(st.lists(st.tuples(st.integers(-(10**18), 10**18), st.floats(-5, 5)), max_size=5))
@laws.examples(100)
def test_everything_is_drawn_within_the_picture(points):
    risk = [RiskPoint(at_us, value, {}) for at_us, value in points]
    drawn = time_line([], risk, NOW_US - HOUR_US, NOW_US)
    places = [tuple(map(float, one.split(","))) for one in drawn.risk.split()]
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in places)
