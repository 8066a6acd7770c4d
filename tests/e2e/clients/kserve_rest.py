"""kserve's InferenceRESTClient, V2 and V1: `python kserve_rest.py URL`. Prints PASS, or ends with the difference."""

import asyncio
import sys

import httpx
import numpy as np
import pytest
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

MODEL = "simple"
FIRST = np.arange(16, dtype=np.int32).reshape(1, 16)
SECOND = np.ones((1, 16), dtype=np.int32)


def request(*, is_binary: bool, outputs: list[RequestedOutput] | None = None, asked: bool = False) -> InferRequest:
    made = [InferInput(name, [1, 16], "INT32") for name in ("INPUT0", "INPUT1")]
    for tensor, data in zip(made, (FIRST, SECOND), strict=True):
        tensor.set_data_from_numpy(data, binary_data=is_binary)
    parameters = {"binary_data_output": True} if asked else {}
    return InferRequest(MODEL, made, request_id="e2e-7", request_outputs=outputs or [], parameters=parameters)


async def main(url: str) -> None:
    client = InferenceRESTClient(RESTConfig(protocol="v2", retries=1))
    assert await client.is_server_live(url)
    assert await client.is_server_ready(url)
    assert await client.is_model_ready(url, MODEL)
    for is_binary in (False, True):
        for asked in (False, True):
            answer = await client.infer(url, request(is_binary=is_binary, asked=asked), model_name=MODEL)
            assert (answer.model_name, answer.id) == (MODEL, "e2e-7")
            by_name = {output.name: output.as_numpy() for output in answer.outputs}
            np.testing.assert_array_equal(by_name["OUTPUT0"], FIRST + SECOND)
            np.testing.assert_array_equal(by_name["OUTPUT1"], FIRST - SECOND)
    only = await client.infer(url, request(is_binary=False, outputs=[RequestedOutput("OUTPUT1")]), model_name=MODEL)
    assert [output.name for output in only.outputs] == ["OUTPUT1"]
    with pytest.raises(httpx.HTTPStatusError) as refused:
        await client.infer(url, request(is_binary=False), model_name="wrong_model_name")
    assert refused.value.response.status_code == 404, refused.value

    first = InferenceRESTClient(RESTConfig(protocol="v1", retries=1))
    assert await first.is_model_ready(url, MODEL)
    rows = {"instances": [{"INPUT0": FIRST[0].tolist(), "INPUT1": SECOND[0].tolist()}]}
    (prediction,) = (await first.infer(url, rows, model_name=MODEL))["predictions"]
    assert prediction["OUTPUT0"] == (FIRST + SECOND)[0].tolist(), prediction
    print("PASS")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
