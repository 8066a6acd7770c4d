"""The sender of a request, as its connection and headers show it. serving.access verifies it."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from serving.access.credentials import API_KEY, AUTHORIZATION, ConnectionMemo, Credentials, PeerCertificate
from serving.access.forwarded import TrustedProxies
from serving.errors import ServingError

OnEarlyRefusal = Callable[[str, bytes, bytes | str | None, ServingError], None]
"""Told of an inference that admission refused before its body: the door, the path, the header `traceparent`, the error."""


class DoorConnection(Protocol):
    """What a connection knows of its client. Implemented by the connections of both doors."""

    peer: PeerCertificate | None
    memo: ConnectionMemo | None

    @property
    def address(self) -> str:
        """Of the client's socket, without port; empty if it is not known, as on a Unix socket."""
        ...


class ClientConnection:
    """The part of a connection that is a DoorConnection. A subclass sets `peer` and `memo`, and `_transport` when it is connected."""

    __slots__ = ()

    _transport: Any

    @property
    def address(self) -> str:
        """See DoorConnection."""
        name = self._transport.get_extra_info("peername")
        return str(name[0]) if isinstance(name, tuple) and name else ""


def memo_of(connection: DoorConnection) -> ConnectionMemo:
    """The memo of a connection, made when the first request needs it."""
    memo = connection.memo
    if memo is None:
        memo = connection.memo = ConnectionMemo(connection.address)
    return memo


def credentials_of(
    headers: Mapping[bytes, bytes], connection: DoorConnection | None, proxies: TrustedProxies | None = None
) -> Credentials:
    """What an HTTP request brings. proxies: who may say which client it is from."""
    authorization, api_key = headers.get(AUTHORIZATION), headers.get(API_KEY)
    if connection is None:
        return Credentials(authorization, api_key)
    memo = memo_of(connection)
    address = memo.address if proxies is None else proxies.client_of(memo.address, headers)
    return Credentials(authorization, api_key, connection.peer, address, memo)
