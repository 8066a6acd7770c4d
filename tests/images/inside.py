"""The first process of a container: it mounts a file system of layers, goes into it, becomes a user, and turns into the command.

    unshare --mount --pid --fork --kill-child python -m tests.images.inside JOB.json

Standard library only. When it or the process that started it ends, the kernel ends everything that it started."""

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path

PR_SET_NO_NEW_PRIVS = 38
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")


def mount(*words: str) -> None:
    """mount(8). Raises OSError with what it says."""
    done = subprocess.run(["/usr/bin/mount", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"mount {' '.join(words)}: {done.stderr.strip()}")


def main() -> None:
    """Become the command of the job."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    root = Path(job["root"])
    # Relative layer names keep the options below the page that the kernel takes.
    os.chdir(job["layers_in"])
    options = "lowerdir=" + ":".join(reversed(job["layers"]))
    if job["upper"]:
        options += f",upperdir={job['upper']},workdir={job['work']}"
    mount("-t", "overlay", "overlay", "-o", options, str(root))
    for source, target, mode in job["binds"]:
        mount("--bind", source, str(root) + target)
        mount("-o", f"remount,bind,{mode}", str(root) + target)
    for target, owner in job["volumes"]:
        mount("-t", "tmpfs", "-o", f"mode=1777,uid={owner},gid={owner}", "volume", str(root) + target)
    mount("-t", "proc", "proc", str(root / "proc"))
    mount("-t", "tmpfs", "-o", "mode=755", "dev", str(root / "dev"))
    for device in DEVICES:
        (root / "dev" / device).touch()
        mount("--bind", f"/dev/{device}", str(root / "dev" / device))
    (root / "dev/shm").mkdir()
    mount("-t", "tmpfs", "-o", "mode=1777", "shm", str(root / "dev/shm"))
    (root / "dev/fd").symlink_to("/proc/self/fd")
    os.chroot(root)
    os.chdir(job["workdir"])
    if job["user"]:
        os.setgroups([])
        os.setgid(job["user"])
        os.setuid(job["user"])  # leaves no capability
        ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    os.execvpe(job["command"][0], job["command"], job["env"])


if __name__ == "__main__":
    main()
