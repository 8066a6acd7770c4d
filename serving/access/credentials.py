"""What a request brings to show who asks, and who asks once that is verified. Values only.

The doors fill `Credentials`: the headers of each request, and the certificate of its connection. A connection has an attribute `peer`
(serving.doors.http.connection.HttpConnection, serving.doors.http2.connection.Http2Connection): None, or the certificate that the TLS
handshake verified. It is read once per connection, never per request."""

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

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
    DER form, 64 hexadecimal digits."""

    subject: str
    dns_names: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    sha256: str = ""


class Credentials(NamedTuple):
    """What one request brings. authorization, api_key: values of the headers as they came, None where there is none. address: of the
    client's socket, without port; empty if it is not known. They are secrets: nothing logs them."""

    authorization: bytes | None = None
    api_key: bytes | None = None
    certificate: PeerCertificate | None = None
    address: str = ""

    def __repr__(self) -> str:
        brought = [name for name, value in zip(self._fields, self, strict=True) if value]
        return f"Credentials({', '.join(brought)})"


class Caller(msgspec.Struct, frozen=True, gc=False):
    """Who asks, verified. name: unique among all callers, `METHOD:NAME`, empty if nobody authenticated. tenant: whose data they may touch;
    empty: no tenant. roles: of the policy."""

    name: str = ""
    tenant: str = ""
    method: AuthMethod = "anonymous"
    roles: frozenset[str] = frozenset()


ANONYMOUS: Final = Caller()
"""A request that shows nothing."""
