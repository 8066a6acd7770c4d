"""The real service behind the real doors, asked whatever fits its models almost: nothing may be a defect, nothing may close a door.

Three models: `simple`, a detector asked by columns or by its tensor, and one of strings. FUZZ_EXAMPLES (environment) is the
number of requests each law is tried with; else 40 in `make test`."""

import http.client
import json
import os

import grpc
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.doors.grpc import stubs
from serving.doors.oip.tensors import to_raw
from serving.messages import DTYPES
from tests import laws
from tests.integration.doors.test_doors_conform import doors  # noqa: F401 - a fixture
from tests.waiting import HANG_S

pytestmark = pytest.mark.integration

tried = settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", laws.count(160))), deadline=None, suppress_health_check=list(HealthCheck)
)

KNOWN = {
    "simple": {"INPUT0": ("INT32", (1, 16)), "INPUT1": ("INT32", (1, 16))},
    "detector": {"bytes": ("FP32", (-1,)), "packets": ("INT64", (-1,)), "numbers": ("FP32", (-1, 2))},
    "words": {"user": ("BYTES", (-1,)), "verb": ("BYTES", (-1, 1)), "small": ("INT8", (-1, 3))},
}
WAYS = {"simple": [["INPUT0", "INPUT1"]], "detector": [["bytes", "packets"], ["numbers"]], "words": [["user", "verb", "small"]]}
OUTPUTS = ["score", "verdict", "OUTPUT0", "wide", "half", "user_out", "nope"]
SIDES = st.sampled_from([0, 1, 2, 3, 16, 17])
PARAMETERS = st.dictionaries(
    st.sampled_from(["operating_point", "scenario", "event_time", "binary_data_output", "priority", "sequence_id"])
    | st.text(max_size=4),
    st.sampled_from(["siem_alerting", "nope", "2011-08-18T13:52:31Z", "2011-13-99", True, 2**62, -1, "\ud7ff", ""])
    | st.text(max_size=6)
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False),
    max_size=2,
)


@st.composite
def tensors(draw, name, kind, shape, rows):
    """Mostly as the model wants it; now and then of another type or shape. Any bits: NaN, infinities, bytes that are not text."""
    datatype = draw(st.sampled_from(list(DTYPES))) if draw(st.integers(0, 9)) == 0 else kind
    shape = tuple(rows if side < 0 else side for side in shape)
    if draw(st.integers(0, 9)) == 0:
        shape = tuple(draw(st.lists(SIDES, max_size=3)))
    count = int(np.prod(shape))
    if datatype == "BYTES":
        data = np.empty(count, object)
        data[:] = draw(st.lists(st.binary(max_size=5) | st.text(max_size=4).map(str.encode), min_size=count, max_size=count))
        return name, datatype, data.reshape(shape)
    raw = np.frombuffer(draw(st.just(b"\0\0\0?\1\0\0\0") | st.binary(min_size=8, max_size=8)), np.uint8)
    return name, datatype, np.resize(raw, count * DTYPES[datatype].itemsize).view(DTYPES[datatype]).reshape(shape)


@st.composite
def questions(draw):
    """A model, its tensors (now and then some left out, some unknown), parameters, outputs."""
    model = draw(st.sampled_from(list(KNOWN)))
    rows = draw(st.integers(0, 3))
    names = draw(st.sampled_from(WAYS[model]))
    if draw(st.integers(0, 9)) == 0:
        names = draw(st.lists(st.sampled_from(list(KNOWN[model])), min_size=1, unique=True))
    given_ = [draw(tensors(name, *KNOWN[model][name], rows)) for name in names]
    if draw(st.integers(0, 19)) == 0:
        given_.append(draw(tensors("stranger", "FP32", (-1,), rows)))
    parameters = draw(PARAMETERS) if draw(st.booleans()) else {}
    outputs = draw(st.lists(st.sampled_from(OUTPUTS), max_size=3, unique=True)) if draw(st.integers(0, 3)) == 0 else []
    return model, given_, parameters, outputs


@pytest.fixture(scope="module")
def web(doors):  # noqa: F811
    connection = http.client.HTTPConnection(doors[0].removeprefix("http://"), timeout=HANG_S)
    yield connection
    connection.request("GET", "/v2/health/ready")
    assert connection.getresponse().read() == b'{"live":true,"ready":true}'
    connection.close()


@pytest.fixture(scope="module")
def channel(doors):  # noqa: F811
    with grpc.insecure_channel(doors[1]) as opened:
        yield opened


def ask(web, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
    web.request("POST", path, body, headers)
    response = web.getresponse()
    said = response.read()
    assert response.status < 500 or response.status == 501, (response.status, said)
    return response.status, said


@tried
@given(questions())
def test_binary_questions(web, question):
    model, given_, parameters, outputs = question
    raws = [to_raw(data, datatype) for _, datatype, data in given_]
    inputs = [
        {"name": name, "datatype": datatype, "shape": data.shape, "parameters": {"binary_data_size": len(raw)}}
        for (name, datatype, data), raw in zip(given_, raws, strict=True)
    ]
    header = json.dumps({"inputs": inputs, "parameters": parameters, "outputs": [{"name": name} for name in outputs]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(header))}
    ask(web, f"/v2/models/{model}/infer", header + b"".join(raws), headers)


def plain(data):
    values = data.reshape(-1).tolist()
    return [value.decode("latin-1") if isinstance(value, bytes) else value for value in values]


@tried
@given(questions())
def test_json_questions(web, question):
    model, given_, parameters, outputs = question
    inputs = [{"name": n, "datatype": datatype, "shape": data.shape, "data": plain(data)} for n, datatype, data in given_]
    body = {"inputs": inputs, "parameters": parameters, "outputs": [{"name": name} for name in outputs]}
    ask(web, f"/v2/models/{model}/infer", json.dumps(body).encode(), {})


@tried
@given(questions(), st.booleans())
def test_v1_questions(web, question, is_columns):
    model, given_, parameters, _ = question
    columns = {name: plain(data) for name, _, data in given_}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=False)]
    body = {"inputs": columns} if is_columns else {"instances": rows}
    ask(web, f"/v1/models/{model}:predict", json.dumps({**body, "parameters": parameters}).encode(), {})


@tried
@given(questions())
def test_grpc_questions(channel, question):
    model, given_, parameters, outputs = question
    message = stubs.ModelInferRequest(model_name=model)
    for name, datatype, data in given_:
        message.inputs.add(name=name, datatype=datatype, shape=data.shape)
        message.raw_input_contents.append(to_raw(data, datatype))
    for name in outputs:
        message.outputs.add(name=name)
    for key, value in parameters.items():
        field = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}[type(value)]
        setattr(message.parameters[key], field, value)
    call = channel.unary_unary(f"/{stubs.SERVICE}/ModelInfer", None, stubs.ModelInferResponse.FromString)
    try:
        call(message.SerializeToString(), timeout=HANG_S)
    except grpc.RpcError as refusal:
        refused = refusal
    else:
        return
    ours = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNAVAILABLE}
    assert refused.code() not in ours, refused
