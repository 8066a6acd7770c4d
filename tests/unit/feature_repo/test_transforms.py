"""Request-time fields into numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.flows import ENCODED, REQUEST_FIELDS
from feature_repo.transforms import encode_columns, encode_flows, flags, parse_port, port_class

ROW = {
    "proto": "TCP",
    "state": "SPA_FA",
    "sport": 50_000,
    "dport": 443,
    "duration": 2.0,
    "packets": 4,
    "bytes": 200,
    "src_bytes": 50,
}


def columns(*rows):
    return {name: [row[name] for row in rows] for name in ROW}


def test_one_flow():
    encoded = {name: values[0] for name, values in encode_flows(columns(ROW)).items()}
    assert encoded == {
        "proto": 1.0,
        "state": 0.0,
        "source_flags": 26.0,
        "destination_flags": 17.0,
        "sport_class": 3.0,
        "dport_class": 1.0,
        "dport_service": 16.0,
        "duration": 2.0,
        "packets": 4.0,
        "bytes": 200.0,
        "src_bytes": 50.0,
        "src_ratio": 0.25,
        "bytes_per_packet": 50.0,
        "packets_per_s": 2.0,
    }


def test_it_gives_what_the_declaration_says_of_what_it_asks_for():
    assert list(encode_flows(columns(ROW))) == [column.name for column in ENCODED]
    assert list(ROW) == [column.name for column in REQUEST_FIELDS]


rows = st.fixed_dictionaries(
    {
        "proto": st.sampled_from(["tcp", "udp", "icmp", "weird", ""]),
        "state": st.sampled_from(["CON", "S_RA", "_", "S_", "INT", "??_S", ""]),
        "sport": st.integers(-1, 65_535),
        "dport": st.integers(-1, 65_535),
        "duration": st.floats(0, 1e6),
        "packets": st.integers(0, 10**9),
        "bytes": st.integers(0, 10**12),
        "src_bytes": st.integers(0, 10**12),
    }
)


@given(st.lists(rows, min_size=1, max_size=8))
def test_a_batch_is_its_rows_one_by_one(batch):
    together = encode_flows(columns(*batch))
    apart = [encode_flows(columns(row)) for row in batch]
    assert together == {name: [one[name][0] for one in apart] for name in together}


@pytest.mark.parametrize(
    ("text", "port"),
    [("443", 443), ("0x0303", 771), ("0080", 80), ("", -1), (None, -1), ("  ", -1), ("http", -1)],
)
def test_parse_port(text, port):
    assert parse_port(text) == port


def test_port_classes():
    assert [port_class(p) for p in (-1, 0, 1023, 1024, 49_151, 49_152)] == [0, 1, 1, 2, 2, 3]


def test_flags_are_bits_and_anything_else_is_none():
    assert (flags("S"), flags("SA"), flags(""), flags("CON")) == (2.0, 18.0, 0.0, 0.0)


def test_any_detector_encodes_categories_by_place_and_numbers_as_they_are():
    encoded = encode_columns({"kind": ["b", "?"], "size": [1, 2]}, categories={"kind": ["a", "b"]}, numbers=["size"])
    assert encoded == {"kind": [2.0, 0.0], "size": [1.0, 2.0]}
