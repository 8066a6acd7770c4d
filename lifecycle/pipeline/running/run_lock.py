"""One run of a project at a time.

The lock is the one that DVC takes (`.dvc/tmp/lock`), so that the two do not run at once. The kernel lets go of it when its process ends,
however that ends. What a run is doing stands in a file beside it, so that the next one can say what became of it."""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lifecycle.pipeline.errors import RunInProgress
from lifecycle.pipeline.project import scratch_folder


@dataclass(slots=True)
class RunLock:
    """A lock that is held. left_by: words about a run that did not end; None: the last one did."""

    note: Path
    left_by: str | None = None

    def tell(self, stage: str | None, group: int | None = None) -> None:
        """Put down which stage runs, and the process group of its commands. Raises OSError."""
        body = {"pid": os.getpid(), "stage": stage, "group": group, "started": time.time()}
        part = self.note.with_suffix(".new")
        part.write_text(json.dumps(body), encoding="utf-8")
        part.replace(self.note)


@contextlib.contextmanager
def run_lock(dvc: Path) -> Iterator[RunLock]:
    """Hold the lock of a project. dvc: its DVC folder.

    Raises RunInProgress if another process does, or if what a killed run started still runs."""
    (dvc / "tmp").mkdir(parents=True, exist_ok=True)
    scratch = scratch_folder(dvc)
    scratch.mkdir(parents=True, exist_ok=True)
    note = scratch / "run.json"
    path = dvc / "tmp" / "lock"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunInProgress(f"{_holder(note, path)} runs this project ({path} is locked); wait until it ends") from None
        if busy := _busy_dvc(dvc / "tmp" / "rwlock"):
            raise RunInProgress(f"process {busy[0]} runs a stage of this project ({busy[1]}); wait until it ends")
        os.ftruncate(fd, 0)
        os.pwrite(fd, f" {os.getpid()}\n".encode(), 0)
        lock = RunLock(note, _left(note))
        lock.tell(None)
        try:
            yield lock
        finally:
            note.unlink(missing_ok=True)
    finally:
        os.close(fd)


def _busy_dvc(path: Path) -> tuple[int, str] | None:
    """A living process whose DVC writes outputs now, and its command. DVC lets go of its lock while commands run, and notes them here."""
    writers = (_read(path) or {}).get("write") or {}
    for writer in writers.values() if isinstance(writers, dict) else ():
        with contextlib.suppress(KeyError, TypeError, ValueError):
            pid = int(writer["pid"])
            if Path("/proc", str(pid)).exists():
                return pid, str(writer.get("cmd"))
    return None


def _left(note: Path) -> str | None:
    """What a run that did not end was doing. Raises RunInProgress if its commands still run."""
    left = _read(note)
    if left is None:
        return None
    stage, group = left.get("stage"), left.get("group")
    if isinstance(group, int) and (alive := _processes_of(group)):
        raise RunInProgress(
            f"process {left.get('pid')} was killed, but what it started for stage {stage} still runs (process {alive[0]}): wait until it "
            f"ends, or end it with `kill -- -{group}`"
        )
    return f"the run of process {left.get('pid')} did not end" + (f"; stage {stage} is not taken for done" if stage else "")


def _holder(note: Path, path: Path) -> str:
    left = _read(note)
    pid = left.get("pid") if left else path.read_text(encoding="utf-8", errors="replace").strip()
    stage = f", at stage {left['stage']}," if left and left.get("stage") else ""
    return f"process {pid or '?'}{stage}"


def _read(note: Path) -> dict[str, Any] | None:
    try:
        body = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return body if isinstance(body, dict) else None


def _processes_of(session: int) -> list[int]:
    """The living processes of a session; a stage's commands have one of their own, whose number they keep when their parent ends."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for entry in os.scandir("/proc"):
            if entry.name.isdigit():
                with contextlib.suppress(OSError, IndexError, ValueError):
                    fields = Path(entry.path, "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
                    if int(fields[3]) == session and fields[0] != "Z":
                        found.append(int(entry.name))
    return found
