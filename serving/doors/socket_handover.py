"""Closing a listening socket that others share, without a connection lost.

Replicas that share a port have a socket each; the kernel gives a new connection to one of them when its first packet comes. A
socket that is closed takes the connections with it that are on their way to it: handshakes half done, and those done but not yet
accepted. So its first packets are turned away a moment before: their senders repeat them after a second, when the port is the
others' alone, and meanwhile those that were on their way arrive and are accepted. Where the kernel itself hands over what was on
its way (sysctl net.ipv4.tcp_migrate_req is 1; Linux 5.14), nobody is turned away and nobody waits."""

import ctypes
import socket
import struct
import sys
from pathlib import Path
from typing import Final

SETTLE_S: Final = 0.03
"""How long what is on its way may take to arrive and be accepted: many round trips within a data centre."""
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
    """Let no new connection begin here; those begun still arrive. False where nothing was done: the kernel hands them over
    itself, or it is not Linux."""
    if not sys.platform.startswith("linux") or (MIGRATES.exists() and MIGRATES.read_text().strip() == "1"):
        return False
    steps = b"".join(struct.pack("=HBBI", *step) for step in _PROGRAM)
    program_buffer = ctypes.create_string_buffer(steps, len(steps))
    program = struct.pack("HL", len(_PROGRAM), ctypes.addressof(program_buffer))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
    return True
