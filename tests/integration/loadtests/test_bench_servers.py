"""The benchmark of the doors against its own bare server, with each load generator there is; no figure is judged."""

import asyncio
import dataclasses
import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from loadtests.bench.benchmarks import doors, grpc_doors
from loadtests.bench.errors import BenchError
from loadtests.bench.load import exact_load, grpc_load, http_load
from loadtests.bench.load.answers import check_grpc, check_http
from loadtests.bench.load.connections import arrivals
from loadtests.bench.load.exact_load import load_exactly
from loadtests.bench.load.open_load import drive, load_open
from loadtests.bench.load.results import has
from loadtests.bench.process import ServerUnderTest, python, running
from loadtests.bench.workload import INFER_PATH, build_workload, infer_request
from tests.waiting import until_so

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("own_folder")]


@pytest.fixture(scope="module")
def workload(tmp_path_factory):
    return build_workload(tmp_path_factory.mktemp("bench"), requests=16)


@pytest.fixture(scope="module")
def bare(workload):
    common = ("--model", str(workload.model), "--http-port", "{http_port}", "--grpc-port", "{grpc_port}")
    with running(ServerUnderTest("bare-test", python("loadtests.bench.servers.bare", *common))) as server:
        yield server


def test_it_answers_what_onnxruntime_answers(bare, workload):
    check_http(bare, workload)
    check_grpc(bare, workload)


@pytest.mark.parametrize("program", ["wrk", ""])
def test_http_load(program, bare, workload, monkeypatch):
    if program and not has(program):
        pytest.skip(f"{program} is not installed; make services installs it")
    monkeypatch.setattr(http_load, "has", lambda _: bool(program))
    found = http_load.load_http(bare.http_port, INFER_PATH, workload.json_bodies, clients=4, duration_s=1.0)
    assert 0 < found.p50_ms <= found.p99_ms
    assert found.rate > 0


@pytest.mark.parametrize("program", ["h2load", ""])
def test_grpc_load(program, bare, workload, monkeypatch):
    if program and not has(program):
        pytest.skip(f"{program} is not installed; make services installs it")
    monkeypatch.setattr(grpc_load, "has", lambda _: bool(program))
    for clients, streams in ((4, 1), (1, 4)):
        found = grpc_load.load_grpc(bare.grpc_port, workload.grpc_body(0), clients=clients, streams=streams, duration_s=1.0)
        assert 0 < found.p50_ms <= found.p99_ms
        assert found.rate > 0


@pytest.mark.parametrize("load", [load_open, load_exactly])
def test_open_load(load, bare, workload):
    found = load(bare.http_port, INFER_PATH, workload.json_bodies, rate=100.0, clients=4, duration_s=1.0)
    assert 0 < found.p50_ms <= found.p99_ms <= found.p999_ms
    assert found.answered == len(arrivals(100.0, 1.0, seed=100)), "every request that was due"
    with pytest.raises(BenchError, match=r"requests to port .* failed"):
        load(bare.http_port, "/nothing", workload.json_bodies, rate=100.0, clients=4, duration_s=0.2)


async def exactly(*arguments):
    return await asyncio.to_thread(exact_load.drive, *arguments)


@pytest.mark.parametrize("drive", [drive, exactly])
def test_a_server_that_is_stopped_for_a_while_shows_in_the_open_loop(drive, bare, workload):
    head = f"POST {INFER_PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: "
    requests = [f"{head}{len(body)}\r\n\r\n".encode() + body for body in workload.json_bodies.read_bytes().splitlines()]

    class Sent(list):
        """Requests that count how often one was taken to be sent."""

        taken = 0

        def __getitem__(self, place):
            self.taken += 1
            return super().__getitem__(place)

    sent = Sent(requests)

    async def stopped():
        driving = asyncio.create_task(drive(bare.http_port, 100.0, 2.0, 2, sent))
        await until_so(lambda: sent.taken >= 20)
        os.kill(bare.pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(0.7)
        finally:
            os.kill(bare.pid, signal.SIGCONT)
        return await driving

    found = asyncio.run(stopped())
    assert found.p99_ms > 300  # two connections hold two requests; dozens were due meanwhile, and each counts
    assert found.answered == sent.taken == len(arrivals(100.0, 2.0, seed=100))


def test_a_server_that_refuses_is_not_measured(bare, workload):
    with pytest.raises(BenchError, match="404"):
        asyncio.run(http_load._own(bare.http_port, "/nothing", [b"{}"], 1, 0.2)).without_failures()
    wrong = infer_request(workload.inputs[0])
    wrong.inputs[0].shape[1] = 7
    with pytest.raises(BenchError, match="UNKNOWN"):
        asyncio.run(grpc_load._own(bare.grpc_port, wrong, 1, 0.2))


def test_what_cannot_be_brought_up_is_told_and_the_rest_is_up(workload, bare):
    found = doors.DoorFigures()
    wrong = doors.module_server("wrong", "bare", workload)
    wanted = [
        ("bare", lambda: doors.bare(workload)),
        ("broken", lambda: ServerUnderTest("broken", python("loadtests.bench.servers.nothing"))),
        ("wrong", lambda: wrong),
    ]
    other = dataclasses.replace(workload, answers=workload.answers + 1)
    with ExitStack() as stack:
        up = doors.bring_up(stack, wanted[:2], workload, found, doors=("http", "grpc"))
        assert [server.name for server in up] == ["bare"]
        assert not doors.bring_up(stack, wanted[2:], other, found, doors=("http",))
        pid = up[0].pid
        os.kill(pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert "broken ended with status 1" in found.problems["grpc", "broken"]
    assert "where onnxruntime answers" in found.problems["http", "wrong"]


@pytest.mark.skipif(
    not Path(sys.executable).with_name("envoy").exists(), reason="envoy is not installed; the extra `envoy` has it"
)
def test_http_through_envoy(bare, workload):
    with running(grpc_doors.envoy(bare)) as through:
        check_http(through, workload)


def test_a_server_that_does_not_start_is_named_with_its_log():
    broken = ServerUnderTest("broken", python("loadtests.bench.servers.nothing"))
    with pytest.raises(BenchError, match=r"broken ended with status 1 .*broken\.log"), running(broken):
        pass
