"""Serialised values, by hand. That every type agrees with Feast is in tests/contract/serving/test_feature_reader.py."""

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.features.plan.blocks import decoder
from serving.features.plan.values import Malformed, decode, seconds_and_nanos


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        pytest.param(b"", None, id="nothing is null"),
        pytest.param(b"\x98\x01\x00", None, id="an explicit null is null"),
        pytest.param(b"\x0a\x02\xff\x00", b"\xff\x00", id="bytes"),
        pytest.param("\x12\x03é!".encode(), "é!", id="text"),
        pytest.param(b"\x20\x96\x01", 150, id="int64"),
        pytest.param(b"\x18" + b"\xff" * 9 + b"\x01", -1, id="a negative int32 is written in ten bytes"),
        pytest.param(b"\x29" + struct.pack("<d", 0.1), 0.1, id="double"),
        pytest.param(b"\x35" + struct.pack("<f", 0.5), 0.5, id="float"),
        pytest.param(b"\x38\x01", True, id="bool"),
        pytest.param(b"\x40" + b"\x80" * 9 + b"\x01", None, id="the null timestamp is null"),
        pytest.param(b"\x72\x04\x0a\x02\x01\x02", [1, 2], id="packed numbers"),
        pytest.param(b"\x72\x04\x08\x01\x08\x02", [1, 2], id="unpacked numbers"),
        pytest.param(b"\x62\x00", [], id="an empty list is no null"),
    ],
)
def test_decode(raw, value):
    assert decode(raw) == value


@given(st.binary(max_size=40))
def test_whatever_bytes_there_are_it_decodes_or_says_they_are_malformed(raw):
    with contextlib.suppress(Malformed):
        decode(raw)


def test_timestamps():
    assert seconds_and_nanos(b"\x08\x96\x01\x10\x05") == (150, 5)
    assert seconds_and_nanos(b"") == (0, 0)


def test_a_whole_number_of_more_than_64_bits_is_read_as_protobuf_reads_it_or_not_at_all():
    read = decoder("INT64", is_raw=True)
    values, missing = read([b"\x20" + b"\xff" * 9 + b"\x7f", b"\x20" + b"\xff" * 30 + b"\x01", b"\x20\x05"], [7])
    assert (values.tolist(), list(missing)) == ([[-1], [7], [5]], [1])
