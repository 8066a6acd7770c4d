"""The parts of the benchmarks that measure nothing: summing up, comparing, choosing, reading the generators' output."""

import json

import numpy as np
import pytest

from loadtests.bench import __main__ as command
from loadtests.bench import doors, http_load
from loadtests.bench.errors import BenchError
from loadtests.bench.grpc_load import _from_log
from loadtests.bench.load import Sample, sample
from loadtests.bench.report import Row, as_json, row, write
from loadtests.bench.workload import INPUT, build_workload, tree_model
from loadtests.stubs import messages


def test_a_ratio_is_taken_round_by_round():
    slow_third_round = row("ours", [2.0, 2.0, 20.0], "ms", against=("bare", [1.0, 1.0, 10.0]))
    assert (slow_third_round.ratio, slow_third_round.value, slow_third_round.range) == (2.0, 2.0, (2.0, 20.0))


def test_rounds_must_be_paired():
    with pytest.raises(ValueError, match="zip"):
        row("ours", [1.0], "ms", against=("bare", [1.0, 2.0]))
    with pytest.raises(ValueError, match="no rounds"):
        row("ours", [], "ms")


def test_the_file_is_a_list_of_rows(tmp_path):
    rows = [Row("http/bare/c1/p50", 0.5, "ms", None, None, 5, (0.4, 0.6))]
    (found,) = json.loads(write(rows, "doors", tmp_path).read_text())
    assert found == {
        "name": "http/bare/c1/p50", "value": 0.5, "unit": "ms", "ratio_to": None, "ratio": None, "rounds": 5, "range": [0.4, 0.6],
    }  # fmt: skip
    assert json.loads(as_json(rows)) == [found]


def test_percentiles_are_latencies_that_were_seen():
    assert sample([i / 1000 for i in range(100, 0, -1)], 10.0) == Sample(50.0, 99.0, 10.0)
    with pytest.raises(BenchError, match="no request"):
        sample([], 1.0)


def test_the_bare_server_is_the_yardstick_of_ours_and_ours_that_of_the_others():
    one = [Sample(1.0, 2.0, 100.0)]
    found = {("http", name, 8): one for name in ("bare", "vedette", "kserve")}
    against = {r.name: r.ratio_to for r in doors.rows(found)}
    assert against["http/bare/c8/p50"] is None
    assert against["http/vedette/c8/p99"] == "http/bare/c8/p99"
    assert against["http/kserve/c8/rate"] == "http/vedette/c8/rate"


def test_servers_take_turns_and_each_round_begins_with_another(monkeypatch):
    class Up:
        def __init__(self, name):
            self.name = name

    order = []

    def cell(door, server, workload, *, clients, index, duration_s):
        order.append((door, server.name, clients, index))
        return Sample(1.0, 1.0, 1.0)

    monkeypatch.setattr(doors, "_cell", cell)
    found = doors.measure([Up("a"), Up("b")], None, clients=(8,), rounds=2, duration_s=1.0)
    http = [(name, index) for door, name, _, index in order if door == "http"]
    assert http == [("a", 0), ("b", 0), ("a", 0), ("b", 0), ("b", 1), ("a", 1)]  # the first two warm up
    assert {cell: len(s) for cell, s in found.items()} == dict.fromkeys(
        [("http", "a", 8), ("http", "b", 8), ("grpc", "a", 8), ("grpc", "b", 8)], 2
    )


def test_h2load_log_without_its_warm_up():
    log = "1000000\t200\t500\n1100000\t200\t9000\n1300000\t200\t1000\n2299000\t200\t1000\n"
    assert _from_log(log, 1) == Sample(1.0, 1.0, 2.0)


@pytest.mark.parametrize("log", ["", "1\t500\t1\n", "1\t200\t1\n2\t-1\t1\n"])
def test_an_h2load_failure_is_no_measurement(log):
    with pytest.raises(BenchError):
        _from_log(log, 1)


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ('RESULT {"p50_us":1,"p99_us":2,"requests":10,"duration_us":1,"failed":3}', "3 of 10"),
        ('RESULT {"p50_us":0,"p99_us":0,"requests":0,"duration_us":1,"failed":0}', "0 of 0"),
        ("unable to connect", "said nothing"),
    ],
)
def test_a_wrk_failure_is_no_measurement(said, problem, monkeypatch, tmp_path):
    monkeypatch.setattr(http_load, "has", lambda _: True)
    monkeypatch.setattr(http_load, "output_of", lambda *_: said)
    with pytest.raises(BenchError, match=problem):
        http_load.load_http(1, "/", tmp_path, clients=1, duration_s=1)


def test_modules_that_can_run_are_benchmarks():
    assert "doors" in dict(command.benchmarks([]))
    for name in ("report", "nothing"):
        with pytest.raises(BenchError, match=name):
            list(command.benchmarks([name]))


def test_a_benchmark_that_fails_does_not_hide_the_others(monkeypatch, tmp_path, capsys):
    class Good:
        @staticmethod
        def run(*, quick, rounds):
            return [row("x", [1.0] * rounds, "ms")]

    class Bad:
        @staticmethod
        def run(*, quick, rounds):
            raise BenchError("the server did not start")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "benchmarks", lambda _: iter([("bad", Bad), ("good", Good)]))
    assert command.main(["--json", "--rounds", "3"]) == 1
    said = capsys.readouterr()
    assert [r["rounds"] for r in json.loads(said.out)] == [3]
    assert "the server did not start" in said.err
    assert (tmp_path / "build/bench/good.json").is_file()


def test_every_server_gets_the_same_model_and_rotating_inputs(tmp_path):
    workload = build_workload(tmp_path, requests=8)
    assert workload.model.read_bytes() == tree_model(7) == tree_model(7)
    assert len(np.unique(workload.answers)) == 8
    bodies = [json.loads(line) for line in workload.json_bodies.read_text().splitlines()]
    assert np.allclose([b["inputs"][0]["data"] for b in bodies], workload.inputs)
    message = workload.grpc_body(9)
    assert (message[0], int.from_bytes(message[1:5], "big")) == (0, len(message) - 5)
    request = messages.ModelInferRequest.FromString(message[5:])
    assert request.inputs[0].name == INPUT
    assert np.array_equal(np.frombuffer(request.raw_input_contents[0], np.float32), workload.inputs[1])
