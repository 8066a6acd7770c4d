"""Models exported elsewhere are served after `vedette bundle create --onnx` and a load, and answer as onnxruntime does."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from operators.conformance.checks.binary import binary_body, binary_call
from operators.conformance.checks.repository import control_call
from operators.conformance.discovery import model_facts, server_facts
from operators.conformance.encoding import infer_call, read_answer, request_object
from operators.conformance.exchange import HttpReply
from operators.conformance.rpc import infer_call as rpc_infer_call
from operators.conformance.rpc import read_answer as rpc_read_answer
from operators.conformance.transport import Transport
from operators.conformance.values import Answer, Request, Tensor
from tests.e2e.running import foreign_models
from tests.e2e.running.vedette import Vedette, verb

pytestmark = pytest.mark.e2e
DATATYPES = {"f2": "FP16", "f4": "FP32", "i8": "INT64", "b1": "BOOL", "O": "BYTES"}


@pytest.fixture(scope="module")
def transport(vedette: Vedette) -> Iterator[Transport]:
    with Transport(vedette.http, vedette.grpc, 20) as opened:
        yield opened


def as_tensor(name: str, values: np.ndarray) -> Tensor:
    code = values.dtype.str.lstrip("<|=") if values.dtype.kind != "O" else "O"
    flat = values.ravel().tolist()
    return Tensor(name, DATATYPES[code], values.shape, tuple(v.encode() if isinstance(v, str) else v for v in flat))


def expected(path: Path, inputs: foreign_models.Inputs) -> dict[str, np.ndarray]:
    """What onnxruntime says; a ZipMap's dictionaries become the matrix they were made of."""
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = dict(zip((o.name for o in session.get_outputs()), session.run(None, inputs), strict=True))
    return {
        name: np.array([list(row.values()) for row in v], np.float32) if isinstance(v, list) else v for name, v in found.items()
    }


def check(answer: Answer, wanted: dict[str, np.ndarray]) -> None:
    assert {t.name for t in answer.outputs} == set(wanted)
    for tensor in answer.outputs:
        values = wanted[tensor.name]
        assert tensor.shape == values.shape
        flat = [v.encode() if isinstance(v, str) else v for v in values.ravel().tolist()]
        if values.dtype.kind == "f":
            np.testing.assert_array_equal(np.array(tensor.elements, values.dtype), values.ravel())
        else:
            assert list(tensor.elements) == flat


@pytest.mark.parametrize("export", [
    pytest.param(foreign_models.pipeline, id="a scikit-learn pipeline: numbers, an integer and a word; label and probabilities"),
    pytest.param(foreign_models.two_words, id="two string inputs"),
    pytest.param(foreign_models.half, id="FP16, two inputs, two outputs, several dynamic dimensions"),
])  # fmt: skip
def test_a_model_from_elsewhere_answers_as_onnxruntime_does(
    vedette: Vedette, transport: Transport, tmp_path: Path, export: Callable[[Path], tuple[Path, foreign_models.Inputs]]
):
    path, inputs = export(tmp_path)
    made = json.loads(verb("bundle", "create", "--onnx", str(path), "--store-dir", str(vedette.store), "--json").stdout)
    name = made["manifest"]["name"]
    loaded = transport.send(control_call(name, "load"))
    assert isinstance(loaded, HttpReply)
    assert loaded.status == 200, loaded.body
    try:
        request = Request(tuple(as_tensor(n, values) for n, values in inputs.items()))
        wanted = expected(path, inputs)
        check(read_answer(transport.send(infer_call(name, request_object(request)))), wanted)
        facts = model_facts(transport.send, server_facts(transport.send, has_http=True, has_grpc=True, may_change=False), name)
        head, tail = binary_body(request, parameters={"binary_data_output": True})
        check(read_answer(transport.send(binary_call(facts, head, tail))), wanted)
        check(rpc_read_answer(transport.send(rpc_infer_call(name, request, is_raw=True)))[0], wanted)
        report = verb("conform", "--http", vedette.http, "--grpc", vedette.grpc, "--model", name, "--json", check=False)
        assert [c["id"] for c in json.loads(report.stdout)["checks"] if c["status"] == "fail"] == []
    finally:
        transport.send(control_call(name, "unload"))


def test_a_file_that_is_no_model_is_one_clear_message(tmp_path: Path):
    path = tmp_path / "not.onnx"
    path.write_text("hello")
    done = verb("bundle", "create", "--onnx", str(path), "--store-dir", str(tmp_path / "store"), check=False)
    assert done.returncode == 1
    assert "not.onnx" in done.stderr
    assert "Traceback" not in done.stderr
