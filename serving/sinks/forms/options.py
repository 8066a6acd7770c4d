"""Options of a form beside the alert, and the fields that it finds in the event: addresses, ports, user, host."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from serving.sinks.alert import SinkAlert
from serving.sinks.text import one_line

VENDOR: Final = "Vedette"
PRODUCT: Final = "Vedette"
ObservedName = Literal[
    "source_ip",
    "source_port",
    "source_host",
    "destination_ip",
    "destination_port",
    "destination_host",
    "protocol",
    "user",
    "host",
]
FIELDS: Final[Mapping[ObservedName, tuple[str, ...]]] = {
    "source_ip": (
        "source.ip", "src_ip", "source_ip", "srcip", "SrcAddr", "src", "id.orig_h", "src_endpoint.ip", "sourceIPAddress",
        "client.ip", "client_ip", "c-ip", "IpAddress", "SourceIp", "host",
    ),
    "source_port": ("source.port", "src_port", "source_port", "sport", "Sport", "id.orig_p", "src_endpoint.port", "SourcePort"),
    "source_host": ("source.domain", "src_host", "SourceHostname", "src_endpoint.hostname"),
    "destination_ip": (
        "destination.ip", "dst_ip", "destination_ip", "dest_ip", "dstip", "DstAddr", "dst", "destination", "id.resp_h",
        "dst_endpoint.ip", "s-ip", "DestinationIp",
    ),
    "destination_port": (
        "destination.port", "dst_port", "destination_port", "dest_port", "dport", "Dport", "id.resp_p", "dst_endpoint.port",
        "DestinationPort",
    ),
    "destination_host": ("destination.domain", "dst_host", "DestinationHostname", "dst_endpoint.hostname", "cs-host"),
    "protocol": ("network.transport", "proto", "Proto", "protocol", "connection_info.protocol_name", "protocol_type"),
    "user": (
        "user.name", "user", "username", "user_name", "TargetUserName", "User", "actor.user.name", "userIdentity.userName",
        "userIdentity.arn", "UserPrincipalName",
    ),
    "host": ("host.name", "hostname", "host_name", "Computer", "ComputerName", "device.hostname", "host"),
}  # fmt: skip
"""Where each value is looked for: in the event, then among the join keys. A dot also steps into an object."""
_PORT: Final = re.compile(r"[0-9]{1,5}")
_TECHNIQUE: Final = re.compile(r"T[0-9]{4}(?:\.[0-9]{3})?")


@dataclass(frozen=True, slots=True)
class FormOptions:
    """Options of the forms of one sink. event_bytes: size of the event in a message; the rest is cut off, and the message says so."""

    version: str = "0"
    """Version of Vedette."""
    hostname: str = "-"
    """Host that writes syslog messages."""
    event_bytes: int = 16 * 1024
    fields: Mapping[ObservedName, tuple[str, ...]] = field(default_factory=dict)
    """Names of fields of the event that are tried before those of FIELDS."""
    facility: int = 10
    enterprise_id: int = 32473
    """Number of the enterprise in structured data. 32473 is reserved for examples (RFC 5612)."""
    has_bom: bool = True
    index: str = "vedette-alerts"
    splunk_index: str = ""
    sourcetype: str = "vedette:alert"


@dataclass(frozen=True, slots=True)
class Observed:
    """What an alert is about, as far as its event says. Addresses and ports are valid; unknown is None."""

    source_ip: str | None = None
    source_port: int | None = None
    source_host: str | None = None
    destination_ip: str | None = None
    destination_port: int | None = None
    destination_host: str | None = None
    protocol: str | None = None
    user: str | None = None
    host: str | None = None


def observe(alert: SinkAlert, options: FormOptions) -> Observed:
    """Find addresses, ports, user and host of an alert."""
    event, entity = alert.message.event, alert.message.verdict.entity

    def first(name: ObservedName, read: Any) -> Any:
        for path in (*options.fields.get(name, ()), *FIELDS[name]):
            for found in (_lookup(event, path), entity.get(path)):
                if found is not None and (value := read(found)) is not None:
                    return value
        return None

    host = first("host", _text)
    return Observed(
        first("source_ip", _address),
        first("source_port", _port),
        first("source_host", _text),
        first("destination_ip", _address),
        first("destination_port", _port),
        first("destination_host", _text),
        first("protocol", _protocol),
        first("user", _text),
        None if host is None or _address(host) is not None else host,
    )


def techniques(alert: SinkAlert) -> list[str]:
    """The ATT&CK ids of techniques, at most 100; other texts are left out.

    A rule may carry any text there, and a receiver may index these fields strictly."""
    found = dict.fromkeys(text.strip().upper() for text in alert.message.verdict.techniques)
    return [text for text in found if _TECHNIQUE.fullmatch(text)][:100]


def _lookup(event: Mapping[str, Any], path: str) -> Any:
    if path in event:
        return event[path]
    found: Any = event
    for name in path.split("."):
        if not isinstance(found, Mapping) or name not in found:
            return None
        found = found[name]
    return None if found is event else found


def _text(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return one_line(str(value)[:1000], 255) or None


def _address(value: Any) -> str | None:
    if not isinstance(value, str) or len(value) > 64 or "%" in value:
        return None
    try:
        return str(ipaddress.ip_address(value.strip()))
    except ValueError:
        return None


def _port(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    text = str(value)[:10].strip()
    return int(text) if text.isascii() and _PORT.fullmatch(text) and int(text) <= 65535 else None


def _protocol(value: Any) -> str | None:
    text = _text(value)
    return text.lower()[:32] if text is not None and text.isascii() and text.replace("-", "").isalnum() else None
