"""A detector asked by its columns through tritonclient, JSON, binary and gRPC: `python triton_detector.py URL GRPC MODEL EXAMPLE`.

EXAMPLE is the body of a request, as `vedette up` writes it. Prints PASS, or ends with the difference."""

import json
import sys
from pathlib import Path

import numpy as np
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient
from tritonclient.utils import triton_to_np_dtype


def columns(example: dict) -> list[tuple[str, str, np.ndarray]]:
    """Name, datatype and values of every input; strings as object arrays of bytes."""
    found = []
    for tensor in example["inputs"]:
        values = [v.encode() if isinstance(v, str) else v for v in tensor["data"]]
        found.append(
            (
                tensor["name"],
                tensor["datatype"],
                np.array(values, triton_to_np_dtype(tensor["datatype"])).reshape(tensor["shape"]),
            )
        )
    return found


def main(url: str, address: str, model: str, file: str) -> None:
    example = json.loads(Path(file).read_text())
    asked = columns(example)
    parameters = example.get("parameters")
    answers = {}
    with httpclient.InferenceServerClient(url.removeprefix("http://")) as client:
        declared = [(t["name"], t["datatype"]) for t in client.get_model_metadata(model)["inputs"]]
        assert set(declared) >= {(name, datatype) for name, datatype, _ in asked if name != "event_time"}, declared
        for is_binary in (False, True):
            inputs = []
            for name, datatype, values in asked:
                tensor = httpclient.InferInput(name, list(values.shape), datatype)
                tensor.set_data_from_numpy(values, binary_data=is_binary)
                inputs.append(tensor)
            outputs = [httpclient.InferRequestedOutput(name, binary_data=is_binary) for name in ("verdict", "score")]
            answers[f"http, binary {is_binary}"] = client.infer(model, inputs, outputs=outputs, parameters=parameters)
    with grpcclient.InferenceServerClient(address) as client:
        inputs = []
        for name, datatype, values in asked:
            tensor = grpcclient.InferInput(name, list(values.shape), datatype)
            tensor.set_data_from_numpy(values)
            inputs.append(tensor)
        answers["grpc"] = client.infer(model, inputs, parameters=parameters)
    first = answers["http, binary False"]
    rows = asked[0][2].shape[0]
    for door, answer in answers.items():
        verdicts = [v.decode() if isinstance(v, bytes) else v for v in answer.as_numpy("verdict").tolist()]
        assert len(verdicts) == rows, (door, verdicts)
        assert set(verdicts) <= {"benign", "investigate", "alert"}, (door, verdicts)
        np.testing.assert_allclose(answer.as_numpy("score"), first.as_numpy("score"), rtol=1e-6)
    print("PASS")


if __name__ == "__main__":
    main(*sys.argv[1:])
