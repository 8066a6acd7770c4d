"""The gRPC door's own HTTP/2 on a real socket: h2spec's conformance cases, and what gRPC's clients do when they misbehave or leave."""

import asyncio
import os
import pwd
import shutil
import socket
import struct
import subprocess
import threading
from pathlib import Path

import grpc
import pytest

from serving.doors.grpc import stubs
from tests.fakes.serving.doors import MAX_BODY_BYTES, Doors, open_doors, simple_message
from tests.waiting import HANG_S, until

INFER = f"/{stubs.SERVICE}/ModelInfer"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])


@pytest.fixture(scope="module")
def doors():
    with open_doors() as opened:
        yield opened


def h2spec() -> str | None:
    """The program: on the PATH, or where tests/install_h2spec.sh puts it."""
    own = {**os.environ, "HOME": pwd.getpwuid(os.getuid()).pw_dir}  # the tests' HOME is a folder of their own
    built = subprocess.check_output(["sh", Path(__file__).parents[2] / "install_h2spec.sh", "--where"], env=own, text=True)
    return shutil.which("h2spec") or shutil.which(built.strip())


H2SPEC = h2spec()


@pytest.mark.skipif(H2SPEC is None, reason="h2spec is not there: `make services` builds it, where Go is")
def test_it_conforms_to_http2(doors: Doors):
    command = [H2SPEC, "-h", "127.0.0.1", "-p", str(doors.grpc_port), "-o", "5", "http2", "generic", "hpack"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-4000:]


def test_big_messages_both_ways(doors: Doors):
    message = simple_message("echo", raw=True)
    del message.inputs[1], message.raw_input_contents[1]
    size = MAX_BODY_BYTES // 2 // 4
    message.inputs[0].shape[:] = [size]
    message.raw_input_contents[0] = bytes(range(256)) * (size * 4 // 256)
    answer = doors.call("ModelInfer", message.SerializeToString())
    assert answer.raw_output_contents[0] == message.raw_input_contents[0]


def test_a_compressed_message_is_understood(doors: Doors):
    for how in (grpc.Compression.Gzip, grpc.Compression.Deflate):
        assert doors.call("ModelInfer", simple_message().SerializeToString(), compression=how).model_name == "simple"


def test_an_unknown_compression_is_said_to_be_unknown(doors: Doors):
    """As gRPC has it: UNIMPLEMENTED, and what is understood."""
    head = [b":method", b"POST", b":scheme", b"http", b":path", INFER.encode(), b"content-type", b"application/grpc"]
    head += [b"grpc-encoding", b"snappy"]
    answer = said(doors.grpc_port, head, b"\x01\0\0\0\x02hi")
    assert b"grpc-status\x0212" in answer
    assert b"identity,deflate,gzip" in answer


@pytest.mark.parametrize(("body", "code"), [
    pytest.param(b"", b"3", id="no message"),
    pytest.param(b"\0\0\0\0\x05hi", b"3", id="a message cut off"),
    pytest.param(b"\0\0\0\0\x01h\0\0\0\0\0", b"3", id="two messages"),
])  # fmt: skip
def test_bodies_that_are_not_one_message(doors: Doors, body, code):
    head = [b":method", b"POST", b":scheme", b"http", b":path", INFER.encode(), b"content-type", b"application/grpc"]
    assert b"grpc-status\x01" + code in said(doors.grpc_port, head, body)


def said(port: int, head: list[bytes], body: bytes) -> bytes:
    """What is answered to one request, as bytes; literals are not packed."""
    block = b"".join(
        b"\0" + b"".join(bytes([len(text)]) + text for text in pair) for pair in zip(head[::2], head[1::2], strict=True)
    )
    request = frame(1, 4, block) + frame(0, 1, body)
    with socket.create_connection(("127.0.0.1", port), timeout=HANG_S) as sock:
        sock.sendall(PREFACE + request)
        answer = b""
        while b"grpc-status" not in answer:
            answer += sock.recv(65536)
        return answer


def frame(kind: int, flags: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", 1) + payload


def test_a_client_that_cancels_ends_the_work(doors: Doors):
    doors.service.seen.clear()
    call = doors.channel.unary_unary(INFER, None, None).future(simple_message("slow").SerializeToString())
    until(lambda: doors.service.seen)
    call.cancel()
    loop = doors.listener._thread.loop
    until(lambda: not any("infer" in repr(task.get_coro()) for task in asyncio.all_tasks(loop)))


def test_a_hundred_calls_at_once_on_one_connection(doors: Doors):
    call = doors.channel.unary_unary(INFER, None, stubs.ModelInferResponse.FromString)
    asked = simple_message("slow").SerializeToString()
    doors.service.seen.clear()
    under_way = [call.future(asked, timeout=HANG_S) for _ in range(100)]
    until(lambda: len(doors.service.seen) == 100)
    assert doors.call("ServerLive", b"").live, "others are answered meanwhile"
    doors.listener._thread.loop.call_soon_threadsafe(doors.service.release.set)
    assert {one.result().model_name for one in under_way} == {"slow"}
    doors.service.release.clear()


def test_calls_without_a_pause_while_the_door_closes_are_answered_or_not_begun():
    """A door that goes says so first: nothing that it has taken is lost."""
    with open_doors() as doors:
        outcomes: list[str] = []
        is_over = threading.Event()

        def ask() -> None:
            while not is_over.is_set():
                try:
                    doors.call("ServerLive", b"")
                    outcomes.append("OK")
                except grpc.RpcError as problem:
                    outcomes.append(problem.details())

        asking = [threading.Thread(target=ask) for _ in range(4)]
        for thread in asking:
            thread.start()
        until(lambda: len(outcomes) > 100)
        doors.listener.stop(5)
        is_over.set()
        for thread in asking:
            thread.join(HANG_S)
    lost = {said for said in outcomes if said != "OK" and "onnection refused" not in said}
    assert not lost
