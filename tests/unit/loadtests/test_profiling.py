"""Reading what py-spy saw, and whose time it was."""

import pytest

from loadtests.bench import profiling
from loadtests.bench.errors import BenchError
from loadtests.bench.profiling import own_work, read_stacks, replica_of, shares

RAW = """\
Thread.run (threading.py:971);LoopThread._run (serving/doors/listener.py:41) 10
Thread.run (threading.py:971);LoopThread._run (serving/doors/listener.py:41);ask (serving/ask.py:5);ask (serving/ask.py:5) 30
Thread.run (threading.py:971);_worker (concurrent/futures/thread.py:69) 500
Thread.run (threading.py:971);write (serving/audit/writer.py:9);Condition.wait (threading.py:295) 400
Worker.main_loop (ray/_private/worker.py:1059) 300
"""


def test_only_the_replicas_own_work_is_counted():
    stacks = own_work(read_stacks(RAW))
    assert sum(stacks.values()) == 40
    by_name = {taken.function.partition(" ")[0]: taken for taken in shares(stacks)}
    assert (by_name["ask"].own, by_name["ask"].total) == (0.75, 0.75)  # it calls itself: seen once a stack
    assert (by_name["LoopThread._run"].own, by_name["LoopThread._run"].total) == (0.25, 1.0)
    assert by_name["Thread.run"].own == 0
    assert [taken.function.partition(" ")[0] for taken in shares(stacks)] == ["ask", "LoopThread._run", "Thread.run"]


def test_a_replica_is_found_by_its_registration(tmp_path):
    (tmp_path / "replicas").mkdir()
    with pytest.raises(BenchError, match="names 0 replicas"):
        replica_of(tmp_path)
    (tmp_path / "replicas" / "a.json").write_text('{"pid": 4711}')
    assert replica_of(tmp_path) == 4711


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("Error: Permission Denied: Try running again with elevated permissions", "SYS_PTRACE"),
        ("Error: no such process", "status 1"),
    ],
)
def test_why_it_could_not_look(said, problem, monkeypatch, tmp_path):
    program = tmp_path / "py-spy"
    program.write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(profiling.sys, "executable", str(tmp_path / "python"))
    with pytest.raises(BenchError, match=problem):
        profiling.record(1, tmp_path / "x.svg", seconds=1, kind="raw", is_native=False)


def test_a_load_that_cannot_be_profiled_does_not_hide_the_others(monkeypatch, capsys):
    def profile(name, *, seconds, is_native):
        if name == "http":
            raise BenchError("no server")
        return profiling.Profile(name, "x.svg", 40, shares(own_work(read_stacks(RAW))))

    monkeypatch.setattr(profiling, "profile", profile)
    assert profiling.main(["http", "batch"]) == 1
    said = capsys.readouterr()
    assert "no server" in said.err
    assert "75.0%" in said.out
