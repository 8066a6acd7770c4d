"""The first process in a pod's namespaces, and in a container's: made by the kubelet with `python -I -S`, so only the standard library.

    contain.py sandbox            makes a pod's network, IPC, host name and mounts; holds them until stdin ends
    contain.py run                reads a container's specification from stdin, builds its file system, runs it, exits as it exited
    contain.py exec               the same for a command in a running container

Whoever is killed takes all it started along: each asks the kernel for SIGKILL at its parent's death, and a container's first process
is its process namespace's too. The kernel then takes back mounts and network interfaces."""

import contextlib
import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

NEWNS, NEWUTS, NEWIPC, NEWPID, NEWNET = 0x20000, 0x4000000, 0x8000000, 0x20000000, 0x40000000
RDONLY, NOSUID, NODEV, NOEXEC, REMOUNT, BIND, REC, PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
DETACH = 2
PDEATHSIG, NO_NEW_PRIVS, CAPBSET_DROP = 1, 38, 24
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
FILES = 1 << 20
"""That a process may have open, as container engines have it: KubeRay's command asks for 65536."""
SHARED_MEMORY = "64m"
"""Of /dev/shm where no volume is mounted there, as container engines have it."""
_libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: Any) -> None:
    given = [a.encode() if isinstance(a, str) else a for a in arguments]
    if getattr(_libc, name)(*given) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}{arguments}: {os.strerror(number)}")


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    call("mount", source, target, kind or None, ctypes.c_ulong(flags), data or None)


