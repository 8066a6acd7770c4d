"""The parts of the benchmarks that measure nothing: summing up, comparing, choosing, reading the generators' output."""

import json
import os
import re
from datetime import UTC, datetime
from xml.etree import ElementTree

import numpy as np
import pytest

from loadtests.bench import __main__ as command
from loadtests.bench import peers, profiling, targets
from loadtests.bench.benchmarks import doors, grpc_doors
from loadtests.bench.benchmarks.records import audit
from loadtests.bench.errors import BenchError
from loadtests.bench.load import http_load
from loadtests.bench.load.grpc_load import _from_log
from loadtests.bench.load.results import Sample, sample
from loadtests.bench.page import page
from loadtests.bench.record import Record, read_all, this_machine, write
from loadtests.bench.report import as_json, plain, row, unmeasured
from loadtests.bench.strips import strip
from loadtests.bench.vedette import SHIPPED
from loadtests.bench.workload import INPUT, build_workload, tree_model
from loadtests.bench.worlds import own_redis
from loadtests.stubs import messages


def test_a_ratio_is_taken_round_by_round():
    slow_third_round = row("ours", [2.0, 2.0, 20.0], "ms", against=("bare", [1.0, 1.0, 10.0]))
    assert (slow_third_round.ratio, slow_third_round.value, slow_third_round.range) == (2.0, 2.0, (2.0, 20.0))


def test_rounds_must_be_paired():
    with pytest.raises(ValueError, match="zip"):
        row("ours", [1.0], "ms", against=("bare", [1.0, 2.0]))
    with pytest.raises(ValueError, match="no rounds"):
        row("ours", [], "ms")


def test_the_file_says_what_was_found_where_and_how(tmp_path):
    rows = [row("http/bare/c1/p50", [0.5, 0.4, 0.6], "ms", target=targets.value("<", 1))]
    machine = this_machine()
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    path = write(rows, "doors", machine=machine, at=at, how="By hand.", is_quick=True, took_s=2.0, folder=tmp_path)
    (tmp_path / "other.json").write_text("[]")
    (record,) = read_all(tmp_path)
    assert path == tmp_path / "doors.json"
    assert (record.name, record.how, record.is_quick, record.at) == ("doors", "By hand.", True, "2026-01-02T03:04:05+00:00")
    assert record.machine == machine
    (found,) = record.rows
    assert found == {
        "name": "http/bare/c1/p50", "value": 0.5, "unit": "ms", "ratio_to": None, "ratio": None, "rounds": 3, "range": [0.4, 0.6],
        "target": "< 1 ms", "is_met": True, "problem": None,
    }  # fmt: skip
    assert json.loads(as_json(rows)) == [found]


@pytest.mark.parametrize(
    ("target", "values", "is_met"),
    [
        pytest.param(targets.ratio("<=", 1.2), [1.2, 1.2], True, id="a bound belongs to <="),
        pytest.param(targets.ratio("<=", 1.2), [1.3, 1.3], False, id="over the bound is a miss"),
        pytest.param(targets.ratio(">", 1.2), [1.2, 1.2], False, id="a bound does not belong to >"),
        pytest.param(targets.value("<", 1.2), [1.2, 1.1], True, id="of the median, in the figure's unit"),
        pytest.param(None, [9.0, 9.0], None, id="no target is neither met nor missed"),
    ],
)
def test_targets(target, values, is_met):
    assert row("a/b", values, "ms", against=("a/c", [1.0, 1.0]), target=target).is_met is is_met


def test_a_ratio_that_was_not_taken_meets_nothing():
    assert row("a/b", [1.0], "ms", target=targets.ratio("<=", 2)).is_met is False
    assert unmeasured("a/b", "no server", target=targets.value("<", 2)).is_met is False
    with pytest.raises(ValueError, match="sign"):
        targets.value("=", 1)


def test_the_report_is_one_page_without_scripts_or_network():
    fast, slow = [1.0, 1.1], [40.0, 44.0]
    rows = [
        row("http/bare/c1/p50", fast, "ms"),
        row("http/ours/c1/p50", slow, "ms", against=("http/bare/c1/p50", fast), target=targets.ratio("<=", 1.2)),
        unmeasured("http/peer", "it <never> started"),
    ]
    record = Record("doors", "2026-01-02", "How.\n\nMore.", True, 3.0, this_machine(), tuple(plain(r) for r in rows))
    text = page([record])
    assert "Targets: 0 of 1 met" in text
    assert text.count("log scale") == 1
    assert "<td>bare</td>" in text  # the ratio's other side, within one figure
    assert "it &lt;never&gt; started" in text
    assert "A quick run" in text
    assert not re.search(r"<script|https?://|src=|@import", text)
    ElementTree.fromstring(
        re.sub(r"<!doctype html>|<meta[^>]*>", "", re.sub(r"(\w+)=(\w+)(?=[ >])", r'\1="\2"', text))
    )  # every tag is closed


