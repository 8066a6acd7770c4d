"""Shapes: how many users there are when."""

import pytest

from loadtests.shapes import SHAPES, at, shape_of


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_reaches_its_peak_never_more_and_ends(name):
    shape = SHAPES[name]
    found = [at(shape, shape.seconds * n / 1000) for n in range(1000)]
    users = [one[0] for one in found if one is not None]
    assert len(users) == 1000
    assert max(users) == shape.peak
    assert min(users) >= 1
    assert users[-1] == users[0]  # it goes back, so that a run shows whether the server recovers
    assert at(shape, shape.seconds) is None


@pytest.mark.parametrize(
    ("name", "run_s", "users"),
    [
        pytest.param("spike", 0, 4, id="a spike begins with a tenth"),
        pytest.param("spike", 22.4, 4, id="up to its moment"),
        pytest.param("spike", 22.5, 40, id="all come at once"),
        pytest.param("spike", 45, 4, id="and are gone"),
        pytest.param("steps", 29.9, 4, id="a first step"),
        pytest.param("steps", 30, 8, id="each step doubles"),
        pytest.param("steps", 90, 32, id="the last step up"),
        pytest.param("soak", 1799, 16, id="a soak is level"),
        pytest.param("diurnal", 0, 5, id="midnight"),
        pytest.param("diurnal", 300, 32, id="noon"),
        pytest.param("diurnal", 150, 18, id="morning"),
    ],
)
def test_users(name, run_s, users):
    assert at(SHAPES[name], run_s)[0] == users


def test_a_shape_of_another_size_is_the_same_shape():
    small = shape_of("spike", users=10, seconds=10)
    assert [at(small, s) for s in (0, 2.9, 3, 5.9, 6, 10)] == [(1, 10), (1, 10), (10, 10), (10, 10), (1, 10), None]


@pytest.mark.parametrize(("users", "seconds"), [(0, 1), (1, 0)])
def test_a_shape_of_nothing_is_refused(users, seconds):
    with pytest.raises(ValueError, match="expected over 0 s, and at least 1 user"):
        shape_of("spike", users=users, seconds=seconds)


def test_a_spike_is_bounded():
    assert SHAPES["spike"].seconds <= 90
