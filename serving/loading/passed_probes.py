"""Bundles that passed their probe on this machine. A replica that replaces a dead one does not probe them again.

A note in `STORE/probed/<sha256 in hex>.json` says under which parent process, limits and onnxruntime the bundle passed. It holds only
where all of them are the same: for replicas of one Ray node while that node lives. A bundle's content follows from its digest, which is
checked at each load, so a second probe by the same node would run the same bytes on the same machine. A container whose first process is
the replica has no parent, and probes each time."""

import json
import logging
import os
import platform
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from serving.models.limits.bundle_limits import ModelLimits

_log = logging.getLogger("vedette.loading")
_START_FIELD = 19
"""Of /proc/PID/stat behind the command's name: when the process started, in ticks since the boot."""


class PassedProbes:
    """The notes of one store, as a process with these limits sees them. parent: who started this process, by default found here; empty:
    no note is read or written."""

    def __init__(self, store: Path, limits: ModelLimits, parent: str | None = None) -> None:
        self._folder = store / "probed"
        self._conditions = {
            "parent": parent if parent is not None else parent_process(),
            "limits": asdict(limits),
            "onnxruntime": version("onnxruntime"),
            "python": platform.python_version(),
        }

    def has(self, digest: str) -> bool:
        """Whether the bundle of this digest passed under the same conditions."""
        if not self._conditions["parent"]:
            return False
        try:
            return bool(json.loads(self._file(digest).read_bytes()) == self._conditions)
        except (OSError, ValueError):
            return False

    def remember(self, digest: str) -> None:
        """Note that the bundle has passed. A store that cannot be written costs the next replica a probe."""
        if not self._conditions["parent"]:
            return
        path = self._file(digest)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            draft.write_text(json.dumps(self._conditions), encoding="utf-8")
            draft.replace(path)
        except OSError as problem:
            _log.debug("that %s passed its probe cannot be noted: %s", digest, problem)

    def _file(self, digest: str) -> Path:
        return self._folder / f"{digest.removeprefix('sha256:')}.json"


def parent_process(root: Path = Path("/proc")) -> str:
    """The process that started this one, told apart from all others of this and other machines; empty if there is none or nobody says."""
    pid = os.getppid()
    if pid == 0:
        return ""
    try:
        fields = (root / str(pid) / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        boot = (root / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
    return f"{boot}/{pid}/{fields[_START_FIELD]}"