def test_a_strip_has_its_target_on_the_scale():
    rows = [
        plain(row("a/x", [1.0], "ms")),
        plain(row("a/y", [2.0], "ms", against=("a/x", [1.0]), target=targets.ratio("<=", 4))),
    ]
    drawn = strip(rows[1], rows)
    target, dot = (float(re.search(place, drawn)[1]) for place in (r'x1="([\d.]+)" y1="1"', r'cx="([\d.]+)"'))
    assert target == 392.0  # 4 ms, the most there is
    assert dot == 8 + (392 - 8) / 2


def test_percentiles_are_latencies_that_were_seen():
    assert sample([i / 1000 for i in range(100, 0, -1)], 10.0) == Sample(50.0, 99.0, 10.0)
    with pytest.raises(BenchError, match="no request"):
        sample([], 1.0)


def test_the_bare_server_is_the_yardstick_of_all():
    found = doors.DoorFigures()
    found.update(
        {("http", name, 8): [Sample(1.0, 2.0, 100.0)] for name in ("bare", "vedette", "vedette-2", "serve-proxy", "kserve")}
    )
    rows = {r.name: r for r in [*doors.rows(found, doors.target), *doors.against_the_proxy(found)]}
    assert rows["http/bare/c8/p50"].ratio_to is None
    assert rows["http/vedette/c8/p99"].ratio_to == "http/bare/c8/p99"
    assert rows["http/kserve/c8/rate"].ratio_to == "http/bare/c8/rate"
    assert rows["http-against-proxy/vedette/c8/rate"].ratio_to == "http/serve-proxy/c8/rate"
    assert {name: r.target.words(r.unit) for name, r in rows.items() if r.target} == {
        "http/vedette/c8/p50": "<= 1.2x",
        "http/vedette/c8/p99": "<= 2x",
        "http/vedette/c8/rate": ">= 1x",
        "http/vedette-2/c8/rate": "> 1.2x",
        "http-against-proxy/vedette/c8/rate": ">= 40x",
    }
    assert doors.target("http", "vedette-2", 1, "rate") is None  # one client keeps one replica busy


def test_grpc_is_held_against_its_own_bare_server_and_envoy_against_none():
    found = doors.DoorFigures()
    for door, names in (
        ("grpc", ("bare", "vedette")),
        ("grpc-streams", ("bare", "vedette")),
        ("http", ("vedette", "vedette-envoy")),
    ):
        found.update({(door, name, clients): [Sample(1.0, 2.0, 100.0)] for name in names for clients in (1, 32)})
    rows = {r.name: r for r in [*doors.rows(found, grpc_doors.target), *grpc_doors.through_envoy(found)]}
    assert {name: r.target.words(r.unit) for name, r in rows.items() if r.target} == {
        "grpc/vedette/c1/p50": "<= 1x",
        "grpc/vedette/c32/rate": ">= 2.8x",
        "grpc-streams/vedette/c32/rate": ">= 2.8x",
    }
    assert rows["grpc-streams/vedette/c32/rate"].ratio_to == "grpc-streams/bare/c32/rate"
    assert rows["http-against-direct/vedette-envoy/c32/rate"].ratio_to == "http/vedette/c32/rate"


class Up:
    def __init__(self, name):
        self.name = name


def test_servers_take_turns_and_each_round_begins_with_another(monkeypatch):
    order = []

    def cell(door, server, workload, *, clients, index, duration_s):
        order.append((door, server.name, clients, index))
        return Sample(1.0, 1.0, 1.0)

    monkeypatch.setattr(doors, "cell", cell)
    found = doors.DoorFigures()
    doors.measure([Up("a"), Up("b")], None, found, clients=(8,), rounds=2, duration_s=1.0)
    http = [(name, index) for door, name, _, index in order if door == "http"]
    assert http == [("a", 0), ("b", 0), ("a", 0), ("b", 0), ("b", 1), ("a", 1)]  # the first two warm up
    assert {cell: len(s) for cell, s in found.items()} == dict.fromkeys(
        [("http", "a", 8), ("http", "b", 8), ("grpc", "a", 8), ("grpc", "b", 8)], 2
    )


