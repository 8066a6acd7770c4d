"""Many rows in one request: 1,000 rows over each door, next to onnxruntime's own rows a second on the same tensors.

`onnxruntime` is the session alone, one thread, in this process. `vedette-binary` takes and gives raw tensors after the JSON (the
binary tensor extension), `vedette-json` JSON both ways, `vedette-grpc` raw contents; each answers score, verdict and probability of
every row (audit and cache off); `-shipped` after a name is the same with every setting as it ships. `bare-json` and `bare-grpc`
answer the score. One client, one request at a time, over a kept connection; inputs rotate and every answer's scores are compared with
onnxruntime's before anything is measured."""

import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import grpc
import numpy as np
import orjson
from numpy.typing import NDArray

from loadtests.bench import targets
from loadtests.bench.benchmarks.doors import bare, say
from loadtests.bench.errors import BenchError
from loadtests.bench.process import HOST, Running, running
from loadtests.bench.report import Row, row, unmeasured
from loadtests.bench.vedette import SHIPPED, vedette
from loadtests.bench.workload import FEATURES, INFER_PATH, INPUT, MODEL, OUTPUT, build_workload
from loadtests.stubs import infer_call, messages

ROWS: Final = 1_000
TENSORS: Final = 8
ALONE: Final = "onnxruntime"
BINARY: Final = "vedette-binary"
TOLERANCE: Final = 1e-5

Floats = NDArray[np.float32]
Ask = Callable[[int], Floats]
"""Takes the number of a tensor and gives its scores, shape (ROWS,)."""


def run(*, quick: bool, rounds: int) -> list[Row]:
    """Measure. A way that fails, or whose answers differ from onnxruntime's, becomes a row that says why."""
    duration_s = 0.5 if quick else 2.0
    tensors = np.random.default_rng(11).standard_normal((TENSORS, ROWS, FEATURES), dtype=np.float32)
    problems: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as folder, ExitStack() as stack:
        workload = build_workload(Path(folder))
        clients: dict[str, Ask] = {ALONE: _alone(workload.model, tensors)}
        shipped = {f"{name}-shipped": door for name, door in VEDETTE.items()}
        sent = (
            (vedette(workload, Path(folder) / "store"), VEDETTE),
            (vedette(workload, Path(folder) / "shipped", SHIPPED), shipped),
            (bare(workload), BARE),
        )
        for wanted, doors in sent:
            try:
                server = stack.enter_context(running(wanted))
                clients |= {name: door(stack, server, tensors) for name, door in doors.items()}
            except BenchError as problem:
                problems |= dict.fromkeys(doors, str(problem))
        expected = [clients[ALONE](index) for index in range(TENSORS)]
        for name, ask in list(clients.items()):
            try:
                _check(name, ask, expected)
            except (BenchError, OSError, grpc.RpcError) as problem:
                problems[name] = str(problem)
                del clients[name]
        found = measure(clients, rounds=rounds, duration_s=duration_s)
    return [*rows(found), *(unmeasured(f"rows-1000/{name}/rate", why, target=_target(name)) for name, why in problems.items())]


def measure(clients: Mapping[str, Ask], *, rounds: int, duration_s: float) -> dict[str, list[float]]:
    """Way -> rows per second, measured in turn. Each round begins with another way."""
    found: dict[str, list[float]] = {name: [] for name in clients}
    every = list(clients.items())
    for index in range(rounds):
        first = index % len(every)
        for name, ask in (*every[first:], *every[:first]):
            start, sent = time.perf_counter(), 0
            while (elapsed_s := time.perf_counter() - start) < duration_s or not sent:
                ask(sent % TENSORS)
                sent += 1
            found[name].append(sent * ROWS / elapsed_s)
        say(f"rows round {index + 1}/{rounds}: " + ", ".join(f"{name} {taken[-1]:,.0f}" for name, taken in found.items()))
    return found


def rows(found: Mapping[str, Sequence[float]]) -> Iterator[Row]:
    """Every way beside onnxruntime alone."""
    for name, taken in found.items():
        against = None if name == ALONE else (f"rows-1000/{ALONE}/rate", found[ALONE])
        yield row(f"rows-1000/{name}/rate", taken, "rows/s", against=against, target=_target(name))


def _target(name: str) -> targets.Target | None:
    return targets.ratio(">=", 0.7) if name == BINARY else None


def _check(name: str, ask: Ask, expected: Sequence[Floats]) -> None:
    for index, wanted in enumerate(expected):
        scores = ask(index)
        if scores.shape != wanted.shape or np.abs(scores - wanted).max() > TOLERANCE:
            raise BenchError(f"{name} scored tensor {index} otherwise than onnxruntime does")


