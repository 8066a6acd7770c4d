"""The console beside `vedette up`: a port that is open, a process that comes with the first visit, again if it died, and ends with us."""

import contextlib
import os
import re
import signal
import socket
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from operators.console import console_process
from operators.console.console_process import console_on_demand, open_port
from tests.waiting import HANG_S, until


def children() -> set[int]:
    """Processes of this one that run a console."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # a thread that ends meanwhile has none
            for pid in (task / "children").read_text().split():
                if b"operators.console.console_process" in _command(pid):
                    found.add(int(pid))
    return found


def _command(pid: str) -> bytes:
    """Nothing of a process that has ended meanwhile: it is none of those that run."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def signed_in(link: str, address: str) -> int:
    return httpx.post(link, headers={"origin": address}, timeout=HANG_S).status_code


@pytest.fixture
def made(tmp_path):
    with console_on_demand(tmp_path, port=0) as console:
        yield console
    assert children() == set()


def test_its_process_comes_with_the_first_visit_and_again_if_it_died(made):
    assert children() == set()
    assert signed_in(made.link, made.address) == 303
    (first,) = children()
    assert os.getpriority(os.PRIO_PROCESS, first) > os.getpriority(os.PRIO_PROCESS, os.getpid())
    assert os.sched_getscheduler(first) == os.SCHED_BATCH, "it interrupts no replica when it wakes up"
    os.kill(first, signal.SIGKILL)
    until(lambda: first not in children(), "the process is reaped")
    assert signed_in(made.link, made.address) == 403, "used links and those of the process before count no more"
    assert children() != {first}


def test_a_taken_port_is_no_end(tmp_path):
    with open_port("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with console_on_demand(tmp_path, port=port) as console:
            assert not console.is_port_as_asked
            assert re.search(r":(\d+)$", console.address)[1] != str(port)


def test_with_an_access_policy_there_is_no_link_and_no_key(tmp_path):
    with console_on_demand(tmp_path, port=0, access=tmp_path / "access.yaml") as console:
        assert console.link is None
    assert not (tmp_path / "console").exists()


def test_a_process_that_ends_by_itself_leaves_no_pipe(tmp_path, monkeypatch):
    made = []

    def ended(command, **options):
        made.append(popen(["false"], **options))
        return made[-1]

    popen = console_process.subprocess.Popen
    monkeypatch.setattr(console_process.subprocess, "Popen", ended)
    monkeypatch.setattr(console_process, "_AGAIN_S", 0.0)
    with (
        console_on_demand(tmp_path, port=0) as console,
        socket.create_connection(("127.0.0.1", urlsplit(console.address).port)),
    ):
        until(lambda: len(made) > 2, "it is started again")
    assert [process.stdin.closed for process in made] == [True] * len(made)
