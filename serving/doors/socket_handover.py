"""Closing a listening socket that others share, without a connection lost.

Replicas that share a port have a socket each; the kernel gives a new connection to one of them when its first packet comes. A
socket that is closed takes the connections with it that are on their way to it: handshakes half done, and those done but not yet
accepted. So its first packets are turned away a moment before: their senders repeat them after a second, when the port is the
others' alone, and meanwhile those that were on their way arrive and are accepted. Where the kernel itself hands over what was on
its way (sysctl net.ipv4.tcp_migrate_req is 1; Linux 5.14), nobody is turned away and nobody waits."""

import ctypes
import os
import socket
import stat
import struct
import sys
from contextlib import suppress
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


def turn_away(sock: socket.socket) -> bool:
    """Let no new connection begin here; those begun still arrive. False where nothing was done: the kernel hands them over
    itself, or it is not Linux."""
    if not sys.platform.startswith("linux") or (MIGRATES.exists() and MIGRATES.read_text().strip() == "1"):
        return False
    steps = b"".join(struct.pack("=HBBI", *step) for step in _PROGRAM)
    kept = ctypes.create_string_buffer(steps, len(steps))
    program = struct.pack("HL", len(_PROGRAM), ctypes.addressof(kept))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
    return True


def listening(port: int) -> frozenset[int]:
    """File descriptors of this process that listen on a TCP port; none where the system does not tell."""
    return frozenset(fd for fd, is_listening in _sockets(port) if is_listening)


def connections(port: int) -> int:
    """How many connections to a TCP port this process has open."""
    return sum(not is_listening for _, is_listening in _sockets(port))


def _sockets(port: int) -> list[tuple[int, bool]]:
    found = []
    for name in os.listdir("/proc/self/fd") if sys.platform.startswith("linux") else ():
        fd = int(name)
        with suppress(OSError):  # closed meanwhile, or no socket of the internet
            if not stat.S_ISSOCK(os.fstat(fd).st_mode):
                continue
            sock = socket.socket(fileno=fd)
            try:
                is_tcp = sock.family in {socket.AF_INET, socket.AF_INET6} and sock.type == socket.SOCK_STREAM
                if is_tcp and sock.getsockname()[1] == port:
                    found.append((fd, bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))))
            finally:
                sock.detach()  # it is its owner's
    return found