def test_a_server_that_fails_becomes_a_row_and_the_others_are_measured(monkeypatch):
    asked = []

    def cell(door, server, workload, *, clients, index, duration_s):
        asked.append(server.name)
        if server.name == "b" and len(asked) > 4:
            raise BenchError("b broke")
        return Sample(1.0, 1.0, 1.0)

    monkeypatch.setattr(doors, "cell", cell)
    found = doors.DoorFigures()
    found.drop("http", "c", "c did not start")
    doors.measure([Up("bare"), Up("b")], None, found, clients=(1, 8), rounds=2, duration_s=1.0, doors=("http",))
    rows = {r.name: r for r in doors.rows(found)}
    assert rows["http/bare/c8/p50"].rounds == 2
    assert (rows["http/b"].problem, rows["http/c"].problem) == ("b broke", "c did not start")
    assert not [
        name for name in rows if name.startswith("http/b/")
    ]  # a round that others have and it has not pairs with nothing


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
    short = dict(command.benchmarks([]))
    assert "doors" in short
    assert not set(short) & command.LONG
    assert list(dict(command.benchmarks(["ray_scaling"]))) == ["ray_scaling"]  # named, a long one runs
    assert list(dict(command.benchmarks(["sql"]))) == ["sql"], "benchmarks in rooms too"
    for name in ("report", "nothing"):
        with pytest.raises(BenchError, match=name):
            list(command.benchmarks([name]))


class Good:
    """Good."""

    @staticmethod
    def run(*, quick, rounds):
        return [row("x", [1.0] * rounds, "ms", target=targets.value("<", 1))]


class Bad:
    @staticmethod
    def run(*, quick, rounds):
        raise BenchError("the server did not start")


class Broken:
    @staticmethod
    def run(*, quick, rounds):
        raise KeyError("nobody thought of this")


@pytest.mark.heavy
def test_a_benchmark_that_fails_does_not_hide_the_others(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "benchmarks", lambda _: iter([("bad", Bad), ("broken", Broken), ("good", Good)]))
    assert command.main(["--json", "--rounds", "3"]) == 1
    said = capsys.readouterr()
    assert [(r["rounds"], r["problem"]) for r in json.loads(said.out)] == [
        (0, "the server did not start"), (0, "KeyError: 'nobody thought of this'"), (3, None),
    ]  # fmt: skip
    assert "the server did not start" in said.err
    assert (tmp_path / "build/bench/good.json").is_file()
    assert "could not be measured: the server did not start" in (tmp_path / "build/bench/report.html").read_text(
        encoding="utf-8"
    )


@pytest.mark.parametrize(("arguments", "status"), [([], 0), (["--strict"], 1)])
def test_a_missed_target_fails_only_when_asked(arguments, status, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "benchmarks", lambda _: iter([("good", Good)]))
    assert command.main(arguments) == status
    assert "1 of 1 targets missed" in capsys.readouterr().err


@pytest.mark.heavy
def test_every_server_gets_the_same_model_and_rotating_inputs(tmp_path):
    workload = build_workload(tmp_path, requests=8)
    assert workload.model.read_bytes() == tree_model(7) == tree_model(7)
    assert len(np.unique(workload.answers)) == 8
    bodies = [json.loads(line) for line in workload.json_bodies.read_text(encoding="utf-8").splitlines()]
    assert np.allclose([b["inputs"][0]["data"] for b in bodies], workload.inputs)
    message = workload.grpc_body(9)
    assert (message[0], int.from_bytes(message[1:5], "big")) == (0, len(message) - 5)
    request = messages.ModelInferRequest.FromString(message[5:])
    assert request.inputs[0].name == INPUT
    assert np.array_equal(np.frombuffer(request.raw_input_contents[0], np.float32), workload.inputs[1])


@pytest.mark.parametrize("module", [doors, grpc_doors])
def test_the_headline_benchmarks_also_have_what_a_user_has_who_sets_nothing(module, monkeypatch, tmp_path):
    monkeypatch.setattr("loadtests.bench.vedette.fill_store", lambda *_: None)
    made = dict(module.servers(None, tmp_path))
    assert made[SHIPPED]().environment == ()
    assert made["vedette"]().environment == (("VEDETTE_AUDIT", "off"),)


