"""Checks that a server under test gives onnxruntime's answers, over both doors, before it is measured.

A fast wrong answer, or an error that a load generator counts as an answer, would make its figures worthless."""

import http.client

import grpc
import numpy as np
import orjson

from loadtests.bench.errors import BenchError
from loadtests.bench.process import HOST, Running, connection_to
from loadtests.bench.workload import INFER_PATH, OUTPUT, Workload, infer_request, json_body
from loadtests.stubs import infer_call

CHECKED = 3
TOLERANCE = 1e-5


def check_http(server: Running, workload: Workload) -> None:
    """Check answers over HTTP. Raises BenchError at the first wrong one."""
    for values, expected in zip(workload.inputs[:CHECKED], workload.answers, strict=False):
        connection = connection_to(server.http_port, server.authority, timeout_s=10)
        try:
            connection.request("POST", INFER_PATH, json_body(values), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        if answer.status != http.client.OK:
            raise BenchError(f"{server.name} answered {answer.status} over HTTP: {body[:300]!r}")
        (score,) = (o for o in orjson.loads(body)["outputs"] if o["name"] == OUTPUT)
        _compare(server.name, "HTTP", float(np.ravel(score["data"])[0]), float(expected))


def check_decision(server: Running, workload: Workload) -> None:
    """Check that an answer over HTTP holds a verdict and a probability, which our figures claim to include. Raises BenchError."""
    body = json_body(workload.inputs[0])
    connection = connection_to(server.http_port, server.authority, timeout_s=10)
    try:
        connection.request("POST", INFER_PATH, body, {"Content-Type": "application/json"})
        answer = orjson.loads(connection.getresponse().read())
    finally:
        connection.close()
    missing = {"verdict", "score", "probability"} - {o["name"] for o in answer["outputs"]}
    if missing or answer["parameters"].get("source") != "model":
        raise BenchError(f"{server.name} is to decide, and answers without {sorted(missing) or 'the model'}: {answer}")


def check_grpc(server: Running, workload: Workload) -> None:
    """Check answers over gRPC. Raises BenchError at the first wrong one."""
    with _channel(server) as channel:
        infer = infer_call(channel)
        for values, expected in zip(workload.inputs[:CHECKED], workload.answers, strict=False):
            try:
                answer = infer(infer_request(values), timeout=10, wait_for_ready=True)
            except grpc.RpcError as problem:
                raise BenchError(f"{server.name} failed over gRPC: {problem}") from problem
            index = [o.name for o in answer.outputs].index(OUTPUT)
            if answer.raw_output_contents:
                score = float(np.frombuffer(answer.raw_output_contents[index], dtype=np.float32)[0])
            else:
                score = float(answer.outputs[index].contents.fp32_contents[0])
            _compare(server.name, "gRPC", score, float(expected))


def _channel(server: Running) -> grpc.Channel:
    address = f"{HOST}:{server.grpc_port}"
    if server.authority is None:
        return grpc.insecure_channel(address)
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(server.authority.read_bytes()))


def _compare(name: str, door: str, score: float, expected: float) -> None:
    if abs(score - expected) > TOLERANCE:
        raise BenchError(f"{name} answered {score} over {door} where onnxruntime answers {expected}")
