"""The kit's own description of the gRPC messages is the protocol's: generated stubs read what it writes."""

import importlib.util
import sys
from pathlib import Path

import pytest

from operators.conformance.messages import message_class
from operators.conformance.rpc import infer_message
from operators.conformance.values import Request, Tensor


@pytest.fixture(scope="module")
def stubs():
    """KServe's generated messages, by file path: `import kserve` takes seconds."""
    kserve = importlib.util.find_spec("kserve")
    path = Path(kserve.origin).parent / "protocol" / "grpc" / "grpc_predict_v2_pb2.py"
    spec = importlib.util.spec_from_file_location("conformance_contract_pb2", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_a_request_reads_the_same(stubs):
    tensors = (Tensor("a", "INT32", (2,), (1, -2)), Tensor("b", "BYTES", (1,), (b"x",)), Tensor("c", "FP64", (1,), (0.5,)))
    ours = infer_message("m", Request(tensors, ("y",), "id-1", {"s": "t", "n": 7, "f": True}), "3")
    theirs = stubs.ModelInferRequest.FromString(ours.SerializeToString())
    assert (theirs.model_name, theirs.model_version, theirs.id) == ("m", "3", "id-1")
    assert [(t.name, t.datatype, list(t.shape)) for t in theirs.inputs] == [
        ("a", "INT32", [2]),
        ("b", "BYTES", [1]),
        ("c", "FP64", [1]),
    ]
    assert list(theirs.inputs[0].contents.int_contents) == [1, -2]
    assert list(theirs.inputs[1].contents.bytes_contents) == [b"x"]
    assert theirs.parameters["s"].string_param == "t"
    assert theirs.parameters["n"].int64_param == 7
    assert theirs.parameters["f"].bool_param is True
    assert [o.name for o in theirs.outputs] == ["y"]


SHARED = [
    "ServerLiveResponse", "ServerReadyResponse", "ModelReadyRequest", "ModelReadyResponse", "ServerMetadataResponse",
    "ModelMetadataRequest", "ModelMetadataResponse", "ModelInferRequest", "ModelInferResponse",
]  # fmt: skip


@pytest.mark.parametrize("name", SHARED)
def test_fields_have_the_same_numbers_and_types(stubs, name):
    def described(message):
        return {(f.name, f.number, f.is_repeated, f.cpp_type) for f in message.DESCRIPTOR.fields}

    assert described(message_class(name)) == described(getattr(stubs, name))


def test_contents_have_the_same_fields(stubs):
    ours = {(f.name, f.number, f.type) for f in message_class("Contents").DESCRIPTOR.fields}
    assert ours == {(f.name, f.number, f.type) for f in stubs.InferTensorContents.DESCRIPTOR.fields}
