"""Which cores the processes of a benchmark may use, by `sched_setaffinity` of Linux: so that a server and its neighbour take nothing from
each other."""

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PROC = Path("/proc")


def tree_of(pid: int) -> list[int]:
    """The process and all that descend from it, as /proc shows them now."""
    children: dict[int, list[int]] = {}
    for folder in _PROC.iterdir():
        if folder.name.isdigit():
            with suppress(OSError, ValueError):  # it may have ended meanwhile
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(folder.name))
    found, waiting = [], [pid]
    while waiting:
        found.append(one := waiting.pop())
        waiting += children.get(one, ())
    return found


def keep_to(pids: Collection[int], cores: Collection[int]) -> None:
    """Let each thread of these processes run on these cores only. Threads and processes that they start later inherit it."""
    for pid in pids:
        with suppress(FileNotFoundError):
            for thread in (_PROC / str(pid) / "task").iterdir():
                with suppress(ProcessLookupError):
                    os.sched_setaffinity(int(thread.name), cores)


@contextmanager
def self_on(cores: Collection[int]) -> Iterator[None]:
    """This process's calling thread, and what it starts meanwhile, run on these cores only while the block runs."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
