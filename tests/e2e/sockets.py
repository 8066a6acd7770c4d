"""Where processes listen, as /proc tells it while descriptors, processes and sockets come and go."""

import ipaddress
import os
from collections.abc import Callable, Iterable
from pathlib import Path

MOST_READINGS = 20
_LISTENING = "0A"
"""The state of a listening socket in /proc/net/tcp."""


def listening(pids: Iterable[int], proc: Path = Path("/proc")) -> dict[str, int]:
    """Every address and port at which one of these processes listens for TCP, and which process that is."""
    owners = {inode: pid for pid in pids for inode in _sockets(proc / str(pid) / "fd")}
    return {address: owners[inode] for address, inode in steady(lambda: _table(proc)) if inode in owners}


def steady(read: Callable[[], frozenset[tuple[str, str]]]) -> frozenset[tuple[str, str]]:
    """What two readings in a row agree on: the kernel hands its tables over in pieces, and skips an entry where one before it went
    between two of them. Of sockets that come and go too fast for that, all that were seen."""
    seen = before = read()
    for _ in range(MOST_READINGS):
        now = read()
        if now == before:
            return now
        before, seen = now, seen | now
    return seen


def _sockets(folder: Path) -> list[str]:
    """The inodes of the sockets among a process's descriptors. One that closes meanwhile hides no other."""
    found = []
    try:
        entries = list(folder.iterdir())
    except OSError:  # the process ended meanwhile
        return []
    for entry in entries:
        try:
            link = os.readlink(entry)
        except OSError:  # it was closed meanwhile
            continue
        if link.startswith("socket:["):
            found.append(link.removeprefix("socket:[").rstrip("]"))
    return found


def _table(proc: Path) -> frozenset[tuple[str, str]]:
    """Address and inode of every listening socket."""
    lines = [line for name in ("tcp", "tcp6") for line in (proc / "net" / name).read_text().splitlines()[1:]]
    rows = [line.split() for line in lines]
    return frozenset((_address(row[1]), row[9]) for row in rows if row[3] == _LISTENING)


def _address(written: str) -> str:
    """`0100007F:1F90`, the kernel's words of 32 bits in this machine's byte order, as `127.0.0.1:8080`."""
    host, port = written.split(":")
    words = [bytes.fromhex(host[i : i + 8])[::-1] for i in range(0, len(host), 8)]
    address = ipaddress.ip_address(b"".join(words))
    return f"{getattr(address, 'ipv4_mapped', None) or address}:{int(port, 16)}"
