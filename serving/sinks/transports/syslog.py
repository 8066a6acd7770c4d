"""Syslog over TCP (RFC 6587) and TLS (RFC 5425), octet counting.

Syslog has no acknowledgement. A batch counts as taken when the far end's kernel has acknowledged its bytes (Linux; elsewhere: when they
are written). What that kernel has and its program has not read is lost if the far end dies; a batch that a broken connection interrupts
is sent again whole."""

import contextlib
import fcntl
import socket
import ssl
import struct
import sys
import time
from collections.abc import Callable, Sequence
from typing import Final

from serving.sinks.alert import SinkAlert
from serving.sinks.errors import FarEndDown
from serving.sinks.forms.syslog import frame
from serving.sinks.ports import TAKEN, SendAnswer

_SIOCOUTQ: Final = 0x5411
"""Linux: bytes of a socket that the other side has not acknowledged (tcp(7))."""
_LOOK_S: Final = 0.001


class SyslogTransport:
    """Port SinkTransport. write: the syslog message of an alert, without a frame. tls: None for plain TCP."""

    def __init__(
        self,
        host: str,
        port: int,
        write: Callable[[SinkAlert], bytes],
        *,
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
        timeout_s: float = 30.0,
    ) -> None:
        self.label = f"{'tls' if tls else 'tcp'}://{host}:{port}"
        self._address, self._write, self._tls = (host, port), write, tls
        self._server_name, self._timeout_s = server_name or host, timeout_s
        self._socket: socket.socket | None = None

    def send(self, alerts: Sequence[SinkAlert]) -> Sequence[SendAnswer]:
        """See the port."""
        data = b"".join(frame(self._write(alert)) for alert in alerts)
        try:
            connection = self._connection()
            connection.settimeout(self._timeout_s)
            connection.sendall(data)
            self._wait_until_acknowledged(connection)
        except OSError as problem:  # ssl.SSLError and timeouts are OSErrors too
            self.close()
            raise FarEndDown(f"{self.label}: {_words(problem)}") from problem
        return [TAKEN] * len(alerts)

    def close(self) -> None:
        """See the port."""
        connection, self._socket = self._socket, None
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _connection(self) -> socket.socket:
        if self._socket is not None and _is_gone(self._socket):
            self.close()
        if self._socket is None:
            plain = socket.create_connection(self._address, timeout=self._timeout_s)
            try:
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                wrapped = self._tls.wrap_socket(plain, server_hostname=self._server_name) if self._tls else plain
            except BaseException:
                plain.close()
                raise
            self._socket = wrapped
        return self._socket

    def _wait_until_acknowledged(self, connection: socket.socket) -> None:
        if not sys.platform.startswith("linux"):
            return
        until, wait_s = time.monotonic() + self._timeout_s, _LOOK_S
        while struct.unpack("i", fcntl.ioctl(connection.fileno(), _SIOCOUTQ, b"\0" * 4))[0]:
            if time.monotonic() > until:
                raise TimeoutError("the far end does not acknowledge what it was sent")
            _raise_if_reset(connection)
            time.sleep(wait_s)
            wait_s = min(wait_s * 2, 0.1)
        _raise_if_reset(connection)


def _raise_if_reset(connection: socket.socket) -> None:
    error = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, "the connection broke")


def _is_gone(connection: socket.socket) -> bool:
    """Whether the far end has closed. A syslog server sends nothing, so what comes is not kept."""
    connection.settimeout(0.0)
    try:
        while True:
            if not connection.recv(4096):
                return True
    except (BlockingIOError, ssl.SSLWantReadError):
        return False
    except OSError:
        return True


def _words(problem: OSError) -> str:
    if isinstance(problem, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {problem.verify_message}"
    return problem.strerror or str(problem) or type(problem).__name__