def die_with_parent(parent: int) -> None:
    call("prctl", PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(137)


def bind(source: str, target: str, *, writable: bool) -> None:
    """Make a file or folder of the machine appear in the container."""
    at = Path(target)
    if Path(source).is_dir():
        at.mkdir(parents=True, exist_ok=True)
    elif not at.exists():
        at.parent.mkdir(parents=True, exist_ok=True)
        at.touch()
    mount(source, target, "", BIND | REC)
    if not writable:
        mount("", target, "", BIND | REMOUNT | RDONLY | NOSUID)


def sandbox() -> None:
    said = json.loads(sys.stdin.readline())
    call("unshare", NEWNET | NEWIPC | NEWUTS | NEWNS)
    call("sethostname", said["hostname"], len(said["hostname"]))
    mount("", "/", "", REC | PRIVATE)
    for folder, size in said["memory"]:
        mount("tmpfs", folder, "tmpfs", NOSUID | NODEV, f"mode=0777,size={size}" if size else "mode=0777")
    print("made", flush=True)  # now the kubelet puts an interface into the network
    commands = sys.stdin.readline()
    if commands:
        batch = "\n".join(json.loads(commands))
        subprocess.run(["ip", "-batch", "-"], input=batch, text=True, check=True, stdout=subprocess.DEVNULL)
        print("up", flush=True)
    sys.stdin.read()


def file_system(said: dict[str, Any]) -> None:
    """Build the container's root from the image's layers and the pod's volumes, and go there."""
    mount("", "/", "", REC | PRIVATE)
    root = said["root"]
    mount("tmpfs", root, "tmpfs", NOSUID, "mode=0755")
    for name in ("proc", "sys", "dev", "tmp", "run", "var", "root", "home"):
        Path(root, name).mkdir(exist_ok=True)
    os.chmod(f"{root}/tmp", 0o1777)
    os.chmod(f"{root}/root", 0o711)  # an interpreter may lie below it
    for link, target in said["links"].items():
        os.symlink(target, root + link)
    for source, target in said["layers"]:
        bind(source, root + target, writable=False)
    for path, text in said["files"].items():
        Path(root + path).parent.mkdir(parents=True, exist_ok=True)
        Path(root + path).write_text(text)
    for folder, owner in said["folders"].items():
        Path(root + folder).mkdir(parents=True, exist_ok=True)
        os.chown(root + folder, *owner)
    for path in said["masked"]:
        if Path(root + path).exists():
            mount("/dev/null", root + path, "", BIND)
    mount("proc", f"{root}/proc", "proc", NOSUID | NODEV | NOEXEC)
    mount("sysfs", f"{root}/sys", "sysfs", NOSUID | NODEV | NOEXEC | RDONLY)
    mount("tmpfs", f"{root}/sys/fs/cgroup", "tmpfs", NOSUID | NODEV, "mode=0755,size=64k")
    for source, target in said["control_groups"]:  # what a program reads of its limits
        bind(source, root + target, writable=False)
    mount("tmpfs", f"{root}/dev", "tmpfs", NOSUID, "mode=0755,size=64k")
    for name in DEVICES:
        bind(f"/dev/{name}", f"{root}/dev/{name}", writable=True)
    for link, target in {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}.items():
        os.symlink(target, f"{root}/dev/{link}")
    Path(root, "dev/shm").mkdir()
    mount("tmpfs", f"{root}/dev/shm", "tmpfs", NOSUID | NODEV, f"mode=1777,size={SHARED_MEMORY}")
    for source, target, writable in said["mounts"]:
        bind(source, root + target, writable=writable)
    Path(root, ".old").mkdir()
    call("pivot_root", root, f"{root}/.old")
    os.chdir("/")
    call("umount2", "/.old", DETACH)
    os.rmdir("/.old")
    if said["read_only"]:
        mount("", "/", "", BIND | REMOUNT | RDONLY | NOSUID)


def become(said: dict[str, Any]) -> None:
    """The container's user, less what its security context takes away. PDEATHSIG is set anew: a change of user clears it."""
    os.chdir(said["cwd"])
    if said["drops_capabilities"]:
        for number in range(64):
            _libc.prctl(CAPBSET_DROP, number, 0, 0, 0)
    with contextlib.suppress(ValueError):  # root may lack the right, as where this is a container itself
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))
    os.setgroups(said["groups"])
    os.setgid(said["gid"])
    os.setuid(said["uid"])
    call("prctl", PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if said["no_new_privileges"]:
        call("prctl", NO_NEW_PRIVS, 1, 0, 0, 0)
    os.umask(0o022)
    for number in (signal.SIGPIPE, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def execute(said: dict[str, Any]) -> None:
    program, environment = said["argv"][0], said["env"]
    try:
        os.execvpe(program, said["argv"], environment)
    except OSError as problem:
        print(f"{program}: {problem.strerror}", file=sys.stderr, flush=True)
        os._exit(127 if isinstance(problem, FileNotFoundError) else 126)


def in_child(said: dict[str, Any], prepare: Any) -> None:
    """Fork into the new process namespace, tell the kubelet the child's number, wait, pass SIGTERM on, exit as it exited."""
    report = os.fdopen(said["report_fd"], "w") if said.get("report_fd") else None
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        try:
            call("prctl", PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if report:
                report.close()
            prepare()
            become(said)
        except BaseException as problem:
            print(f"the container could not be made: {problem}", file=sys.stderr, flush=True)
            os._exit(128)
        execute(said)
    if report:
        print(child, file=report, flush=True)
        report.close()
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    os._exit(128 - code if code < 0 else code)


def join(pid: int, *names: str) -> None:
    opened = [os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY) for name in names]
    for one in opened:
        call("setns", one, 0)
        os.close(one)


def main() -> None:
    parent = os.getppid()
    die_with_parent(parent)
    if sys.argv[1] == "sandbox":
        sandbox()
        return
    said = json.loads(sys.stdin.readline())
    os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
    for folder, _ in said["control_groups"]:
        Path(folder, "cgroup.procs").write_text(str(os.getpid()))
    if sys.argv[1] == "run":
        join(said["join"], "net", "ipc", "uts", "mnt")
        call("unshare", NEWNS | NEWPID)
        in_child(said, lambda: file_system(said))
    else:
        join(said["join"], "net", "ipc", "uts", "pid", "mnt")
        in_child(said, lambda: None)


if __name__ == "__main__":
    main()
