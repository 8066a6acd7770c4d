"""What is sent: events shaped by the model's own metadata, alike over both doors."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from loadtests import payloads
from loadtests.payloads import Input, from_events, made_up, read_inputs

HOST, BYTES_SENT, TOS = Input("SrcAddr", "BYTES", (-1,)), Input("SrcBytes", "FP32", (-1, 1)), Input("sTos", "INT64", (-1,))
INPUTS = (HOST, BYTES_SENT, TOS)
EVENTS = [{"SrcAddr": "10.0.0.1", "SrcBytes": 7, "sTos": None, "Label": "x"}, {"SrcAddr": None, "SrcBytes": 8.5, "sTos": 4}]


def test_inputs_come_from_the_metadata():
    body = json.dumps({"name": "m", "inputs": [{"name": "SrcAddr", "datatype": "BYTES", "shape": [-1]}]}).encode()
    assert read_inputs(body) == (HOST,)


def test_an_event_becomes_a_request_of_the_models_columns_only():
    (payload,) = from_events(INPUTS, EVENTS, rows=2)
    assert json.loads(payload.as_json()) == {
        "inputs": [
            {"name": "SrcAddr", "datatype": "BYTES", "shape": [2], "data": ["10.0.0.1", ""]},
            {"name": "SrcBytes", "datatype": "FP32", "shape": [2, 1], "data": [7.0, 8.5]},
            {"name": "sTos", "datatype": "INT64", "shape": [2], "data": [0, 4]},
        ]
    }


def test_both_doors_say_the_same():
    (payload,) = from_events(INPUTS, EVENTS, rows=2)
    message = payload.as_message("flows")
    assert message.model_name == "flows"
    assert list(message.inputs[0].contents.bytes_contents) == [b"10.0.0.1", b""]
    assert list(message.inputs[1].contents.fp32_contents) == [7.0, 8.5]
    assert list(message.inputs[1].shape) == [2, 1]
    assert list(message.inputs[2].contents.int64_contents) == [0, 4]


def test_an_incomplete_last_request_is_left_out():
    assert len(list(from_events(INPUTS, EVENTS * 2 + EVENTS[:1], rows=2))) == 2


@pytest.mark.parametrize("datatype", ["BOOL", "UINT8", "INT32", "INT64", "UINT64", "FP32", "FP64", "BYTES"])
def test_made_up_requests_are_valid_and_reproducible(datatype):
    inputs = [Input("x", datatype, (-1, 3))]
    found = made_up(inputs, rows=2, count=5)
    assert found == made_up(inputs, rows=2, count=5)
    (tensor,) = found[0].inputs
    assert (tensor.shape, len(tensor.data)) == ((2, 3), 6)
    assert found[0].as_message("m").inputs[0].shape == [2, 3]


def test_whole_requests_are_sent_as_they_are(tmp_path):
    request = {
        "parameters": {"event_time": "2026-01-05T09:00:00Z", "explain": True, "n": 3},
        "inputs": [{"name": "features", "datatype": "FP32", "shape": [1, 2], "data": [[1.0, 2.0]]}],
    }
    file = tmp_path / "requests.jsonl"
    file.write_text(json.dumps(request) + "\n")
    source, (payload,) = payloads.load(INPUTS, file=file, data_dir=None, rows=1)
    assert source == str(file)
    assert json.loads(payload.as_json())["parameters"] == request["parameters"]
    parameters = payload.as_message("m").parameters
    assert (parameters["event_time"].string_param, parameters["explain"].bool_param) == ("2026-01-05T09:00:00Z", True)
    assert parameters["n"].int64_param == 3


def test_a_parameter_that_grpc_does_not_have_is_named():
    with pytest.raises(ValueError, match=r"'x' is 0\.5"):
        payloads.Payload((), {"x": 0.5}).as_message("m")


def test_events_of_a_named_file_must_fit_the_model(tmp_path):
    file = tmp_path / "events.jsonl"
    file.write_text("\n".join(json.dumps(e) for e in EVENTS))
    with pytest.raises(ValueError, match="no_such_input"):
        payloads.load([Input("no_such_input", "FP32", (-1,))], file=file, data_dir=None, rows=1)
    _, found = payloads.load([HOST], file=file, data_dir=None, rows=1)
    assert [p.inputs[0].data for p in found] == [("10.0.0.1",), ("",)]


def test_a_capture_whose_columns_fit_is_preferred_to_made_up_values(tmp_path):
    folder = tmp_path / "flows"
    folder.mkdir()
    parquet.write_table(pa.Table.from_pylist(EVENTS), folder / "capture.parquet")
    source, found = payloads.load(INPUTS, file=None, data_dir=tmp_path, rows=1)
    assert Path(source).name == "capture.parquet"
    assert found[0].inputs[0].data == ("10.0.0.1",)
    source, found = payloads.load([Input("features", "FP32", (-1, 40))], file=None, data_dir=tmp_path, rows=1)
    assert source == "made-up values"
    assert len(found[0].inputs[0].data) == 40
