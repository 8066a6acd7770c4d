"""Deadlines and traces, from headers and parameters."""

import pytest

from serving.doors.oip.envelope import parameter_timeout_s, sooner, timeout_s, traceparent
from serving.errors import BadRequest

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("name", "value", "seconds"),
    [
        ("x-request-timeout-ms", "250", 0.25),
        ("x-request-timeout-ms", "0", None),
        ("x-envoy-expected-rq-timeout-ms", "15000", 15.0),
        ("grpc-timeout", "500m", 0.5),
        ("grpc-timeout", "2S", 2.0),
        ("grpc-timeout", "100u", 1e-4),
    ],
)
def test_timeout_headers(name, value, seconds):
    assert timeout_s(name.encode(), value.encode()) == (seconds and pytest.approx(seconds))


@pytest.mark.parametrize(
    ("name", "value"),
    [("x-request-timeout-ms", v) for v in ("", "x", "-1", "1.5", "9" * 99, "²")]
    + [("grpc-timeout", v) for v in ("", "5", "m", "5x")],
)
def test_timeout_headers_that_are_no_time(name, value):
    with pytest.raises(BadRequest, match=name):
        timeout_s(name.encode(), value.encode("utf-8"))


def test_the_timeout_parameter_is_in_microseconds():
    assert parameter_timeout_s({"timeout": 1500}) == pytest.approx(0.0015)
    assert parameter_timeout_s({"timeout": "1500"}) == pytest.approx(0.0015), "as text, from clients that have no numbers"
    assert parameter_timeout_s({"timeout": 0}) is None
    assert parameter_timeout_s({}) is None
    for wrong in (-1, 1.5, True, "x", "9" * 99):
        with pytest.raises(BadRequest, match="timeout"):
            parameter_timeout_s({"timeout": wrong})


def test_the_sooner_wins():
    assert (sooner(None, None), sooner(1.0, None), sooner(None, 1.0), sooner(2.0, 1.0)) == (None, 1.0, 1.0, 1.0)


@pytest.mark.parametrize("broken", ["", "00-x", TRACE.upper(), TRACE + "\n", "ff" * 99])
def test_a_broken_trace_is_ignored(broken):
    assert traceparent(broken) is None
    assert traceparent(TRACE) == TRACE
