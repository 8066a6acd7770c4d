"""A disk that loses its power: what files and folders hold after a cut, if nothing but what was synced is there.

It stands around the syncs of records, notes and folders: a synced file is kept as it was then, a synced folder with the names that it
had then. After `restore` a folder holds what a machine that starts again would find."""

import os
import stat
from pathlib import Path
from threading import Lock
from typing import Any


class UnreliablePower:
    """Use `install` once; take the `state` as often as wanted, also while files are written. root: above the log's folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files: dict[int, bytes] = {}
        self._folders: dict[int, dict[str, tuple[int, bool]]] = {}
        self._lock = Lock()
        self._fsync, self._fdatasync = os.fsync, os.fdatasync
        self.syncs = 0

    def install(self, monkeypatch: Any, data: str = "serving.audit.segments._sync_data") -> None:
        """data: the name by which files' data are synced."""
        monkeypatch.setattr(os, "fsync", self._sync)
        monkeypatch.setattr(data, self._sync)

    def state(self) -> tuple[dict[int, bytes], dict[int, dict[str, tuple[int, bool]]]]:
        """What is on the disk now."""
        with self._lock:
            return dict(self._files), dict(self._folders)

    def restore(self, state: tuple[dict[int, bytes], dict[int, dict[str, tuple[int, bool]]]], to: Path) -> None:
        """Write what was on the disk into another folder."""
        files, folders = state
        self._write(files, folders, self._root.stat().st_ino, to)

    def _sync(self, fd: int) -> None:
        self._fsync(fd)
        found = os.fstat(fd)
        with self._lock:
            self.syncs += 1
            if stat.S_ISDIR(found.st_mode):
                with os.scandir(fd) as entries:
                    self._folders[found.st_ino] = {entry.name: (entry.inode(), entry.is_dir()) for entry in entries}
            else:
                self._files[found.st_ino] = Path(f"/proc/self/fd/{fd}").read_bytes()

    def _write(self, files: dict[int, bytes], folders: dict[int, Any], inode: int, to: Path) -> None:
        to.mkdir(parents=True, exist_ok=True)
        for name, (child, is_folder) in folders.get(inode, {}).items():
            if is_folder:
                self._write(files, folders, child, to / name)
            else:
                (to / name).write_bytes(files.get(child, b""))