def test_a_ratio_to_nothing_is_not_taken():
    found = row("ours", [1.0, 2.0], "req/s", against=("bare", [1.0, 0.0]), target=targets.ratio(">=", 0.5))
    assert (found.value, found.ratio, found.is_met) == (1.5, None, False)


def test_a_round_without_a_figure_is_told_and_the_page_is_made(tmp_path):
    rows = [row("x/ours/p99", [1.0, float("nan")], "ms"), row("x/bare/p99", [1.0, 2.0], "ms")]
    assert (rows[0].value, rows[0].problem) == (None, "1 of 2 rounds gave no figure")
    write(rows, "x", machine=this_machine(), at=datetime(2026, 1, 2, tzinfo=UTC), folder=tmp_path)
    assert "1 of 2 rounds gave no figure" in page(read_all(tmp_path))


@pytest.mark.parametrize("content", ["", "{", '{"rows": []}', '{"rows": [], "machine": {"gone": 1}, "name": "x"}'])
def test_a_record_that_cannot_be_read_hides_no_other(tmp_path, content):
    write([], "good", machine=this_machine(), at=datetime(2026, 1, 2, tzinfo=UTC), folder=tmp_path)
    (tmp_path / "bad.json").write_text(content)
    assert [record.name for record in read_all(tmp_path)] == ["good"]


def test_a_wrong_name_is_told_before_anything_is_measured():
    with pytest.raises(BenchError, match="nothing"):
        next(command.benchmarks(["sigma", "nothing"]))


def test_a_peers_environment_is_made_again_for_another_python(tmp_path, monkeypatch):
    ran = []
    monkeypatch.setattr(peers, "ROOT", tmp_path)
    monkeypatch.setattr(
        peers, "_run", lambda name, words: (tmp_path / "venvs" / "a").mkdir(parents=True, exist_ok=True) or ran.append(words)
    )
    (tmp_path / "requirements" / "peers").mkdir(parents=True)
    (tmp_path / "requirements" / "peers" / "a.txt").write_text("x==1\n")
    for version, made in (("3.12.1", True), ("3.12.1", False), ("3.13.0", True)):
        monkeypatch.setattr("platform.python_version", lambda version=version: version)
        ran.clear()
        peers.environment("a", tmp_path / "venvs")
        assert bool(ran) is made, version


def program(folder, name, script):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.mark.heavy
def test_a_redis_that_does_not_answer_is_ended(tmp_path, monkeypatch):
    program(tmp_path, "redis-server", f'[ "$1" = --version ] && echo v=6.0 && exit\necho $$ > {tmp_path}/pid\nexec sleep 600')
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(own_redis, "START_S", 0.5)
    with pytest.raises(BenchError, match="did not answer"), own_redis.OwnRedis():
        pass
    pid = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_profiler_that_hangs_is_told(tmp_path, monkeypatch):
    hanging = program(tmp_path, "py-spy", "exec sleep 600")
    monkeypatch.setattr("shutil.which", lambda *_, **__: str(hanging))
    monkeypatch.setattr(profiling, "PATIENCE_S", 0.1)
    with pytest.raises(BenchError, match="py-spy did not end"):
        profiling.record(1, tmp_path / "x.svg", seconds=0.1, kind="raw", is_native=False)


def test_the_log_is_compared_with_no_log_in_the_same_rounds():
    found = doors.DoorFigures()
    rates = {audit.OFF: [100.0, 50.0], audit.ASYNC: [95.0, 47.0], audit.STRICT: [40.0, 20.0]}
    found.update({("http", name, 32): [Sample(1.0, 2.0, rate) for rate in taken] for name, taken in rates.items()})
    rows = {r.name: r for r in [*audit.rows(found), *audit.cpu_rows({audit.OFF: [100.0], audit.STRICT: [150.0]})]}
    assert rows["audit/vedette-async/c32/rate"].is_met is True
    assert rows["audit/vedette-strict/c32/rate"].ratio == pytest.approx(0.4)
    assert rows["audit/vedette-strict/c32/rate"].is_met is False
    assert rows["audit/vedette-off/c32/rate"].ratio is None
    assert rows["audit/vedette-strict/c32/cpu"].ratio == pytest.approx(1.5)
