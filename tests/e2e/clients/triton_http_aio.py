"""tritonclient.http.aio: `python triton_http_aio.py HOST:PORT`. Prints PASS, or ends with the difference."""

import asyncio
import sys

import numpy as np
import pytest
import tritonclient.http.aio as httpclient
from tritonclient.utils import InferenceServerException

FIRST = np.arange(16, dtype=np.int32).reshape(1, 16)
SECOND = np.ones((1, 16), dtype=np.int32)


async def ask(client: httpclient.InferenceServerClient, model: str, *, is_binary: bool) -> httpclient.InferResult:
    made = [httpclient.InferInput(name, [1, 16], "INT32") for name in ("INPUT0", "INPUT1")]
    for tensor, data in zip(made, (FIRST, SECOND), strict=True):
        tensor.set_data_from_numpy(data, binary_data=is_binary)
    outputs = [httpclient.InferRequestedOutput(name, binary_data=is_binary) for name in ("OUTPUT0", "OUTPUT1")]
    return await client.infer(model, made, outputs=outputs)


async def main(address: str) -> None:
    async with httpclient.InferenceServerClient(address) as client:
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready("simple")
        assert (await client.get_model_metadata("simple"))["name"] == "simple"
        results = await asyncio.gather(*(ask(client, "simple", is_binary=i % 2 == 0) for i in range(16)))
        for result in results:
            np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), FIRST + SECOND)
            np.testing.assert_array_equal(result.as_numpy("OUTPUT1"), FIRST - SECOND)
        with pytest.raises(InferenceServerException, match="wrong_model_name"):
            await ask(client, "wrong_model_name", is_binary=True)
    print("PASS")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1].removeprefix("http://")))