def _alone(model: Path, tensors: NDArray[np.float32]) -> Ask:
    from loadtests.bench.servers.bare import open_session

    session = open_session(str(model))
    return lambda index: np.asarray(session.run([OUTPUT], {INPUT: tensors[index]})[0]).reshape(-1)


def _binary(stack: ExitStack, server: Running, tensors: NDArray[np.float32]) -> Ask:
    size = tensors[0].nbytes
    tensor = {"name": INPUT, "datatype": "FP32", "shape": [ROWS, FEATURES], "parameters": {"binary_data_size": size}}
    head = orjson.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}})
    client = _Http(stack, server)
    requests = [client.request(head + t.tobytes(), f"Inference-Header-Content-Length: {len(head)}\r\n") for t in tensors]

    def ask(index: int) -> Floats:
        headers, body = client.ask(requests[index])
        length = int(headers.split(b"\r\ninference-header-content-length:", 1)[1].split(b"\r\n", 1)[0])
        at = length
        for output in orjson.loads(body[:length])["outputs"]:
            size = output["parameters"]["binary_data_size"]
            if output["name"] == OUTPUT:
                return np.frombuffer(body, dtype=np.float32, count=ROWS, offset=at)
            at += size
        raise BenchError(f"{server.name} answered without {OUTPUT}")

    return ask


def _json(stack: ExitStack, server: Running, tensors: NDArray[np.float32]) -> Ask:
    client = _Http(stack, server)
    requests = []
    for tensor in tensors:
        one = {"name": INPUT, "datatype": "FP32", "shape": [ROWS, FEATURES], "data": tensor.ravel()}
        requests.append(client.request(orjson.dumps({"inputs": [one]}, option=orjson.OPT_SERIALIZE_NUMPY)))

    def ask(index: int) -> Floats:
        _, body = client.ask(requests[index])
        return np.array(next(o["data"] for o in orjson.loads(body)["outputs"] if o["name"] == OUTPUT), dtype=np.float32)

    return ask


def _grpc(stack: ExitStack, server: Running, tensors: NDArray[np.float32]) -> Ask:
    infer = infer_call(stack.enter_context(grpc.insecure_channel(f"{HOST}:{server.grpc_port}")))
    requests = []
    for tensor in tensors:
        one = messages.ModelInferRequest.InferInputTensor(name=INPUT, datatype="FP32", shape=[ROWS, FEATURES])
        requests.append(messages.ModelInferRequest(model_name=MODEL, inputs=[one], raw_input_contents=[tensor.tobytes()]))

    def ask(index: int) -> Floats:
        answer = infer(requests[index], timeout=30, wait_for_ready=True)
        place = [o.name for o in answer.outputs].index(OUTPUT)
        if answer.raw_output_contents:
            return np.frombuffer(answer.raw_output_contents[place], dtype=np.float32)
        return np.array(answer.outputs[place].contents.fp32_contents, dtype=np.float32)

    return ask


VEDETTE: Final[Mapping[str, Callable[[ExitStack, Running, Any], Ask]]] = {
    BINARY: _binary,
    "vedette-json": _json,
    "vedette-grpc": _grpc,
}
BARE: Final[Mapping[str, Callable[[ExitStack, Running, Any], Ask]]] = {"bare-json": _json, "bare-grpc": _grpc}


class _Http:
    """One kept connection that uses sockets only: http.client's own work would count against the server."""

    def __init__(self, stack: ExitStack, server: Running) -> None:
        self._server, self._stack = server, stack
        self._connect()

    def _connect(self) -> None:
        self._socket = self._stack.enter_context(socket.create_connection((HOST, self._server.http_port), timeout=30))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def request(self, body: bytes, headers: str = "") -> bytes:
        """The bytes of a request."""
        head = f"POST {INFER_PATH} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n{headers}"
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    def ask(self, request: bytes) -> tuple[bytes, memoryview]:
        """Send a request and return its headers in lower case, and its body. Raises BenchError unless the status is 200."""
        self._socket.sendall(request)
        data = bytearray()
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._received()
        headers = bytes(data[:end]).lower() + b"\r\n"
        length = int(headers.split(b"\r\ncontent-length:", 1)[1].split(b"\r\n", 1)[0])
        whole = end + 4 + length
        while len(data) < whole:
            data += self._received()
        if headers[9:12] != b"200":
            raise BenchError(f"{self._server.name} answered {bytes(data[:400])!r}")
        if b"\r\nconnection: close\r\n" in headers:  # a server ends old connections, so that load balancers spread anew
            self._socket.close()
            self._connect()
        return headers, memoryview(data)[end + 4 :]

    def _received(self) -> bytes:
        data = self._socket.recv(1 << 18)
        if not data:
            raise BenchError(f"{self._server.name} closed the connection")
        return data
