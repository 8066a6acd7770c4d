"""Ports for servers that bind them later, perhaps after a pause in which they are killed, and ports at which nobody is to listen.

A port that the kernel chose is anybody's as soon as it is closed: the next server that takes any port may get it, on whatever worker, while
a slow server is still starting. The ports given here are below those that the kernel chooses, and each process has blocks of them that no
other process of this machine gets."""

import os
import socket
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

FIRST, LAST, BLOCK = 20_000, 30_000, 50
"""Ports of Ray's workers are below, those of a cluster's services above."""
KERNELS: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_claims: list[socket.socket] = []
"""Held for as long as this process lives."""


def free_port() -> int:
    """A port of loopback at which nobody listens. No other process gets it; this one not before dozens of others."""
    return next(_own_ports(os.getpid()))


def free_ports(count: int) -> list[int]:
    """Different ones."""
    return [free_port() for _ in range(count)]


@cache
def _own_ports(pid: int) -> Iterator[int]:
    """Round and round, with more of them when most are taken. pid: a forked child has ports of its own."""
    return _round_and_round()


def _round_and_round() -> Iterator[int]:
    blocks, ports, free = _blocks(), list[int](), 0
    while True:
        if free < BLOCK // 2:
            ports += next(blocks)
        free = 0
        for port in ports:
            if _is_free(port):
                free += 1
                yield port


def _blocks() -> Iterator[range]:
    """Blocks that no process had claimed."""
    kernels = int(KERNELS.read_text(encoding="ascii").split()[0])
    for first in range(FIRST, min(LAST, kernels) - BLOCK + 1, BLOCK):
        claim = socket.socket(socket.AF_UNIX)
        try:  # a name of this machine's network, as its ports are; gone with its process
            claim.bind(f"\0vedette-tests-ports-{first}")
        except OSError:
            claim.close()
            continue
        _claims.append(claim)
        yield range(first, first + BLOCK)
    while True:  # where the kernel has them all, the chance is taken
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = int(probe.getsockname()[1])
        yield range(port, port + 1)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
