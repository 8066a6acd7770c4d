"""Closing a listening socket that others share, without a connection lost.

Replicas that share a port have a socket each; the kernel gives a new connection to one of them when its first packet comes. Closing a
socket drops the connections that are on their way to it: unfinished handshakes, and finished ones that are not yet accepted. So first
packets to it are dropped shortly before. Their senders repeat them after a second, when only the other sockets listen. Meanwhile the
connections on their way arrive and are accepted. If the kernel migrates such connections itself (sysctl net.ipv4.tcp_migrate_req is 1;
Linux 5.14), nothing is dropped and nothing waits."""

import ctypes
import socket
import struct
import sys
from pathlib import Path
from typing import Final

SETTLE_S: Final = 0.03
"""How long connections on their way may take to arrive and be accepted: many round trips within a data centre."""
MIGRATES: Final = Path("/proc/sys/net/ipv4/tcp_migrate_req")

_SO_ATTACH_FILTER: Final = 26
_TCP_FLAGS: Final = 13  # offset of the flags in the TCP header, where a TCP socket's filter begins
_SYN: Final = 0x02
_PROGRAM: Final = (
    (0x30, 0, 0, _TCP_FLAGS),  # load the byte of flags
    (0x45, 0, 1, _SYN),  # SYN set: the next; else the one after
    (0x06, 0, 0, 0),  # drop the packet
    (0x06, 0, 0, 0xFFFFFFFF),  # keep it whole
)
"""Classic BPF; needs no privilege."""


def is_shared(sock: socket.socket) -> bool:
    """Whether others may listen on the same port."""
    return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT))


def drop_new_connections(sock: socket.socket) -> bool:
    """Drop the first packets of new connections; begun ones still arrive. False: nothing was done, because the kernel migrates them itself
    or this is not Linux."""
    if not sys.platform.startswith("linux") or (MIGRATES.exists() and MIGRATES.read_text().strip() == "1"):
        return False
    steps = b"".join(struct.pack("=HBBI", *step) for step in _PROGRAM)
    program_buffer = ctypes.create_string_buffer(steps, len(steps))
    program = struct.pack("HL", len(_PROGRAM), ctypes.addressof(program_buffer))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
    return True
