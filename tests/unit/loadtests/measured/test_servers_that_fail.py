"""A server that fails under measurement: its targets are missed, and the figures of the others stay."""

import re

import pytest

from loadtests.bench import targets
from loadtests.bench.benchmarks import doors, grpc_doors
from loadtests.bench.benchmarks import rows as many_rows
from loadtests.bench.benchmarks.records import audit
from loadtests.bench.errors import BenchError
from loadtests.bench.load.results import Sample
from loadtests.bench.report import plain, row
from loadtests.bench.strips import strip


class Up:
    def __init__(self, name):
        self.name = name


def test_the_targets_of_a_server_that_fails_are_missed_and_not_gone(monkeypatch):
    def cell(door, server, workload, *, clients, index, duration_s):
        if server.name == "vedette" and index:
            raise BenchError("vedette broke")
        return Sample(1.0, 1.0, 1.0)

    monkeypatch.setattr(doors, "cell", cell)
    found = doors.DoorFigures()
    found.drop("http", "vedette-2", "it did not start")
    up = [Up("bare"), Up("vedette"), Up("serve-proxy")]
    doors.measure(up, None, found, clients=(1, 8), rounds=2, duration_s=1.0, doors=("http",))
    rows = {r.name: r for r in [*doors.rows(found, doors.target), *doors.against_the_proxy(found)] if r.target is not None}
    wanted = [f"http/vedette/c{clients}/{figure}" for clients in (1, 8) for figure in ("p50", "p99", "rate")]
    wanted += ["http/vedette-2/c8/rate", "http-against-proxy/vedette/c1/rate", "http-against-proxy/vedette/c8/rate"]
    assert sorted(rows) == sorted(wanted)
    assert not any(r.is_met for r in rows.values())
    assert rows["http/vedette/c8/p99"].problem == "vedette broke"


def test_the_targets_of_a_log_that_fails_are_missed_and_not_gone():
    found = doors.DoorFigures()
    found.asked["http"] = (1, 32)
    found.drop("http", audit.STRICT, "the disk is full")
    rows = {r.name: r for r in audit.rows(found) if r.target is not None}
    assert {name: r.is_met for name, r in rows.items()} == {"audit/vedette-strict/c32/rate": False}


def test_a_replica_that_fails_beside_envoy_costs_no_other_figure():
    found = doors.DoorFigures()
    found["http", "vedette-envoy", 32] = [Sample(1.0, 2.0, 100.0)]
    found.drop("http", "vedette", "it broke")
    assert list(grpc_doors.through_envoy(found)) == []


def test_what_can_only_be_compared_is_not_measured_without_the_other():
    found = doors.DoorFigures()
    doors.all_up([Up("vedette"), Up("vedette-tls")], 2, found)
    found.drop("http", "vedette-tls", "no certificate")
    found.drop("grpc", "vedette-tls", "no certificate")
    with pytest.raises(BenchError, match=r"^vedette-tls: no certificate$"):
        doors.all_up([Up("vedette")], 2, found)


def test_ways_of_many_rows_take_turns_and_each_round_begins_with_another():
    asked = []
    many_rows.measure({name: lambda _, name=name: asked.append(name) for name in "ab"}, rounds=2, duration_s=0.0)
    assert asked == ["a", "b", "b", "a"]


def test_a_target_on_a_figure_that_is_a_factor_is_drawn_too():
    rows = [plain(row("state/memory, last pass by the second", [1.0], "x", target=targets.value("<=", 2.0)))]
    assert re.search(r'x1="392.0" y1="1"', strip(rows[0], rows))
