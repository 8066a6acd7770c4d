"""The benchmark of the doors against its own bare server, with each load generator there is; no figure is judged."""

import asyncio
import os
import signal

import pytest

from loadtests.bench import grpc_load, http_load
from loadtests.bench.answers import check_grpc, check_http
from loadtests.bench.errors import BenchError
from loadtests.bench.load import has
from loadtests.bench.open_load import load_open
from loadtests.bench.process import ServerUnderTest, python, running
from loadtests.bench.workload import INFER_PATH, build_workload, infer_request

pytestmark = pytest.mark.integration


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
    assert found.rate > 1


@pytest.mark.parametrize("program", ["h2load", ""])
def test_grpc_load(program, bare, workload, monkeypatch):
    if program and not has(program):
        pytest.skip(f"{program} is not installed; make services installs it")
    monkeypatch.setattr(grpc_load, "has", lambda _: bool(program))
    found = grpc_load.load_grpc(bare.grpc_port, workload.grpc_body(0), clients=4, duration_s=1.0)
    assert 0 < found.p50_ms <= found.p99_ms
    assert found.rate > 1


def test_open_load(bare, workload):
    found = load_open(bare.http_port, INFER_PATH, workload.json_bodies, rate=100.0, clients=4, duration_s=1.0)
    assert 0 < found.p50_ms <= found.p99_ms <= found.p999_ms
    assert found.answered > 50
    with pytest.raises(BenchError, match=r"requests to port .* failed"):
        load_open(bare.http_port, "/nothing", workload.json_bodies, rate=100.0, clients=4, duration_s=0.2)


def test_a_server_that_is_stopped_for_a_while_shows_in_the_open_loop(bare, workload):
    async def stopped():
        loading = asyncio.to_thread(
            load_open, bare.http_port, INFER_PATH, workload.json_bodies, rate=100.0, clients=2, duration_s=2.0
        )
        task = asyncio.create_task(loading)
        await asyncio.sleep(1.3)  # the generator is a process that has to start
        os.kill(bare.pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(0.7)
        finally:
            os.kill(bare.pid, signal.SIGCONT)
        return await task

    found = asyncio.run(stopped())
    assert found.p99_ms > 300  # two connections hold two requests; dozens were due meanwhile, and each counts
    assert found.answered > 100


def test_a_server_that_refuses_is_not_measured(bare, workload):
    with pytest.raises(BenchError, match="404"):
        asyncio.run(http_load._own(bare.http_port, "/nothing", [b"{}"], 1, 0.2))
    wrong = infer_request(workload.inputs[0])
    wrong.inputs[0].shape[1] = 7
    with pytest.raises(BenchError, match="UNKNOWN"):
        asyncio.run(grpc_load._own(bare.grpc_port, wrong, 1, 0.2))


def test_a_server_that_does_not_start_is_named_with_its_log():
    broken = ServerUnderTest("broken", python("loadtests.bench.servers.nothing"))
    with pytest.raises(BenchError, match=r"broken ended with status 1 .*broken\.log"), running(broken):
        pass
