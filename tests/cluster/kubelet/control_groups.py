"""Memory limits: a control group for each container, of the first or the second kind, whichever this machine has.

A container that takes more is killed by the kernel, as on a node. What a program in it reads in /sys/fs/cgroup is its
group's. Processor time is shared as the machine shares it: a limit of it is not enforced."""

import contextlib
import os
from pathlib import Path
from typing import Any, Final

from tests.cluster.kubelet.environment import quantity

Json = dict[str, Any]
FIRST: Final = Path("/sys/fs/cgroup/memory")
SECOND: Final = Path("/sys/fs/cgroup")
ENABLED: Final = "cgroup.subtree_control"


class ControlGroups:
    """number: of the network, which nobody else on this machine has. Where memory is not controlled, containers have no group."""

    def __init__(self, number: int) -> None:
        name = f"vedette-pods-{number}"
        self._is_first = (FIRST / "memory.limit_in_bytes").exists()
        controllers = SECOND / "cgroup.controllers"
        is_second = controllers.exists() and "memory" in controllers.read_text().split()
        self.root = FIRST / name if self._is_first else SECOND / name if is_second else None

    def start(self) -> None:
        self.sweep()  # of a run that was killed
        if self.root is None:
            return
        try:
            self.root.mkdir()
            if not self._is_first:
                for parent in (self.root.parent, self.root):
                    (parent / ENABLED).write_text("+memory")
        except OSError:  # as in a container, which may not divide the memory that it was given
            self.sweep()
            self.root = None

    def make(self, name: str, container: Json) -> list[tuple[str, str]]:
        """(the group's folder, where the container sees it). name: unique to the container and its attempt."""
        if self.root is None:
            return []
        folder = self.root / name
        folder.mkdir(exist_ok=True)
        limit = ((container.get("resources") or {}).get("limits") or {}).get("memory")
        if limit:
            (folder / ("memory.limit_in_bytes" if self._is_first else "memory.max")).write_text(str(int(quantity(limit))))
        return [(str(folder), "/sys/fs/cgroup/memory" if self._is_first else "/sys/fs/cgroup")]

    def was_out_of_memory(self, name: str) -> bool:
        """Whether the kernel killed anything in it."""
        if self.root is None:
            return False
        said = self.root / name / ("memory.oom_control" if self._is_first else "memory.events")
        lines = said.read_text().splitlines() if said.exists() else []
        return any(line.startswith("oom_kill ") and line != "oom_kill 0" for line in lines)

    def remove(self, name: str) -> None:
        """A group whose processes have ended."""
        if self.root is not None:
            with contextlib.suppress(OSError):
                (self.root / name).rmdir()

    def sweep(self) -> None:
        """All of them."""
        if self.root is not None and self.root.exists():
            for folder in (*(p for p in self.root.iterdir() if p.is_dir()), self.root):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)
