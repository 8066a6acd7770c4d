"""Replicas that share ports are taken away under load: no client notices, whether it keeps its connection or opens new ones."""

import asyncio
import http.client
import json
import subprocess
import sys
from collections import Counter

import grpc
import pytest

from serving.doors.http import server
from tests.fakes.serving.doors import simple_request
from tests.integration.doors.test_listener import get, listener
from tests.ports import free_ports
from tests.waiting import HANG_S, ends, until, until_so

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="replicas share ports as Linux lets them")
BODY = json.dumps(simple_request()).encode()
CONNECTION_AGE_S = 0.6
TAKEN_AWAY = 4


class Replica:
    def __init__(self, http_port: int, grpc_port: int) -> None:
        command = [
            sys.executable,
            "-m",
            "tests.fakes.serving.sharing_server",
            str(http_port),
            str(grpc_port),
            str(CONNECTION_AGE_S),
        ]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout.readline() == b"up\n"

    def stop(self) -> None:
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()
        assert self._process.wait(40) == 0


class Clients:
    """Ask without a pause until they are told to stop; count what was answered and what failed after it was sent or begun."""

    def __init__(self, http_port: int, grpc_port: int) -> None:
        self._http_port, self._target = http_port, f"127.0.0.1:{grpc_port}"
        self.answered: Counter[str] = Counter()
        self.failed: Counter[tuple[str, str]] = Counter()
        self.is_over = False

    async def http(self, kind: str, headers: bytes) -> None:
        head = b"POST /v2/models/simple/infer HTTP/1.1\r\nhost: x\r\n%scontent-length: %d\r\n\r\n" % (headers, len(BODY))
        reader = writer = None
        while not self.is_over:
            try:
                if reader is None or reader.at_eof():  # as clients with a pool look before they send
                    reader, writer = await asyncio.open_connection("127.0.0.1", self._http_port)
                writer.write(head + BODY)
                answer = (await reader.readuntil(b"\r\n\r\n")).lower()
                await reader.readexactly(int(answer.split(b"content-length:")[1].split(b"\r\n")[0]))
                assert b" 200 " in answer.split(b"\r\n")[0], answer
                self.answered[kind] += 1
                if b"connection: close" in answer:
                    writer.close()
                    reader = None
            except (OSError, EOFError, AssertionError) as problem:
                self.failed[kind, repr(problem)] += 1
                reader = None
            await asyncio.sleep(0.002)

    async def grpc(self) -> None:
        async with grpc.aio.insecure_channel(self._target, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            live = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")
            while not self.is_over:
                try:
                    await live(b"", timeout=HANG_S)
                    self.answered["grpc"] += 1
                except grpc.aio.AioRpcError as problem:
                    self.failed["grpc", f"{problem.code().name} {problem.details()}"] += 1
                await asyncio.sleep(0.002)


async def test_replicas_are_taken_away_and_nobody_notices():
    http_port, grpc_port = free_ports(2)
    clients = Clients(http_port, grpc_port)
    replicas = [await asyncio.to_thread(Replica, http_port, grpc_port) for _ in range(2)]
    asking = [asyncio.create_task(work) for work in (
        *(clients.http("kept", b"") for _ in range(6)),
        *(clients.http("new", b"connection: close\r\n") for _ in range(3)),
        *(clients.grpc() for _ in range(4)),
    )]  # fmt: skip
    for _ in range(TAKEN_AWAY):
        seen = Counter(clients.answered)
        await until_so(lambda seen=seen: all(clients.answered[kind] > seen[kind] + 50 for kind in ("kept", "new", "grpc")))
        oldest = replicas.pop(0)
        replicas.append(await asyncio.to_thread(Replica, http_port, grpc_port))
        await asyncio.to_thread(oldest.stop)
    clients.is_over = True
    await asyncio.gather(*asking)
    for replica in replicas:
        await asyncio.to_thread(replica.stop)
    assert not clients.failed
    assert min(clients.answered[kind] for kind in ("kept", "new", "grpc")) > 100


def test_an_old_connection_ends_with_an_answer_that_says_so(monkeypatch):
    monkeypatch.setattr(server, "CONNECTION_AGE_S", 0.1)
    opened = listener()
    port = opened.start(30).http

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=HANG_S)

    def said():
        connection.request("GET", "/v2/health/live")
        answer = connection.getresponse()
        answer.read()
        return answer.getheader("connection")

    assert until(said) == "close"
    assert connection.sock is None, "and it is closed"
    assert get(port) == 200
    opened.stop(1)


def test_an_idle_connection_does_not_hold_the_closing_up():
    opened = listener()
    port = opened.start(30).http

    idle = http.client.HTTPConnection("127.0.0.1", port, timeout=HANG_S)
    idle.request("GET", "/v2/health/live")
    idle.getresponse().read()
    ends(lambda: opened.stop(10 * HANG_S))
