"""tritonclient.grpc, sync and aio: `python triton_grpc.py HOST:PORT`. Prints PASS, or ends with the difference."""

import asyncio
import sys
from queue import Queue

import grpc
import numpy as np
import pytest
import tritonclient.grpc as grpcclient
import tritonclient.grpc.aio as aioclient
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

MODEL = "simple"
FIRST = np.arange(16, dtype=np.int32).reshape(1, 16)
SECOND = np.ones((1, 16), dtype=np.int32)


def inputs() -> list[grpcclient.InferInput]:
    made = [grpcclient.InferInput(name, [1, 16], "INT32") for name in ("INPUT0", "INPUT1")]
    for tensor, data in zip(made, (FIRST, SECOND), strict=True):
        tensor.set_data_from_numpy(data)
    return made


def check(result: grpcclient.InferResult) -> None:
    np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), FIRST + SECOND)
    np.testing.assert_array_equal(result.as_numpy("OUTPUT1"), FIRST - SECOND)


def with_client(address: str) -> None:
    with grpcclient.InferenceServerClient(address) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready(MODEL)
        assert client.is_model_ready(MODEL, "1")
        assert client.get_server_metadata().name
        assert [t.name for t in client.get_model_metadata(MODEL).inputs] == ["INPUT0", "INPUT1"]
        assert any(m.name == MODEL and m.state == "READY" for m in client.get_model_repository_index().models)

        outputs = [grpcclient.InferRequestedOutput(name) for name in ("OUTPUT0", "OUTPUT1")]
        check(client.infer(MODEL, inputs(), outputs=outputs, headers={"test": "1"}))
        check(client.infer(MODEL, inputs(), model_version="1"))
        check(client.infer(MODEL, inputs(), compression_algorithm="gzip"))
        alone = client.infer(MODEL, inputs(), outputs=outputs[1:], request_id="e2e-7", client_timeout=5.0)
        assert alone.get_response().id == "e2e-7"
        assert alone.as_numpy("OUTPUT0") is None

        done: Queue = Queue()
        for _ in range(8):
            client.async_infer(MODEL, inputs(), lambda result, error: done.put((result, error)))
        for _ in range(8):
            result, error = done.get(timeout=10)
            assert error is None, error
            check(result)

        (statistics,) = client.get_inference_statistics(MODEL).model_stats
        assert statistics.inference_stats.success.count >= 10, statistics

        with pytest.raises(InferenceServerException) as refused:
            client.infer("wrong_model_name", inputs())
        assert refused.value.status() == "StatusCode.NOT_FOUND", refused.value


def with_stub(address: str) -> None:
    """Typed contents through the bare stub, as the explicit-content examples send them."""
    with grpc.insecure_channel(address) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        request = service_pb2.ModelInferRequest(model_name=MODEL, id="typed")
        for name, data in (("INPUT0", FIRST), ("INPUT1", SECOND)):
            tensor = request.inputs.add(name=name, datatype="INT32", shape=[1, 16])
            tensor.contents.int_contents.extend(data.ravel().tolist())
        answer = stub.ModelInfer(request)
        assert answer.id == "typed"
        check(grpcclient.InferResult(answer) if answer.raw_output_contents else Typed(answer))


class Typed:
    """The typed contents of an answer, read like InferResult reads raw ones."""

    def __init__(self, answer: service_pb2.ModelInferResponse) -> None:
        self._outputs = {o.name: np.array(o.contents.int_contents, np.int32).reshape(list(o.shape)) for o in answer.outputs}

    def as_numpy(self, name: str) -> np.ndarray:
        return self._outputs[name]


async def with_aio(address: str) -> None:
    async with aioclient.InferenceServerClient(address) as client:
        assert await client.is_server_ready()
        for result in await asyncio.gather(*(client.infer(MODEL, inputs()) for _ in range(16))):
            check(result)


if __name__ == "__main__":
    with_client(sys.argv[1])
    with_stub(sys.argv[1])
    asyncio.run(with_aio(sys.argv[1]))
    print("PASS")
