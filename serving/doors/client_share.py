"""How many connections one client address may hold, so that a single client cannot take all of a door's.

An IPv6 client has a network of 2^64 addresses, so those of one /64 count as one. A proxy that hides many clients behind one address needs
the share 1 (no limit)."""

import socket
from typing import Any, Final

Client = str | bytes | None
"""Whose connection it is; None if it is not counted."""
NO_LIMIT: Final = 0


class ClientShare:
    """Counts of one door, touched on its loop only. most: connections of one address; NO_LIMIT: any number."""

    __slots__ = ("_held", "_most")

    def __init__(self, most: int = NO_LIMIT) -> None:
        self._most = most
        self._held: dict[str | bytes, int] = {}

    def enter(self, transport: Any) -> tuple[Client, bool]:
        """Count a new connection: whose it is, for `leave`, and whether it is within the limit."""
        if not self._most:
            return None, True
        address = transport.get_extra_info("peername")
        if not isinstance(address, tuple):
            return None, True
        client: str | bytes = address[0] if ":" not in address[0] else _network(address[0])
        held = self._held[client] = self._held.get(client, 0) + 1
        return client, held <= self._most

    def leave(self, client: Client) -> None:
        """It is gone."""
        if client is not None:
            held = self._held[client] - 1
            if held:
                self._held[client] = held
            else:
                del self._held[client]


def share_of(connections: int, share: float) -> int:
    """The limit for one address: a share of a door's connections, NO_LIMIT for the share 1."""
    return NO_LIMIT if share >= 1 else max(1, int(connections * share))


def _network(address: str) -> str | bytes:
    packed = socket.inet_pton(socket.AF_INET6, address.partition("%")[0])
    if packed[:12] == b"\0" * 10 + b"\xff\xff":  # IPv4 on a socket of both
        return socket.inet_ntop(socket.AF_INET, packed[12:])
    return packed[:8]
