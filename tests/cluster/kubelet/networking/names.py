"""The cluster's name server: answers for Services, over UDP. What is no name of the cluster does not exist: pods are not on the internet.

Source: RFC 1035 (messages), the Kubernetes DNS specification (names)."""

import asyncio
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Any, Final

from tests.cluster.kubelet.networking.bridge import Network

DOMAIN: Final = "cluster.local"
TTL_S: Final = 1
A: Final = 1
_ANSWER, _AUTHORITATIVE, _RECURSION, _NO_SUCH_NAME = 0x8000, 0x0400, 0x0100, 3
LookUp = Callable[[Sequence[str]], list[str]]
"""Labels before `svc.cluster.local`, e.g. (NAME, NAMESPACE), to addresses."""


def question(message: bytes) -> tuple[list[str], int, int]:
    """The first question: its labels, its type, and where it ends. Raises ValueError for what is cut off."""
    labels, at = [], 12
    while at < len(message) and message[at]:
        labels.append(message[at + 1 : at + 1 + message[at]].decode("ascii", "replace").lower())
        at += 1 + message[at]
    if at + 5 > len(message):
        raise ValueError("the question is cut off")
    return labels, struct.unpack_from(">H", message, at + 1)[0], at + 5


def answer(message: bytes, look_up: LookUp) -> bytes:
    """The response to a query. A name that is there, asked for another type than A, has no records of it."""
    labels, kind, end = question(message)
    domain = ["svc", *DOMAIN.split(".")]
    found = look_up(labels[: -len(domain)]) if labels[-len(domain) :] == domain else []
    records = found if kind == A else []
    flags = _ANSWER | _AUTHORITATIVE | (struct.unpack_from(">H", message, 2)[0] & _RECURSION) | (0 if found else _NO_SUCH_NAME)
    header = message[:2] + struct.pack(">HHHHH", flags, 1, len(records), 0, 0)
    packed = [struct.pack(">HHHIH", 0xC00C, A, 1, TTL_S, 4) + bytes(map(int, one.split("."))) for one in records]
    return header + message[12:end] + b"".join(packed)


class NameServer(asyncio.DatagramProtocol):
    """One socket's."""

    def __init__(self, look_up: LookUp) -> None:
        self._look_up = look_up
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        try:
            told = answer(data, self._look_up)
        except ValueError:
            return
        self._transport.sendto(told, addr)


async def serve(network: Network, look_up: LookUp) -> asyncio.DatagramTransport:
    """Answer at the network's address for names."""
    made = network.listener(network.names, 53, socket.SOCK_DGRAM)
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: NameServer(look_up), sock=made)
    return transport
