"""tritonclient.http, as its public examples use it: `python triton_http.py HOST:PORT`. Prints PASS, or ends with the difference."""

import sys

import numpy as np
import pytest
import tritonclient.http as httpclient
from tritonclient.utils import InferenceServerException

MODEL = "simple"
FIRST = np.arange(16, dtype=np.int32).reshape(1, 16)
SECOND = np.full((1, 16), -1, dtype=np.int32)


def inputs(*, first_binary: bool, second_binary: bool) -> list[httpclient.InferInput]:
    made = [httpclient.InferInput(name, [1, 16], "INT32") for name in ("INPUT0", "INPUT1")]
    made[0].set_data_from_numpy(FIRST, binary_data=first_binary)
    made[1].set_data_from_numpy(SECOND, binary_data=second_binary)
    return made


def check(result: httpclient.InferResult) -> None:
    np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), FIRST + SECOND)
    np.testing.assert_array_equal(result.as_numpy("OUTPUT1"), FIRST - SECOND)


def main(address: str) -> None:
    with httpclient.InferenceServerClient(address, concurrency=4) as client:
        assert client.is_server_live(query_params={"test_1": 1, "test_2": 2})
        assert client.is_server_ready()
        assert client.is_model_ready(MODEL)
        assert client.is_model_ready(MODEL, "1")
        assert client.get_server_metadata()["extensions"]
        metadata = client.get_model_metadata(MODEL)
        assert [(t["name"], t["datatype"]) for t in metadata["inputs"]] == [("INPUT0", "INT32"), ("INPUT1", "INT32")]
        assert any(entry["name"] == MODEL and entry["state"] == "READY" for entry in client.get_model_repository_index())

        for first in (False, True):
            for second in (False, True):
                for out in (False, True):
                    outputs = [httpclient.InferRequestedOutput(n, binary_data=out) for n in ("OUTPUT0", "OUTPUT1")]
                    check(client.infer(MODEL, inputs(first_binary=first, second_binary=second), outputs=outputs))
        mixed = [httpclient.InferRequestedOutput(n, binary_data=b) for n, b in (("OUTPUT0", True), ("OUTPUT1", False))]
        check(client.infer(MODEL, inputs(first_binary=False, second_binary=True), outputs=mixed, query_params={"test_1": 1}))
        check(client.infer(MODEL, inputs(first_binary=False, second_binary=True), model_version="1"))

        one = [httpclient.InferRequestedOutput("OUTPUT1", binary_data=True)]
        alone = client.infer(MODEL, inputs(first_binary=True, second_binary=True), outputs=one, request_id="e2e-7")
        assert alone.get_response()["id"] == "e2e-7"
        assert alone.as_numpy("OUTPUT0") is None
        np.testing.assert_array_equal(alone.as_numpy("OUTPUT1"), FIRST - SECOND)

        pending = [client.async_infer(MODEL, inputs(first_binary=True, second_binary=True)) for _ in range(8)]
        for request in pending:
            check(request.get_result())

        for algorithm in ("gzip", "deflate"):
            both = {"request_compression_algorithm": algorithm, "response_compression_algorithm": algorithm}
            check(client.infer(MODEL, inputs(first_binary=True, second_binary=True), **both))

        (statistics,) = client.get_inference_statistics(MODEL)["model_stats"]
        assert statistics["inference_stats"]["success"]["count"] >= 10, statistics

        with pytest.raises(InferenceServerException, match="wrong_model_name") as refused:
            client.infer("wrong_model_name", inputs(first_binary=True, second_binary=True))
        assert refused.value.status() == "404", refused.value
        assert refused.value.message().startswith("Request for unknown model"), refused.value
    print("PASS")


if __name__ == "__main__":
    main(sys.argv[1].removeprefix("http://"))
