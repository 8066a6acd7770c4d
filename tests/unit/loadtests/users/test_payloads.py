"""What is sent: events shaped by the model's own metadata, alike over both doors."""

import json
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from loadtests import payloads
from loadtests.payloads import Input, from_events, made_up, read_inputs

HOST, BYTES_SENT, TOS = Input("SrcAddr", "BYTES", (-1,)), Input("SrcBytes", "FP32", (-1, 1)), Input("sTos", "INT64", (-1,))
INPUTS = (HOST, BYTES_SENT, TOS)


def _metadata(*inputs, **parameters):
    described = [{"name": i.name, "datatype": i.datatype, "shape": i.shape} for i in inputs]
    return json.dumps({"name": "m", "inputs": described, "parameters": parameters}).encode()


METADATA = _metadata(*INPUTS)
EVENTS = [{"SrcAddr": "10.0.0.1", "SrcBytes": 7, "sTos": None, "Label": "x"}, {"SrcAddr": None, "SrcBytes": 8.5, "sTos": 4}]


def test_inputs_come_from_the_metadata():
    assert read_inputs(METADATA) == INPUTS


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
    source, (payload,) = payloads.load(METADATA, model="m", file=file, data_dir=None, rows=1)
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
        payloads.load(_metadata(Input("no_such_input", "FP32", (-1,))), model="m", file=file, data_dir=None, rows=1)
    _, found = payloads.load(_metadata(HOST), model="m", file=file, data_dir=None, rows=1)
    assert [p.inputs[0].data for p in found] == [("10.0.0.1",), ("",)]


def test_a_capture_whose_columns_fit_is_preferred_to_made_up_values(tmp_path):
    folder = tmp_path / "flows"
    folder.mkdir()
    parquet.write_table(pa.Table.from_pylist(EVENTS), folder / "capture.parquet")
    source, found = payloads.load(METADATA, model="m", file=None, data_dir=tmp_path, rows=1)
    assert Path(source).name == "capture.parquet"
    assert found[0].inputs[0].data == ("10.0.0.1",)
    source, found = payloads.load(
        _metadata(Input("features", "FP32", (-1, 40))), model="m", file=None, data_dir=tmp_path, rows=1
    )
    assert source == "made-up values"
    assert len(found[0].inputs[0].data) == 40


FLOWS = (
    Input("host", "BYTES", (-1,)), Input("proto", "BYTES", (-1,)), Input("sport", "INT64", (-1,)), Input("duration", "FP64", (-1,)),
)  # fmt: skip


@pytest.mark.heavy
def test_a_shipped_detectors_events_are_generated_under_the_models_own_names():
    metadata = _metadata(*FLOWS, event_time_field="event_time")
    source, found = payloads.load(metadata, model="flows", file=None, data_dir=None, rows=2)
    assert source == "generated flows"
    tensors = {t.name: t for t in found[0].inputs}
    assert tensors.keys() == {"host", "proto", "sport", "duration", "event_time"}
    assert all(host.startswith("10.10.") for host in tensors["host"].data)
    assert all(isinstance(port, int) for port in tensors["sport"].data)
    assert [datetime.fromisoformat(t).tzinfo is not None for t in tensors["event_time"].data] == [True, True]


@pytest.mark.heavy
def test_a_shipped_detectors_real_capture_is_preferred(tmp_path):
    from lifecycle.datasets.declarations import read_detector
    from lifecycle.datasets.synthetic_flows import generate_flows

    file = tmp_path / "flows" / read_detector("flows").source.train
    file.parent.mkdir()
    generate_flows(3, hosts=8, flows_per_host=5).to_parquet(file)
    source, found = payloads.load(_metadata(*FLOWS), model="flows", file=None, data_dir=tmp_path, rows=1)
    assert source == str(file)
    assert [t.name for t in found[0].inputs] == [i.name for i in FLOWS]


def test_a_number_that_is_none_is_sent_as_zero():
    (payload,) = from_events(INPUTS, [{"SrcAddr": float("nan"), "SrcBytes": float("nan"), "sTos": float("nan")}], rows=1)
    assert [tensor.data for tensor in payload.inputs] == [("",), (0.0,), (0,)]


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("5", id="a number"),
        pytest.param("[1]", id="a list"),
        pytest.param('{"inputs": [{"name": "a"}]}', id="a request without shapes"),
        pytest.param('{"inputs": 3}', id="inputs that are no list"),
        pytest.param('{"inputs": []}\n7', id="a second line that is not a request"),
        pytest.param('{"SrcAddr": "a", "SrcBytes": 1, "sTos": 1}\n7', id="a second line that is no event"),
    ],
)
def test_a_file_whose_lines_are_neither_requests_nor_events_is_refused(tmp_path, line):
    (tmp_path / "lines.jsonl").write_text(line)
    with pytest.raises(ValueError, match=r"lines\.jsonl"):
        payloads.load(METADATA, model="m", file=tmp_path / "lines.jsonl", data_dir=None, rows=1)


def test_a_parquet_file_without_rows_has_no_requests(tmp_path):
    empty = pa.table(
        {"SrcAddr": pa.array([], pa.string()), "SrcBytes": pa.array([], pa.float32()), "sTos": pa.array([], pa.int64())}
    )
    parquet.write_table(empty, tmp_path / "empty.parquet")
    assert payloads.load(METADATA, model="m", file=tmp_path / "empty.parquet", data_dir=None, rows=1)[1] == []
