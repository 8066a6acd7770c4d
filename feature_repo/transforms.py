"""Encodes request-time fields as numbers: the functions behind the on-demand views.

Pure, and the same code for training (Feast's historical retrieval) and serving (called directly by the feature plan). A transform takes
columns, a mapping of name to a sequence with one element per row, and returns columns as lists. Plain lists are faster than numpy for
the one row that a request usually has, and take 0.1 s for 100,000 rows."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

Columns = Mapping[str, Sequence[Any]]

PROTOCOLS: Final = ("tcp", "udp", "icmp", "igmp", "arp", "rtp", "rtcp", "esp", "gre", "ipv6", "ipv6-icmp", "pim", "unas")
STATES: Final = ("CON", "INT", "URP", "ECO", "ECR", "RED", "UNK", "REQ", "RSP", "TXD", "TST", "URH", "URHPRO", "URF", "NNS")
SERVICES: Final = (21, 22, 23, 25, 53, 80, 110, 123, 135, 137, 138, 139, 143, 161, 389, 443, 445, 465, 587, 993, 995, 1433)
SERVICES_HIGH: Final = (1900, 3306, 3389, 5060, 5222, 5353, 5432, 5900, 6379, 6667, 8000, 8080, 8443, 9200, 13363, 27017)
FLAGS: Final = {"F": 1, "S": 2, "R": 4, "P": 8, "A": 16, "E": 32, "C": 64, "U": 128}

_FEW: Final = 64
"""With fewer rows than this, each row's state is decoded by itself; with more, each distinct state once."""
_PROTOCOL: Final = {name: float(i) for i, name in enumerate(PROTOCOLS, 1)}
_STATE: Final = {name: float(i) for i, name in enumerate(STATES, 1)}
_SERVICE: Final = {port: float(i) for i, port in enumerate(SERVICES + SERVICES_HIGH, 1)}


def parse_port(text: str | None) -> int:
    """A port as flow records write it: decimal or hexadecimal (`0x0303`). -1 if it is empty or not a number."""
    if not text or not text.strip():
        return -1
    try:
        return int(text, 0)
    except ValueError:
        return int(text) if text.isdecimal() and len(text) < 20 else -1  # "0080": Python reads no decimal with leading zeros


def port_class(port: int) -> float:
    """The class of a port: 0 none, 1 below 1024 (system), 2 below 49152 (registered), 3 above (dynamic). Source: RFC 6335."""
    return 0.0 if port < 0 else 1.0 if port < 1024 else 2.0 if port < 49152 else 3.0


def flags(text: str) -> float:
    """TCP flags of one side as a sum of the bits in FLAGS; 0 if the text holds anything else."""
    bits = 0
    for letter in text:
        bit = FLAGS.get(letter)
        if bit is None:
            return 0.0
        bits |= bit
    return float(bits)


def encode_flows(columns: Columns) -> dict[str, list[float]]:
    """Encode the request-time fields of network flows (`flows.REQUEST_FIELDS`), n rows. `flows.ENCODED` says what each output means."""
    states = [str(state).upper() for state in columns["state"]]
    durations = [float(value) for value in columns["duration"]]
    packets = [float(value) for value in columns["packets"]]
    sizes = [float(value) for value in columns["bytes"]]
    sent = [float(value) for value in columns["src_bytes"]]
    dports = columns["dport"]
    if len(states) < _FEW:
        sides = [state.partition("_") for state in states]
        source_flags = [flags(source) if separator else 0.0 for source, separator, _ in sides]
        destination_flags = [flags(destination) for _, _, destination in sides]
    else:  # each distinct value is looked at once
        known = {state: state.partition("_") for state in set(states)}
        by_source = {state: flags(source) if separator else 0.0 for state, (source, separator, _) in known.items()}
        by_destination = {state: flags(destination) for state, (_, _, destination) in known.items()}
        source_flags, destination_flags = [by_source[state] for state in states], [by_destination[state] for state in states]
    return {
        "proto": [_PROTOCOL.get(str(proto).lower(), 0.0) for proto in columns["proto"]],
        "state": [_STATE.get(state, 0.0) for state in states],
        "source_flags": source_flags,
        "destination_flags": destination_flags,
        "sport_class": [port_class(port) for port in columns["sport"]],
        "dport_class": [port_class(port) for port in dports],
        "dport_service": [_SERVICE.get(port, 0.0) for port in dports],
        "duration": durations,
        "packets": packets,
        "bytes": sizes,
        "src_bytes": sent,
        "src_ratio": [a / b if b > 0 else 0.0 for a, b in zip(sent, sizes, strict=True)],
        "bytes_per_packet": [a / b if b > 0 else 0.0 for a, b in zip(sizes, packets, strict=True)],
        "packets_per_s": [a / b if b > 0 else 0.0 for a, b in zip(packets, durations, strict=True)],
    }


def encode_columns(
    columns: Columns, *, categories: Mapping[str, Sequence[str]] | None = None, numbers: Sequence[str] = ()
) -> dict[str, list[float]]:
    """Encode any detector's request-time fields. Each output has the name of its field.

    categories: field -> its known values; a value becomes its place in that list, from 1, or 0 if it is not there. numbers: fields that
    are numbers already."""
    encoded: dict[str, list[float]] = {}
    for name, values in (categories or {}).items():
        places = {value: float(i) for i, value in enumerate(values, 1)}
        encoded[name] = [places.get(str(value), 0.0) for value in columns[name]]
    for name in numbers:
        encoded[name] = [float(value) for value in columns[name]]
    return encoded
