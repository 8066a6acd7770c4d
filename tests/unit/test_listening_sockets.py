"""How the tests see where a process listens: /proc changes while it is read. Ports that are given to servers of the tests."""

import itertools
import os
import socket
import subprocess
import sys

import pytest

from tests import ports
from tests.e2e import sockets

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
LINE = "   0: 0100007F:{port:04X} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000  1000        0 {inode} 1 0 100 0 0 10 0\n"


@pytest.fixture
def proc(tmp_path):
    """A process 7 that listens at 8080 and 8081; between them a descriptor whose link cannot be read any more."""
    descriptors = tmp_path / "7" / "fd"
    descriptors.mkdir(parents=True)
    (descriptors / "3").symlink_to("socket:[77]")
    (descriptors / "4").write_text("")
    (descriptors / "5").symlink_to("socket:[78]")
    (tmp_path / "net").mkdir()
    lines = (LINE.format(port=port, state="0A", inode=inode) for port, inode in ((8080, 77), (8081, 78), (22, 1)))
    (tmp_path / "net" / "tcp").write_text(HEAD + "".join(lines) + LINE.format(port=9, state="01", inode=77))
    (tmp_path / "net" / "tcp6").write_text(HEAD)
    return tmp_path


def test_a_descriptor_that_closes_while_they_are_read_hides_no_other(proc):
    assert sockets.listening([7], proc) == {"127.0.0.1:8080": 7, "127.0.0.1:8081": 7}


def test_a_process_that_ends_while_they_are_read_hides_no_other(proc):
    assert sockets.listening([6, 7, 8], proc).keys() == {"127.0.0.1:8080", "127.0.0.1:8081"}


@pytest.mark.parametrize(
    ("readings", "found"),
    [
        pytest.param(["ab", "ab"], "ab", id="two that agree"),
        pytest.param(["a", "ab", "ab"], "ab", id="an entry that one reading skipped"),
        pytest.param(["ab", "a", "ab", "ab"], "ab", id="an entry that a later one skipped"),
        pytest.param(["a", "b"] * sockets.MOST_READINGS, "ab", id="none that agree: what was seen"),
    ],
)
def test_a_table_is_read_until_two_readings_agree(readings, found):
    left = iter(readings)
    assert sockets.steady(lambda: frozenset((name, name) for name in next(left))) == frozenset((name, name) for name in found)


def test_a_listening_socket_of_this_process_is_found():
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
        assert sockets.listening([os.getpid()])[f"{host}:{port}"] == os.getpid()


def test_a_port_for_later_is_none_that_the_kernel_chooses():
    first, last = map(int, ports.KERNELS.read_text().split())
    given = ports.free_ports(3 * ports.BLOCK)
    assert not any(first <= port <= last for port in given)
    assert len(set(given[: ports.BLOCK // 2])) == ports.BLOCK // 2, (
        "none comes back before dozens of others, though some may be taken"
    )


def test_a_port_that_is_taken_is_not_given():
    taken = [socket.create_server(("127.0.0.1", ports.free_port())) for _ in range(ports.BLOCK + 20)]
    try:
        assert not {ports.free_port() for _ in range(ports.BLOCK)} & {server.getsockname()[1] for server in taken}
    finally:
        for server in taken:
            server.close()


def test_no_other_process_gets_our_ports():
    program = f"from tests import ports; print(*ports.free_ports({ports.BLOCK}))"
    others = subprocess.check_output([sys.executable, "-c", program], text=True).split()
    assert not {int(port) for port in others} & set(ports.free_ports(ports.BLOCK))


def test_where_the_kernel_has_all_ports_it_is_asked(monkeypatch, tmp_path):
    (tmp_path / "range").write_text("1024\t65535\n")
    monkeypatch.setattr(ports, "KERNELS", tmp_path / "range")
    assert len(set(itertools.islice(ports._round_and_round(), 20))) > 1
