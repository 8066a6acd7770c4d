import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from loadtests.bench.benchmarks.hostile import tls
from loadtests.bench.benchmarks.tails.two_replicas import (
    APART,
    BARE,
    ONE,
    SHARED,
    TWO,
    Placed,
    arrangements,
    cells,
    closed_rows,
    rate_rows,
)
from loadtests.bench.cores import keep_to, self_on, tree_of
from loadtests.bench.load.results import Sample
from loadtests.bench.process import Running


def test_on_two_cores_two_replicas_are_not_put_on_one():
    assert Placed(TWO, APART) not in cells(arrangements([0, 1]))
    assert {(c.who, c.arrangement) for c in cells(arrangements([0, 1]))} == {
        (BARE, SHARED),
        (ONE, SHARED),
        (TWO, SHARED),
        (BARE, APART),
        (ONE, APART),
    }
    assert Placed(TWO, APART) in cells(arrangements([0, 1, 2, 3]))
    assert {c.arrangement for c in cells(arrangements([0]))} == {SHARED}


def test_ratios_are_of_the_same_arrangement():
    closed = {
        Placed(BARE, SHARED): [Sample(1, 2, 100.0)],
        Placed(BARE, APART): [Sample(1, 2, 200.0)],
        Placed(ONE, APART): [Sample(1, 2, 100.0)],
        Placed(ONE, SHARED): [Sample(1, 2, 80.0)],
        Placed(TWO, SHARED): [Sample(1, 2, 120.0)],
    }
    found = {r.name: r for r in closed_rows(closed)}
    assert found["two-replicas/vedette-1/apart/c32/rate"].ratio == 0.5
    assert found["two-replicas/vedette-1/shared/c32/rate"].ratio == 0.8
    assert found["two-replicas/gain"].ratio == 1.5


def test_a_rate_that_never_held_is_not_a_figure():
    found = {r.name: r for r in rate_rows({Placed(BARE, SHARED): [1000.0], Placed(ONE, SHARED): [0.0]})}
    assert found["two-replicas/bare/shared/highest-rate"].value == 1000.0
    assert found["two-replicas/vedette-1/shared/highest-rate"].problem


@pytest.mark.heavy
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores are chosen with Linux's sched_setaffinity")
def test_a_tree_of_processes_keeps_to_its_cores():
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1, flush=True); input()'])"
    with subprocess.Popen([sys.executable, "-c", child], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdin
        assert process.stdout.readline() == "1\n"
        tree = tree_of(process.pid)
        assert len(tree) == 2
        one = {min(os.sched_getaffinity(0))}
        keep_to(tree, one)
        assert all(os.sched_getaffinity(pid) == one for pid in tree)
        process.stdin.write("\n")
    before = os.sched_getaffinity(0)
    with self_on(one):
        assert os.sched_getaffinity(0) == one
    assert os.sched_getaffinity(0) == before


def test_replicas_of_one_name_give_their_values_in_the_same_order_for_every_name(monkeypatch):
    rates = {"off#1": 1.0, "on#1": 10.0, "off#2": 2.0, "on#2": 20.0}

    def cell(door, server, workload, *, clients, index, duration_s):
        return SimpleNamespace(p50_ms=0.0, p99_ms=0.0, rate=rates[server.name] + index * 100)

    monkeypatch.setattr(tls, "cell", cell)
    monkeypatch.setattr(tls, "spent", lambda server: (0.0, 0.0))
    up = [Running(name, 1, 1, 2) for name in rates]
    taken = tls.in_rounds(("http",), up, None, rounds=2, duration_s=1.0)  # type: ignore[arg-type]
    assert taken["http", "off", "rate"] == [101.0, 102.0, 202.0, 201.0]
    assert taken["http", "on", "rate"] == [110.0, 120.0, 220.0, 210.0]
