"""The `vedette` command from a Python that has imported it before: for tests that type many commands, as those of how-to pages do.

A command starts a Python, which takes one to four seconds of processor to import what the verb needs. Here one process of the run has
imported it and forks for each command. The child gets the command's arguments, folder, environment and standard files, runs the entry point
and ends as a Python does. The program that asks for it ends with the same code, and the child ends with it. Python's own options and what
is read while Python starts are the warm process's. Servers (`up`), the demonstrations and the commands of other tests start a Python."""

import array
import atexit
import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Final, NoReturn

from tests import run_servers

_ASK: Final = """#!{python} -SEs
import array, json, os, socket, sys
asked = socket.socket(socket.AF_UNIX)
asked.connect("\\0{address}")
words = json.dumps([os.path.basename(sys.argv[0]), sys.argv[1:], os.getcwd(), dict(os.environ)]).encode("ascii")
fds = array.array("i", [0, 1, 2])
asked.sendmsg([len(words).to_bytes(8, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
asked.sendall(words)
code = int(asked.makefile().readline() or -9)
if code < 0:
    os.kill(os.getpid(), -code)
sys.exit(code)
"""
WARM: Final = (
    "lifecycle.training.train", "lifecycle.training.export", "lifecycle.evaluation.evaluate", "lifecycle.governance.verify.run",
    "serving.models.onnx", "operators.control.folder",
)  # fmt: skip
"""What many verbs import when they run."""


def programs() -> Path:
    """A folder with a `vedette` for the front of PATH."""
    address = run_servers.address_of("warm-vedette", ["-W", "ignore::DeprecationWarning", "-m", __name__])
    with run_servers.one_at_a_time("programs") as folder:
        if not folder.exists():
            folder.mkdir()
            (folder / "vedette").write_text(_ASK.format(python=sys.executable, address=address), encoding="utf-8")
            (folder / "vedette").chmod(0o755)
    return folder


def _serve(alive: str) -> None:
    from feature_repo import quick_feast

    run_servers.end_with_the_run(alive)
    os.environ |= {"OPENBLAS_NUM_THREADS": "1"}  # it starts threads when it is imported
    importlib.import_module("operators.cli.main")
    for name in WARM:
        importlib.import_module(name)
    quick_feast.load()
    importlib.import_module("feature_repo.offline")
    assert threading.active_count() == 1, (
        "threads of Python's do not outlive a fork; those of jemalloc and onnxruntime need not"
    )
    gc.freeze()
    name = f"vedette-warm-{os.getpid()}-{os.urandom(4).hex()}"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("\0" + name)
    listener.listen(64)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who answer
    print(name, flush=True)
    while True:
        asker, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _answer(asker)
        asker.close()


def _answer(asker: socket.socket) -> NoReturn:
    """Run one command in a process of its own, and send how it ended. If the asker goes away, so does the command."""
    header, ancillary, _, _ = asker.recvmsg(8, socket.CMSG_SPACE(3 * array.array("i").itemsize))
    if not ancillary:
        os._exit(0)
    with asker.makefile("rb", buffering=0) as reader:
        size, text = int.from_bytes(header, "big"), b""
        while len(text) < size:
            if not (more := reader.read(size - len(text))):
                os._exit(0)  # whoever asked is gone
            text += more
    files = array.array("i")
    files.frombytes(ancillary[0][2])
    if (command := os.fork()) == 0:
        asker.close()
        _become(*json.loads(text), files)
    for file in files:
        os.close(file)
    ended = os.pidfd_open(command)
    ready, _, _ = select.select([ended, asker], [], [])
    if ended not in ready:
        os.kill(command, signal.SIGKILL)
        os._exit(0)
    asker.sendall(f"{os.waitstatus_to_exitcode(os.waitpid(command, 0)[1])}\n".encode())
    os._exit(0)


def _become(program: str, arguments: list[str], folder: str, environment: dict[str, str], files: array.array) -> NoReturn:
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    sys.argv = [program, *arguments]
    sys.modules["__main__"].__package__ = None  # messages name the program, not a module
    code = _run()
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # the libraries' own ends wait for threads that a fork does not have


def _run() -> int:
    """The entry point; its code, or 1 after a traceback, as Python does it."""
    from operators.cli import main

    try:
        main.run()
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


if __name__ == "__main__":
    _serve(sys.argv[1])
