"""Bytes of spans to an OTLP/HTTP collector, over one connection that is kept. Used by one thread.

The variables OTEL_EXPORTER_OTLP_* of OpenTelemetry's exporters say headers, compression, and the files of TLS; HTTP_PROXY, HTTPS_PROXY
and NO_PROXY are honoured too, ALL_PROXY is not. What the collector asks to be sent again, and what a connection lost, is tried again until
the time is over.

Source: OTLP specification 1.x, OTLP/HTTP; OpenTelemetry's specification of the exporter's variables."""

import gzip
import http.client
import os
import random
import ssl
import threading
import time
import urllib.request
import zlib
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from ipaddress import ip_address, ip_network
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from opentelemetry.util.re import parse_env_headers

from serving.tls_trust import client_trust

PATH: Final = "/v1/traces"
AGAIN: Final = frozenset({429, 502, 503, 504})
"""Statuses that ask for another attempt."""
_MOST_ANSWER: Final = 65_536
"""Bytes of an answer that are read to keep its connection; one with more loses it."""
_JITTER: Final = 0.2
_LEAST_S: Final = 0.1
"""Between two attempts, also where the collector says `Retry-After: 0`."""


class OtlpHttp:
    """Sends to one collector. endpoint: its base URL. timeout_s: for one call of `send`, all attempts together.

    Raises ValueError, which does not repeat the URL, if it holds a user or a password."""

    def __init__(self, endpoint: str, timeout_s: float, environ: Mapping[str, str] = os.environ) -> None:
        if "@" in urlsplit(endpoint).netloc:
            raise ValueError(
                "the URL of the OpenTelemetry collector (VEDETTE_OTLP_ENDPOINT, VEDETTE_OPERATOR_OTLP_ENDPOINT) holds a user or "
                "a password, which would not be sent; take it out, and put the secret into OTEL_EXPORTER_OTLP_HEADERS, "
                "e.g. authorization=Bearer%20TOKEN"
            )
        self._url, self._timeout_s, self._environ = f"{endpoint.rstrip('/')}{PATH}", timeout_s, environ
        self._headers = {
            "content-type": "application/x-protobuf",
            "user-agent": "vedette",
            **parse_env_headers(self._said("HEADERS"), liberal=True),
        }
        self._compression = self._said("COMPRESSION").strip().lower()
        if self._compression in ("gzip", "deflate"):
            self._headers["content-encoding"] = self._compression
        self._connection: http.client.HTTPConnection | None = None
        self._target = ""
        self._closing = threading.Event()

    def send(self, body: bytes) -> bool:
        """Whether the collector has it. Never raises for anything of the network, of TLS or of its files."""
        packed, deadline_s, attempt = self._packed(body), time.monotonic() + self._timeout_s, 0
        while True:
            status, wait_s = self._attempt(packed, deadline_s)
            if status is not None and 200 <= status < 300:
                return True
            if status is not None and status not in AGAIN:
                return False
            backoff_s = 2**attempt * random.uniform(1 - _JITTER, 1 + _JITTER) if wait_s is None else max(wait_s, _LEAST_S)  # noqa: S311  # nosec B311
            attempt += 1
            if backoff_s > deadline_s - time.monotonic() or self._closing.wait(backoff_s):
                return False

    def close(self) -> None:
        """Try nothing again, and close the connection once `send` has returned. From any thread."""
        self._closing.set()

    def disconnect(self) -> None:
        """Close the connection; the next `send` opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _attempt(self, body: bytes, deadline_s: float) -> tuple[int | None, float | None]:
        """Status, None if there is none; and what the collector said how long to wait. A kept connection that is gone is opened again."""
        for is_kept in (self._connection is not None, False):
            try:
                return self._post(body, max(deadline_s - time.monotonic(), 0.001))
            except (OSError, http.client.HTTPException, ValueError):  # ValueError: a URL or file that cannot be used
                self.disconnect()
                if not is_kept:
                    break
        return None, None

    def _post(self, body: bytes, timeout_s: float) -> tuple[int, float | None]:
        connection = self._connection
        if connection is None:
            connection = self._connection = self._open(timeout_s)
        if connection.sock is not None:
            connection.sock.settimeout(timeout_s)
        connection.request("POST", self._target, body, self._headers)
        answer = connection.getresponse()
        answer.read(_MOST_ANSWER)
        if not answer.isclosed() or answer.will_close:
            self.disconnect()
        return answer.status, _seconds(answer.headers.get("retry-after"))

    def _open(self, timeout_s: float) -> http.client.HTTPConnection:
        url = urlsplit(self._url)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError(f"{self._url}: is not the URL of a collector")
        self._target = url.path if not url.query else f"{url.path}?{url.query}"
        proxy = _proxy_of(url)
        if url.scheme == "https":
            place = proxy or url
            secure = http.client.HTTPSConnection(place.hostname or "", place.port, timeout=timeout_s, context=self._context())
            if proxy is not None:
                secure.set_tunnel(url.hostname, url.port or 443, _proxy_headers(proxy))
            return secure
        if proxy is None:
            return http.client.HTTPConnection(url.hostname, url.port, timeout=timeout_s)
        self._target = self._url
        self._headers.update(_proxy_headers(proxy))
        return http.client.HTTPConnection(proxy.hostname or "", proxy.port, timeout=timeout_s)

    def _context(self) -> ssl.SSLContext:
        """Made for each connection, so that files that were renewed are read."""
        context = client_trust(self._said("CERTIFICATE") or None)
        certificate = self._said("CLIENT_CERTIFICATE")
        if certificate:
            context.load_cert_chain(certificate, self._said("CLIENT_KEY") or None)
        return context

    def _said(self, name: str) -> str:
        """What a variable says of traces, else of everything; empty if neither is set."""
        return self._environ.get(f"OTEL_EXPORTER_OTLP_TRACES_{name}") or self._environ.get(f"OTEL_EXPORTER_OTLP_{name}") or ""

    def _packed(self, body: bytes) -> bytes:
        if self._compression == "gzip":
            return gzip.compress(body)
        return zlib.compress(body) if self._compression == "deflate" else body


def _proxy_of(url: SplitResult) -> SplitResult | None:
    """The proxy that the environment names for a URL, by HTTP_PROXY, HTTPS_PROXY and NO_PROXY (names and networks)."""
    proxies = urllib.request.getproxies()
    named = proxies.get(url.scheme)
    if (
        not named
        or urllib.request.proxy_bypass(url.netloc.rpartition("@")[2])
        or _is_in(url.hostname or "", proxies.get("no", ""))
    ):
        return None
    return urlsplit(named if "://" in named else f"http://{named}")


def _is_in(host: str, networks: str) -> bool:
    """Whether NO_PROXY has a network of this address, e.g. 10.0.0.0/8; the standard library knows names only."""
    for text in networks.split(","):
        with suppress(ValueError):
            if "/" in text and ip_address(host) in ip_network(text.strip(), strict=False):
                return True
    return False


def _proxy_headers(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    who = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"proxy-authorization": f"Basic {b64encode(who.encode()).decode()}"}


def _seconds(retry_after: str | None) -> float | None:
    """Of the header Retry-After: seconds, or a date; None if it is neither."""
    if retry_after is None:
        return None
    try:
        if retry_after.strip().isdigit():
            return float(retry_after)
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (TypeError, ValueError):
        return None
