"""Processes in a file system made of layers, by the kernel's namespaces: what a container engine does, as far as these tests need it."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class FileSystem:
    """layers: folders, the lowest first. binds: folders of this machine seen within, read-only: (here, within)."""

    layers: tuple[Path, ...]
    binds: tuple[tuple[Path, str], ...] = ()

    def over(self, layer: Path) -> "FileSystem":
        """With one more layer on top."""
        return FileSystem((*self.layers, layer), self.binds)


@dataclass(frozen=True, slots=True)
class Process:
    """What to run. user: a number, 0 for root. writable: folders that are volumes. upper: takes what is written; None: read-only."""

    command: Sequence[str]
    env: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: int = 0
    writable: tuple[str, ...] = ()
    upper: Path | None = None
    binds: tuple[tuple[Path, str, str], ...] = ()


def why_not() -> str:
    """Why this machine runs no container of ours; empty if it does."""
    if os.geteuid() != 0:
        return "only root makes mount namespaces here"
    if not shutil.which("unshare"):
        return "unshare is not installed (util-linux)"
    with tempfile.TemporaryDirectory() as folder:
        for name in ("a", "b", "up", "work", "root"):
            (Path(folder) / name).mkdir()
        command = f"mount -t overlay overlay -o lowerdir={folder}/a:{folder}/b,upperdir={folder}/up,workdir={folder}/work {folder}/root"
        done = subprocess.run(
            ["unshare", "--mount", "--pid", "--fork", "sh", "-c", command], capture_output=True, text=True, check=False
        )
    return f"no overlay file systems in a namespace of its own: {done.stderr.strip()}" if done.returncode else ""


def command_line(files: FileSystem, process: Process, folder: Path) -> list[str]:
    """What starts the process. folder: for its job and its mount points; its name must not be long."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "root").mkdir(exist_ok=True)
    common = Path(os.path.commonpath(files.layers)) if len(files.layers) > 1 else files.layers[0].parent
    work = folder / "work"
    if process.upper is not None:
        work.mkdir(exist_ok=True)
    job = {
        "root": str(folder / "root"),
        "layers_in": str(common),
        "layers": [os.path.relpath(layer, common) for layer in files.layers],
        "upper": str(process.upper or ""),
        "work": str(work),
        "binds": [
            *((str(here), there, "ro") for here, there in files.binds),
            *((str(a), b, mode) for a, b, mode in process.binds),
        ],
        "volumes": [(target, process.user) for target in process.writable],
        "workdir": process.workdir,
        "user": process.user,
        "command": list(process.command),
        "env": process.env,
    }
    if process.upper is None and len(files.layers) == 1:
        raise ValueError("a read-only overlay has at least two layers")
    path = folder / "job.json"
    path.write_text(json.dumps(job), encoding="utf-8")
    program = [sys.executable, str(Path(__file__).with_name("inside.py")), str(path)]
    return ["unshare", "--mount", "--pid", "--fork", "--kill-child", *program]


def run(files: FileSystem, process: Process, folder: Path, timeout_s: float = 900) -> subprocess.CompletedProcess[str]:
    """Run to the end; both streams in stdout."""
    return subprocess.run(
        command_line(files, process, folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout_s,
        check=False,
    )
