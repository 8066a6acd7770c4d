"""Who runs on this machine: each replica registers itself by a file in `replicas/` of the store, which other processes read.

A registration whose process ended is removed by whoever reads it. One of another machine, on a shared folder, is left alone."""

import json
import os
import socket
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Registration:
    """Of a replica. started: start time of its process in ticks of the kernel, because process ids are used again.

    key: what it wants to be shown by another replica that asks for its page; empty: nothing."""

    identity: str
    host: str
    pid: int
    started: str
    port: int
    key: str = ""


def living(folder: Path, host: str) -> tuple[Registration, ...]:
    """The registrations of living replicas of this machine in `replicas/` of a store. Those of dead ones are removed."""
    found = []
    for path in sorted(folder.glob("*.json")):
        with suppress(OSError, ValueError, TypeError):  # a registration that is being removed, or damaged
            one = Registration(**json.loads(path.read_text(encoding="utf-8")))
            if one.host != host:
                continue
            if _process_start(one.pid) == one.started:
                found.append(one)
            else:
                path.unlink(missing_ok=True)
    return tuple(found)


def metrics_addresses(store_dir: Path) -> tuple[str, ...]:
    """Where the metrics of all replicas of this machine are read, plainly and over loopback: one of them answers for all."""
    return tuple(f"http://127.0.0.1:{one.port}" for one in living(store_dir / "replicas", socket.gethostname())[:1])


def register(path: Path, identity: str, port: int, key: str) -> None:
    """Write the registration of this process. Only its own user may read it. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    me = Registration(identity, socket.gethostname(), os.getpid(), _process_start(os.getpid()) or "", port, key)
    draft = path.with_suffix(".draft")
    draft.touch(mode=0o600)
    draft.write_text(json.dumps(asdict(me)), encoding="utf-8")
    draft.replace(path)


def _process_start(pid: int) -> str | None:
    """Start time of a process; None if there is no such process; empty for a living one if the kernel does not tell (not Linux)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        pass
    if Path("/proc/self/stat").exists():
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return ""
