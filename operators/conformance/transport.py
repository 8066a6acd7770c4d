"""Makes the calls: HTTP by the standard library (which sends a malformed body as it is), gRPC by bytes without stubs.

Shell: no judgement here. A connection that fails or is closed is a reply of its own, NoReply."""

import http.client
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import SplitResult, urlsplit

import grpc

from operators.conformance.exchange import Call, GrpcCall, GrpcReply, HttpCall, HttpReply, NoReply, Reply
from serving.tls_trust import client_trust

_LARGEST_MESSAGE: Final = [
    ("grpc.max_receive_message_length", 256 << 20),
    ("grpc.max_send_message_length", 256 << 20),
    ("grpc.enable_retries", 0),
]


class TransportError(Exception):
    """The address given cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom to trust over TLS, and what to show, as PEM files. authority: None for what this machine trusts."""

    authority: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def context(self) -> ssl.SSLContext:
        """For HTTP. Raises TransportError."""
        try:
            made = client_trust(self.authority)
            if self.certificate is not None:
                made.load_cert_chain(self.certificate, self.key)
        except OSError as problem:
            raise TransportError(
                f"the certificates cannot be used: {problem}; give PEM files by --ca, --cert, --key"
            ) from problem
        return made

    def credentials(self) -> Any:
        """For gRPC. Raises TransportError."""
        try:
            read = [None if path is None else path.read_bytes() for path in (self.authority, self.key, self.certificate)]
        except OSError as problem:
            raise TransportError(
                f"the certificates cannot be read: {problem}; give PEM files by --ca, --cert, --key"
            ) from problem
        return grpc.ssl_channel_credentials(*read)


class Transport:
    """The two doors of one server. url: `http(s)://host:port[/prefix]`; address: `host:port`, `grpcs://host:port` for TLS."""

    def __init__(
        self,
        url: str | None,
        address: str | None,
        timeout_s: float,
        credentials: Mapping[str, str] | None = None,
        trust: Trust | None = None,
    ) -> None:
        self._timeout_s, self._trust = timeout_s, trust or Trust()
        self._shown = dict(credentials or {})
        self._url = _split(url) if url else None
        self._channel = _open(address, self._trust) if address else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._channel is not None:
            self._channel.close()

    @property
    def has_http(self) -> bool:
        """An HTTP address was given."""
        return self._url is not None

    @property
    def has_grpc(self) -> bool:
        """A gRPC address was given."""
        return self._channel is not None

    def send(self, call: Call) -> Reply:
        """Make one call on a connection of its own and wait for its reply."""
        return self.exchange((call,))[0]

    def exchange(self, calls: Sequence[Call]) -> tuple[Reply, ...]:
        """Make calls one after the other, those over HTTP on one connection: behind a shared port, the same replica."""
        connection: http.client.HTTPConnection | None = None
        replies: list[Reply] = []
        try:
            for call in calls:
                if isinstance(call, HttpCall):
                    connection = connection or self._connection()
                    replies.append(self._send_http(connection, call))
                else:
                    replies.append(self._send_grpc(call))
        finally:
            if connection is not None:
                connection.close()
        return tuple(replies)

    def _send_http(self, connection: http.client.HTTPConnection | None, call: HttpCall) -> Reply:
        if self._url is None or connection is None:
            return NoReply("no HTTP address was given")
        try:
            connection.request(
                call.method,
                self._url.path.rstrip("/") + call.path,
                body=call.body,
                headers={**self._shown, **dict(call.headers)},
            )
            response = connection.getresponse()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return HttpReply(response.status, headers, response.read())
        except (OSError, http.client.HTTPException) as error:
            connection.close()  # the next call opens it anew
            return NoReply(f"{type(error).__name__}: {error}")

    def _connection(self) -> http.client.HTTPConnection | None:
        if self._url is None:
            return None
        host, port = self._url.hostname or "", self._url.port
        if self._url.scheme == "https":
            return http.client.HTTPSConnection(host, port, timeout=self._timeout_s, context=self._trust.context())
        return http.client.HTTPConnection(host, port, timeout=self._timeout_s)

    def _send_grpc(self, call: GrpcCall) -> Reply:
        if self._channel is None:
            return NoReply("no gRPC address was given")
        try:
            if not call.is_stream:
                return GrpcReply(
                    "OK",
                    "",
                    self._channel.unary_unary(call.method)(
                        call.message, timeout=self._timeout_s, metadata=list(self._shown.items())
                    ),
                )
            stream = self._channel.stream_stream(call.method)(
                iter([call.message]), timeout=self._timeout_s, metadata=list(self._shown.items())
            )
            first = next(iter(stream), b"")
            stream.cancel()
            return GrpcReply("OK", "", first)
        except grpc.RpcError as error:
            return _status(error)


def _status(error: Any) -> Reply:
    """A status the server sent, or, where the channel made it up itself, NoReply."""
    code, details = error.code().name, error.details() or ""
    refused = code == "UNAVAILABLE" and any(
        word in details for word in ("failed to connect", "Socket closed", "DNS resolution")
    )
    return NoReply(f"{code}: {details}") if refused else GrpcReply(code, details, b"")


def _split(url: str) -> SplitResult:
    refusal = f"--http {url!r} is not an address; give e.g. http://127.0.0.1:8080"
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as problem:
        raise TransportError(f"{refusal} ({problem})") from problem
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise TransportError(refusal)
    return parts


def _open(address: str, trust: Trust) -> Any:
    scheme, _, rest = address.rpartition("://")
    if scheme not in ("", "grpc", "grpcs") or ":" not in rest:
        raise TransportError(f"--grpc {address!r} is not an address; give e.g. 127.0.0.1:8081")
    if scheme == "grpcs":
        return grpc.secure_channel(rest, trust.credentials(), options=_LARGEST_MESSAGE)
    return grpc.insecure_channel(rest, options=_LARGEST_MESSAGE)


Send = Callable[[Call], Reply]
Exchange = Callable[[Sequence[Call]], tuple[Reply, ...]]
