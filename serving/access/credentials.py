"""The credentials that a request brings, and the caller after they are verified. Values only.

The doors fill `Credentials`: the headers of each request, and the certificate of its connection. A connection has an attribute `peer`
(serving.doors.http.connection.HttpConnection, serving.doors.http2.connection.Http2Connection): None, or the certificate that the TLS
handshake verified. It is read once per connection, never per request."""

from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import msgspec

AUTHORIZATION: Final = b"authorization"
"""HTTP header, and gRPC metadata, with `Bearer TOKEN`."""
API_KEY: Final = b"x-api-key"
"""HTTP header, and gRPC metadata, with an API key."""

AuthMethod = Literal["anonymous", "token", "key", "certificate", "replica"]
"""How a caller was authenticated. replica: another replica of the same store, which reads metrics."""


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """A client certificate that TLS has verified against the bundle of client CAs. Nothing here is believed unless TLS verified it.

    subject: RFC 4514 text, e.g. `CN=soar,O=SOC`. dns_names, uris: of the subject alternative name; a SPIFFE ID is a URI. sha256: of the
    DER form, 64 hexadecimal digits. expires_s: its end, seconds since the epoch; TLS looks at it once, and a connection may last longer."""

    subject: str
    dns_names: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    sha256: str = ""
    expires_s: float = float("inf")


class ConnectionMemo:
    """Who the last request of a connection was, so that the next one with the same headers is a comparison. It lives as long as its
    connection, which holds the headers of its last request anyway. address: of the client's socket, without port."""

    __slots__ = ("address", "api_key", "authorization", "known", "valid")

    def __init__(self, address: str) -> None:
        self.address = address
        self.authorization: bytes | None = None
        self.api_key: bytes | None = None
        self.known: Any = None
        self.valid: object = None
        """What `known` was decided by; it counts while the authenticator has the same."""


class Credentials(NamedTuple):
    """What one request brings. authorization, api_key: values of the headers as they came, None where there is none. address: the
    client's, without port; empty if it is not known. memo: of the connection, if there is one. They are secrets: nothing logs
    them."""

    authorization: bytes | None = None
    api_key: bytes | None = None
    certificate: PeerCertificate | None = None
    address: str = ""
    memo: ConnectionMemo | None = None

    def __repr__(self) -> str:
        brought = [name for name in ("authorization", "api_key", "certificate") if getattr(self, name)]
        return f"Credentials({', '.join(brought)})"


NOTHING_SHOWN: Final = Credentials()


class Caller(msgspec.Struct, frozen=True, gc=False):
    """Who asks, verified. name: unique among all callers, `METHOD:NAME`, empty if nobody authenticated. tenant: whose data they may touch;
    empty: no tenant. roles: of the policy."""

    name: str = ""
    tenant: str = ""
    method: AuthMethod = "anonymous"
    roles: frozenset[str] = frozenset()


ANONYMOUS: Final = Caller()
"""A request that shows nothing."""
