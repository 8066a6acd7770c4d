"""Probes of bundles that are warm and remember.

A probe starts a Python, which takes half a second of processor to import what it needs. Here a process has imported it before and
forks for each probe: the child does what `python -m serving.models.probe` does, with its own memory, time and death. The tests of
the probe itself start a new Python, as the product does (`cold_probes`)."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, NoReturn

from serving.models import probe as probe_module
from serving.models.bundle import Bundle
from serving.models.probe import ProbeReport, probe
from tests import run_servers

_reports: dict[str, ProbeReport] = {}


def probe_once(bundle: Bundle, **how: Any) -> ProbeReport:
    """The real probe, the first time that a bundle of this digest is loaded in this run; a refusal is not remembered."""
    if bundle.digest not in _reports:
        _reports[bundle.digest] = probe(bundle, **how)
    return _reports[bundle.digest]


class WarmPython:
    """Stands in for `subprocess.run` of a probe's command. All workers of a run share the warm process; the first probe starts it."""

    def __init__(self) -> None:
        self._starting = threading.Lock()  # models are loaded side by side

    def run(self, command: Sequence[str], *, timeout: float, **_: Any) -> subprocess.CompletedProcess[str]:
        """Raises subprocess.TimeoutExpired; the child is ended by then."""
        module, *arguments = command[2:]
        assert module == probe_module.__name__, f"{command} is no probe"
        with self._starting:
            address = run_servers.address_of("warm-probes", ["-W", "ignore::DeprecationWarning", "-m", __name__])
        with socket.socket(socket.AF_UNIX) as asked:
            asked.connect("\0" + address)
            asked.sendall(json.dumps({"arguments": arguments, "timeout": timeout}).encode() + b"\n")
            with asked.makefile("rb") as answer:
                done = json.loads(answer.readline())
        if done["returncode"] == -signal.SIGALRM:
            raise subprocess.TimeoutExpired(list(command), timeout)
        return subprocess.CompletedProcess(list(command), **done)


@contextmanager
def warm_probes() -> Iterator[None]:
    """Within, every probe of this process is forked from a warm one, and replicas probe each bundle once."""
    from serving.loading import loader

    python = WarmPython()
    probe_module.subprocess = SimpleNamespace(run=python.run, TimeoutExpired=subprocess.TimeoutExpired)
    loader.probe = probe_once
    try:
        yield
    finally:
        probe_module.subprocess, loader.probe = subprocess, probe


@contextmanager
def cold_probes() -> Iterator[None]:
    """Within, a probe starts a Python, as in the product."""
    before, probe_module.subprocess = probe_module.subprocess, subprocess
    try:
        yield
    finally:
        probe_module.subprocess = before


def _serve(alive: str) -> NoReturn:
    """Answer until the run ends."""
    import serving.models.onnx
    import serving.models.rules_model  # noqa: F401  # what `examine` imports

    run_servers.end_with_the_run(alive)
    name = f"vedette-probes-{os.getpid()}-{os.urandom(4).hex()}"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("\0" + name)
    listener.listen(64)
    print(name, flush=True)
    children = set[int]()
    while True:
        asker, _ = listener.accept()
        if (child := os.fork()) == 0:
            listener.close()
            _answer(asker)
            os._exit(0)
        asker.close()
        children = {pid for pid in children | {child} if os.waitpid(pid, os.WNOHANG) == (0, 0)}


def _answer(asker: socket.socket) -> None:
    """Run one probe in a process of its own and send what came of it."""
    asked = json.loads(asker.makefile("rb").readline())
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        if (child := os.fork()) == 0:
            signal.setitimer(signal.ITIMER_REAL, asked["timeout"])
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            code = 1
            try:
                code = probe_module._main(asked["arguments"])
            except BaseException:
                sys.excepthook(*sys.exc_info())
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        said = {}
        for stream, file in (("stdout", out), ("stderr", err)):
            file.seek(0)
            said[stream] = file.read().decode(errors="replace")
    asker.sendall(json.dumps({"returncode": code, **said}).encode() + b"\n")


if __name__ == "__main__":
    _serve(sys.argv[1])
