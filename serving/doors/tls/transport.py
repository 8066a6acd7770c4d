"""One encrypted connection: OpenSSL on memory between a socket's transport and a door's connection.

To the socket it is the protocol, to the door's connection it is the transport. It keeps no bytes of its own beside an incomplete record:
what a door writes is encrypted and handed on in the same call, so the sizes and pauses of the socket's buffer are the door's.
docs/decisions/0066 has the figures against the TLS of uvloop and asyncio."""

import asyncio
import logging
import ssl
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final, cast

from serving.access.credentials import PeerCertificate
from serving.doors.client_share import Client
from serving.doors.tls.handshakes import OPENED, Handshakes, reason_of
from serving.doors.tls.x509 import peer_certificate

PEER: Final = "peer_certificate"
"""Name of the client's verified certificate for `get_extra_info`: a PeerCertificate, or None."""
RECORD_BYTES: Final = 16 * 1024
"""Most plain bytes of a record (RFC 8446, 5.1). One read of so many takes a whole record out."""
HANDSHAKE_BYTES: Final = 160 * 1024
"""Most bytes that a client may send before its handshake is done."""
_SPEAK_TLS: Final = b"this port speaks TLS; use https://"
NOT_TLS: Final = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s"
) % (len(_SPEAK_TLS), _SPEAK_TLS)
_log = logging.getLogger("vedette.tls")


