"""The address of a client behind proxies. Only the header of trusted proxies counts. Pure.

A header counts only if the connection comes from a trusted proxy. It is read from its right end, because each proxy appends the address
that it saw itself: everything to the left of the first hop that is no trusted proxy may be the client's invention. Only one header is
read, the one that the proxies are said to write; a proxy passes the other on as the client sent it. A header that cannot be read is
ignored: then the proxy's own address is the client's.

Sources: RFC 7239 (Forwarded); MDN, X-Forwarded-For, "Selecting an IP address"."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final, Literal

from serving.telemetry.access_names import FORWARDED_HEADERS
from serving.telemetry.metric_doc import MetricDoc

X_FORWARDED_FOR: Final = b"x-forwarded-for"
FORWARDED: Final = b"forwarded"
MOST_HOPS: Final = 16
"""Trusted proxies on the way that are passed over."""
_MOST_BYTES: Final = 4096
"""From the right end; what stands before is never needed."""
OUTCOMES: Final = ("used", "stranger", "malformed")
"""stranger: the header did not come from a trusted proxy."""

Network = IPv4Network | IPv6Network
ProxyHeader = Literal["x-forwarded-for", "forwarded"]


class TrustedProxies:
    """Finds clients. networks: of the proxies, and of nobody else. Touched on the doors' loop; read in a thread."""

    def __init__(self, networks: Sequence[Network], header: ProxyHeader = "x-forwarded-for") -> None:
        self._networks = tuple(networks)
        self._header = header.encode()
        self._counts = Counter[tuple[str]]({(outcome,): 0 for outcome in OUTCOMES})
        self._is_trusted = lru_cache(maxsize=1024)(self._trusts)
        self._found = lru_cache(maxsize=1024)(self._client_in)

    def client_of(self, peer: str, headers: Mapping[bytes, bytes]) -> str:
        """The client's address. peer: of the connection, empty if it is not known. headers: by lower-case name, repeated ones joined by
        commas in their order."""
        value = headers.get(self._header)
        if value is None:
            return peer
        if not self._is_trusted(peer):
            self._counts["stranger",] += 1
            return peer
        if len(value) > _MOST_BYTES:  # the first hop of the rest is cut
            value = value[-_MOST_BYTES:].partition(b",")[2]
        client = self._found(value)
        self._counts["malformed" if client is None else "used",] += 1
        return peer if client is None else client

    def metrics(self) -> Iterator[tuple[MetricDoc, Mapping[tuple[str, ...], float]]]:
        """A telemetry.metrics.MetricSource."""
        yield FORWARDED_HEADERS, {key: float(n) for key, n in self._counts.copy().items()}

    def _trusts(self, address: str) -> bool:
        found = _plain(address.partition("%")[0])
        return found is not None and any(found in network for network in self._networks)

    def _client_in(self, value: bytes) -> str | None:
        """The rightmost hop that is no trusted proxy; the leftmost if all are. None: a hop on the way to it cannot be read."""
        hop: str | None = None
        for text in reversed(value.rsplit(b",", MOST_HOPS)[-MOST_HOPS:]):
            hop = _hop(text if self._header == X_FORWARDED_FOR else _for_of(text))
            if hop is None or not self._is_trusted(hop):
                return hop
        return hop if value.count(b",") < MOST_HOPS else None


def _for_of(element: bytes) -> bytes | None:
    """The parameter `for` of one element of a Forwarded header, without its quotes; None if it has none, or two.

    Elements are cut at commas whatever the quotes say: a quote that the client left open would swallow what a proxy appends."""
    found = None
    for pair in element.split(b";"):
        name, _, value = pair.partition(b"=")
        if name.strip().lower() == b"for":
            if found is not None:
                return None
            found = value.strip()
    if found is None or not found.startswith(b'"'):
        return found
    return found[1:-1] if len(found) > 1 and found.endswith(b'"') else None


def _hop(text: bytes | None) -> str | None:
    """An address as the header has it: `192.0.2.1`, `2001:db8::1`, `[2001:db8::1]`, each perhaps with a port."""
    if text is None:
        return None
    try:
        written = text.strip(b" \t").decode("ascii")
    except UnicodeDecodeError:
        return None
    if written.startswith("["):
        written, _, port = written[1:].partition("]")
        if port and not _is_port(port):
            return None
    elif written.count(":") == 1:
        written, _, port = written.partition(":")
        if not _is_port(f":{port}"):
            return None
    found = _plain(written)
    return None if found is None else str(found)


def _is_port(text: str) -> bool:
    return text[:1] == ":" and text[1:].isdigit() and len(text) <= 6


def _plain(text: str) -> IPv4Address | IPv6Address | None:
    """The address; IPv4 where IPv6 stands for it. None: it is no address, or has a zone."""
    if "%" in text:
        return None
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found
