"""kserve's InferenceGRPCClient: `python kserve_grpc.py HOST:PORT`. Prints PASS, or ends with the difference."""

import asyncio
import sys

import grpc
import numpy as np
import pytest
from kserve import InferenceGRPCClient, InferInput, InferRequest

MODEL = "simple"
FIRST = np.arange(16, dtype=np.int32).reshape(1, 16)
SECOND = np.ones((1, 16), dtype=np.int32)


def request(model: str, *, is_raw: bool) -> InferRequest:
    made = [InferInput(name, [1, 16], "INT32") for name in ("INPUT0", "INPUT1")]
    for tensor, data in zip(made, (FIRST, SECOND), strict=True):
        tensor.set_data_from_numpy(data, binary_data=is_raw)
    return InferRequest(model, made, request_id="e2e-7")


async def main(address: str) -> None:
    async with InferenceGRPCClient(address, timeout=10) as client:
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready(MODEL)
        for is_raw in (False, True):
            answer = await client.infer(request(MODEL, is_raw=is_raw))
            assert answer.id == "e2e-7"
            by_name = {output.name: output.as_numpy() for output in answer.outputs}
            np.testing.assert_array_equal(by_name["OUTPUT0"], FIRST + SECOND)
            np.testing.assert_array_equal(by_name["OUTPUT1"], FIRST - SECOND)
        with pytest.raises(grpc.RpcError) as refused:
            await client.infer(request("wrong_model_name", is_raw=False))
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND, refused.value
    print("PASS")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