class TlsConnection(asyncio.Protocol):
    """See the module. make: the door's connection, made when the handshake is done. context: of the moment."""

    __slots__ = (
        "_client",
        "_handshakes",
        "_incoming",
        "_inner",
        "_is_deaf",
        "_is_over",
        "_is_queued",
        "_make",
        "_outgoing",
        "_peer",
        "_raw",
        "_seen_bytes",
        "_ssl",
        "_timer",
    )

    _raw: Any

    def __init__(self, make: Callable[[], asyncio.Protocol], context: ssl.SSLContext, handshakes: Handshakes) -> None:
        self._make, self._handshakes = make, handshakes
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._ssl = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._inner: asyncio.Protocol | None = None
        self._peer: PeerCertificate | None = None
        self._is_over = self._is_deaf = self._is_queued = False
        self._seen_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._client: Client = None

    # ---- what the socket's transport calls

    def connection_made(self, transport: Any) -> None:
        """Wait for the client's first message."""
        handshakes = self._handshakes
        self._raw = transport
        self._client, is_within = handshakes.share.enter(transport)
        handshakes.begin(self, takes_place=is_within)
        if not is_within:
            self.fail("crowded")
            return
        self._timer = handshakes.loop.call_later(handshakes.timeout_s, self.fail, "timeout")

    def data_received(self, data: bytes) -> None:
        """Decrypt what has come and hand it on as one piece."""
        if self._is_deaf:
            return
        self._incoming.write(data)
        if self._inner is not None:
            self._decrypt(self._inner)
            return
        self._seen_bytes += len(data)
        if self._seen_bytes > HANDSHAKE_BYTES:
            self.fail("other")
        elif not self._is_queued:
            self._is_queued = True
            self._handshakes.has_bytes(self)

    def eof_received(self) -> bool:
        """The client closed its side, without saying so within TLS first, or behind that."""
        if self._inner is None:
            self.fail("closed")
            return False
        return bool(self._inner.eof_received())

    def pause_writing(self) -> None:
        """The client reads more slowly than the door writes."""
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        """It has caught up."""
        if self._inner is not None:
            self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._is_over = self._is_deaf = True
        inner, self._inner = self._inner, None
        if inner is not None:
            inner.connection_lost(exc)
        else:
            self._finish("closed")

    # ---- the handshake

    def step(self) -> None:
        """See Handshake."""
        self._is_queued = False
        if self._is_over:
            return
        try:
            self._ssl.do_handshake()
            der = self._ssl.getpeercert(binary_form=True)
            self._peer = None if der is None else peer_certificate(der)
        except ssl.SSLWantReadError:
            self._flush()
        except ssl.SSLError as problem:
            self._refuse(problem)
        except Exception as problem:  # a certificate that OpenSSL accepts and that cannot be read
            _log.warning("a TLS handshake failed: %r", problem)
            self.fail("bad_certificate")
        else:
            self._open()

    def fail(self, reason: str) -> None:
        """See Handshake."""
        if not self._is_over:
            self._is_over = self._is_deaf = True
            self._finish(reason)
            self._raw.abort()

    def _refuse(self, problem: ssl.SSLError) -> None:
        """Say why, as TLS or HTTP has it, and close."""
        self._is_over = self._is_deaf = True
        reason = reason_of(problem)
        _log.debug("a TLS handshake failed: %s (%s)", reason, problem)
        self._finish(reason)
        if problem.reason == "HTTP_REQUEST":
            self._raw.write(NOT_TLS)
        else:
            self._flush()
        self._raw.close()

    def _open(self) -> None:
        self._finish(OPENED)
        self._flush()
        inner = self._inner = self._make()
        inner.connection_made(cast("asyncio.Transport", self))
        if self._incoming.pending and not self._is_deaf:
            self._decrypt(inner)

    def _finish(self, outcome: str) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._handshakes.share.leave(self._client)
        self._client = None
        self._handshakes.end(self, outcome, is_resumed=outcome == OPENED and self._ssl.session_reused is True)

    # ---- records

    def _decrypt(self, inner: asyncio.Protocol) -> None:
        """Every request passes here."""
        incoming, read = self._incoming, self._ssl.read
        parts: list[bytes] = []
        is_ended = False
        try:
            while True:
                plain = read(RECORD_BYTES)
                if not plain:
                    is_ended = True
                    break
                parts.append(plain)
                if not incoming.pending:
                    break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as problem:
            if not isinstance(problem, ssl.SSLZeroReturnError):
                _log.debug("a TLS connection broke: %s", problem)
                self.abort()
                return
            is_ended = True
        if self._outgoing.pending:  # an answer of TLS itself, e.g. to an update of keys
            self._flush()
        if parts:
            inner.data_received(parts[0] if len(parts) == 1 else b"".join(parts))
        if is_ended and not self._is_deaf:
            self._is_deaf = True
            if not inner.eof_received():
                self.close()

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._raw.write(self._outgoing.read())

    # ---- the transport of the door's connection

    def write(self, data: bytes) -> None:
        """Encrypt and send."""
        if self._is_over:
            return
        written = self._ssl.write(data)
        if written < len(data):
            rest = memoryview(data)
            while written < len(rest):
                written += self._ssl.write(rest[written:])
        self._raw.write(self._outgoing.read())

    def writelines(self, pieces: Iterable[bytes]) -> None:
        """Encrypt and send several pieces."""
        self.write(b"".join(pieces))

    def write_eof(self) -> None:
        """Say that nothing more will be sent, and hear nothing more."""
        self._is_deaf = True
        self._say_goodbye()
        self._raw.write_eof()

    def close(self) -> None:
        """Say goodbye and close; what is written is sent first."""
        if not self._is_over:
            self._say_goodbye()
        self._is_over = self._is_deaf = True
        self._raw.close()

    def abort(self) -> None:
        """Close at once."""
        self._is_over = self._is_deaf = True
        self._raw.abort()

    def _say_goodbye(self) -> None:
        """`close_notify`, so that the client can tell the end from a connection that was cut."""
        with suppress(ssl.SSLError):
            self._ssl.unwrap()
        if not self._raw.is_closing():
            self._flush()

    def is_closing(self) -> bool:
        """Whether it is closed or about to be."""
        return bool(self._raw.is_closing())

    def pause_reading(self) -> None:
        """Read no more from the client."""
        self._raw.pause_reading()

    def resume_reading(self) -> None:
        """Go on reading."""
        self._raw.resume_reading()

    def get_write_buffer_size(self) -> int:
        """Encrypted bytes that wait for the client."""
        return int(self._raw.get_write_buffer_size())

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What the socket's transport knows, and PEER."""
        return (self._peer or default) if name == PEER else self._raw.get_extra_info(name, default)
