"""The bare server: starlette on uvicorn, and grpc.aio, around one onnxruntime session; the minimum in Python.

No checks beyond the parser's, no log. It is a reference for comparison, not a server to use."""

from typing import Any

import grpc
import numpy as np
import onnxruntime
import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from loadtests.bench.servers.arguments import Arguments, parse
from loadtests.stubs import add_infer_to_server, messages

METADATA = orjson.dumps(
    {
        "name": "bench",
        "versions": ["1"],
        "platform": "onnx_onnxv1",
        "inputs": [{"name": "features", "datatype": "FP32", "shape": [-1, 40]}],
        "outputs": [{"name": "score", "datatype": "FP32", "shape": [-1, 1]}],
    }
)


def open_session(path: str) -> Any:
    """One session, one thread: as the replicas run it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def answer_json(session: Any, body: bytes) -> bytes:
    """One HTTP body in, one out."""
    tensor = orjson.loads(body)["inputs"][0]
    rows = np.asarray(tensor["data"], dtype=np.float32).reshape(tensor["shape"])
    score = session.run(["score"], {"features": rows})[0]
    output = {"name": "score", "datatype": "FP32", "shape": score.shape, "data": score.ravel()}
    answer = {"model_name": "bench", "model_version": "1", "outputs": [output]}
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


def answer_message(session: Any, request: Any) -> Any:
    """One ModelInferRequest in, raw or typed contents; one response out, raw."""
    (tensor,), raw = request.inputs, request.raw_input_contents
    values = np.frombuffer(raw[0], dtype=np.float32) if raw else np.asarray(tensor.contents.fp32_contents, dtype=np.float32)
    rows = values.reshape(list(tensor.shape))
    score = session.run(["score"], {"features": rows})[0]
    output = messages.ModelInferResponse.InferOutputTensor(name="score", datatype="FP32", shape=score.shape)
    return messages.ModelInferResponse(
        model_name="bench", model_version="1", outputs=[output], raw_output_contents=[score.tobytes()]
    )


class _Servicer:
    def __init__(self, session: Any) -> None:
        self.session = session

    async def ModelInfer(self, request: Any, _context: Any) -> Any:  # noqa: N802  # the protocol's name
        return answer_message(self.session, request)


async def serve(arguments: Arguments) -> None:
    """Listen on both doors until uvicorn is told to stop."""
    session = open_session(str(arguments.model))

    async def infer(request: Request) -> Response:
        return Response(answer_json(session, await request.body()), media_type="application/json")

    async def metadata(_request: Request) -> Response:  # for clients that ask what to send; not measured
        return Response(METADATA, media_type="application/json")

    grpc_server = grpc.aio.server()
    add_infer_to_server(_Servicer(session), grpc_server)
    grpc_server.add_insecure_port(f"127.0.0.1:{arguments.grpc_port}")
    await grpc_server.start()
    routes = [
        Route("/v2/models/bench/infer", infer, methods=["POST"]),
        Route("/v2/models/bench", metadata),
        Route("/v2/health/ready", metadata),
    ]
    config = uvicorn.Config(
        Starlette(routes=routes),
        port=arguments.http_port,
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
        timeout_keep_alive=75,  # as ours: rounds of the others lie between two requests
    )
    await uvicorn.Server(config).serve()
    await grpc_server.stop(1)


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve(parse()))
