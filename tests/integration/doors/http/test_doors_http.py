"""The HTTP door on a real socket: statuses, headers, limits, and clients that misbehave."""

import gzip
import json
import socket
import zlib

import numpy as np
import pytest

from tests.fakes.serving.doors import MAX_BODY_BYTES, Doors, open_doors, simple_request
from tests.waiting import HANG_S, until

INFER = "/v2/models/simple/infer"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(scope="module")
def doors():
    with open_doors() as opened:
        yield opened


@pytest.fixture(autouse=True)
def _reset(doors: Doors):
    doors.service.unloaded.clear()
    doors.service.is_up = True


SUM = [i + 1 for i in range(16)]


def test_an_inference(doors):
    answer = doors.http("POST", INFER, simple_request(id="7"))
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json == {
        "model_name": "simple",
        "model_version": "2",
        "id": "7",
        "parameters": {"variant": "stable", "age_ms": 1.5},
        "outputs": [
            {"name": "OUTPUT0", "datatype": "INT32", "shape": [1, 16], "data": SUM},
            {"name": "OUTPUT1", "datatype": "INT32", "shape": [1, 16], "data": [i - 1 for i in range(16)]},
        ],
    }


def test_a_version_and_an_output_by_name(doors):
    answer = doors.http("POST", "/v2/models/simple/versions/1/infer", simple_request(outputs=[{"name": "OUTPUT1"}]))
    assert answer.json["model_version"] == "1"
    assert [output["name"] for output in answer.json["outputs"]] == ["OUTPUT1"]


def test_binary_tensors_both_ways_whatever_the_content_type(doors):
    inputs = [{**tensor, "parameters": {"binary_data_size": 64}} for tensor in simple_request()["inputs"]]
    for tensor in inputs:
        del tensor["data"]
    header = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    body = header + np.arange(16, dtype="<i4").tobytes() + np.ones(16, "<i4").tobytes()
    headers = {"Inference-Header-Content-Length": str(len(header)), "Content-Type": "text/plain"}
    answer = doors.http("POST", INFER, body, headers)
    assert answer.status == 200
    length = int(answer.headers["inference-header-content-length"])
    outputs = json.loads(answer.body[:length])["outputs"]
    assert [output["parameters"] for output in outputs] == [{"binary_data_size": 64}] * 2
    assert np.frombuffer(answer.body[length : length + 64], "<i4").tolist() == SUM
    assert answer.headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        pytest.param("POST", INFER, b"", 400, id="an empty body"),
        pytest.param("POST", INFER, b"{", 400, id="malformed JSON"),
        pytest.param("POST", "/v2/models/nope/infer", simple_request(), 404, id="an unknown model"),
        pytest.param("POST", "/v2/models/simple/versions/9/infer", simple_request(), 404, id="an unknown version"),
        pytest.param("POST", "/v2/models/busy/infer", simple_request(), 429, id="overload"),
        pytest.param("POST", "/v2/models/failing/infer", simple_request(), 500, id="a defect of ours"),
        pytest.param("POST", "/v1/models/simple:explain", b"{}", 400, id="an explanation without instances"),
        pytest.param("POST", INFER, b"x" * (MAX_BODY_BYTES + 1), 413, id="a body over the limit"),
        pytest.param("GET", INFER, None, 405, id="the wrong method"),
        pytest.param("BREW", "/v2", None, 400, id="a method HTTP does not know"),
        pytest.param("GET", "/nope", None, 404, id="an unknown path"),
        pytest.param("GET", "/v2/models/nope", None, 404, id="metadata of an unknown model"),
        pytest.param("GET", "/v2/models/nope/ready", None, 404, id="readiness of an unknown model"),
        pytest.param("POST", "/v2/repository/models/nope/load", None, 404, id="loading an unknown model"),
        pytest.param("POST", "/v2/repository/index", b"[", 400, id="a malformed index request"),
        pytest.param("POST", "/v1/models/simple:predict", b"{}", 400, id="a prediction without instances"),
    ],
)
def test_a_failure_has_its_status_and_the_protocols_body(doors, method, path, body, status):
    answer = doors.http(method, path, body)
    assert answer.status == status
    assert list(answer.json) == ["error"]
    assert answer.json["error"]
    assert answer.headers["content-type"] == "application/json"


def test_overload_says_when_to_come_back(doors):
    assert doors.http("POST", "/v2/models/busy/infer", simple_request()).headers["retry-after"] == "3"


def test_a_wrong_method_is_told_the_right_one(doors):
    assert doors.http("GET", INFER).headers["allow"] == "POST"
    assert doors.http("DELETE", "/v2").headers["allow"] == "GET, HEAD"


def test_head_is_get_without_the_body(doors):
    got, head = doors.http("GET", "/v2"), doors.http("HEAD", "/v2")
    got.headers["date"] = head.headers["date"]
    assert (head.status, head.body, head.headers) == (200, b"", got.headers)


def test_health(doors):
    assert doors.http("GET", "/v2/health/live").json == {"live": True}
    assert doors.http("GET", "/v2/health/ready").json == {"live": True, "ready": True}
    assert doors.http("GET", "/").json["status"] == "alive"
    doors.service.is_up = False
    answer = doors.http("GET", "/v2/health/ready")
    assert (answer.status, answer.json["live"], answer.json["ready"], answer.headers["retry-after"]) == (503, True, False, "1")
    assert answer.json["error"]


def test_load_unload_and_the_index(doors):
    assert doors.http("POST", "/v2/repository/models/simple/unload").status == 200
    assert doors.http("GET", "/v2/models/simple/ready").status == 503
    assert doors.http("GET", "/v1/models/simple").json["ready"] is False
    states = {(e["name"], e["version"]): e["state"] for e in doors.http("POST", "/v2/repository/index").json}
    assert states["simple", "1"] == "UNAVAILABLE"
    ready = doors.http("POST", "/v2/repository/index", {"ready": True}).json
    assert "simple" not in {entry["name"] for entry in ready}
    assert doors.http("POST", "/v2/repository/models/simple/load").json == {"name": "simple", "load": True}
    assert doors.http("GET", "/v2/models/simple/ready").json == {"name": "simple", "ready": True}


def test_metadata(doors):
    assert doors.http("GET", "/v2/").json["name"] == "fake"
    assert "simple" in doors.http("GET", "/v2/models").json["models"]
    assert "date" in doors.http("GET", "/v2").headers
    model = doors.http("GET", "/v2/models/simple").json
    assert model["versions"] == ["1", "2"]
    assert model["inputs"][0] == {"name": "INPUT0", "datatype": "INT32", "shape": [1, 16]}
    assert model["parameters"] == {"revision": "sha256:00"}
    assert doors.http("GET", "/v2/models/a%2Fb%20%C3%BC").json["name"] == "a/b ü"


def test_metrics_and_description(doors):
    metrics = doors.http("GET", "/metrics")
    assert metrics.body == b"vedette_up 1\n"
    assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert doors.http("GET", "/openapi.json").json["openapi"].startswith("3.")


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "raw deflate", "two gzip members"])
def test_compressed_requests(doors, encoding):
    text = json.dumps(simple_request()).encode()
    raw = zlib.compressobj(wbits=-15)
    body = {
        "gzip": gzip.compress(text),
        "deflate": zlib.compress(text),
        "raw deflate": raw.compress(text) + raw.flush(),
        "two gzip members": gzip.compress(text[:50]) + gzip.compress(text[50:]),
    }[encoding]
    answer = doors.http("POST", INFER, body, {"Content-Encoding": "deflate" if "deflate" in encoding else "gzip"})
    assert answer.json["outputs"][0]["data"] == SUM


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        pytest.param(gzip.compress(bytes(64 << 20)), "gzip", 413, id="a decompression bomb"),
        pytest.param(gzip.compress(bytes(64 << 20))[:-20], "gzip", 413, id="a bomb cut short"),
        pytest.param(gzip.compress(b"{}")[:-4], "gzip", 400, id="a body cut short"),
        pytest.param(b"plain", "gzip", 400, id="a body that is not compressed"),
        pytest.param(b"plain", "br", 400, id="an encoding nobody asked for"),
        pytest.param(b"plain", "gzip, gzip", 400, id="twice compressed"),
    ],
)
def test_compressed_requests_that_are_refused(doors, body, encoding, status):
    assert doors.http("POST", INFER, body, {"Content-Encoding": encoding}).status == status


@pytest.mark.parametrize(
    ("accept", "unpack"), [("gzip", gzip.decompress), ("deflate", zlib.decompress), ("br, gzip;q=0.5", gzip.decompress)]
)
def test_answers_are_compressed_for_those_who_accept_it(doors, accept, unpack):
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [5000], "data": [0.5] * 5000}]}
    plain = doors.http("POST", "/v2/models/echo/infer", body)
    packed = doors.http("POST", "/v2/models/echo/infer", body, {"Accept-Encoding": accept})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] in accept
    assert unpack(packed.body) == plain.body
    refused = doors.http("POST", "/v2/models/echo/infer", body, {"Accept-Encoding": "gzip;q=0"})
    assert "content-encoding" not in refused.headers


def test_a_chunked_body_over_the_limit_is_refused_while_it_arrives(doors):
    def endless():
        for _ in range(2 * MAX_BODY_BYTES // 1024):
            yield b"x" * 1024

    answer = doors.http("POST", INFER, endless())
    assert answer.status == 413


def test_a_client_that_asks_before_it_sends_too_much_is_refused_at_once(doors):
    with socket.create_connection(("127.0.0.1", doors.http_port), timeout=HANG_S) as wire:
        wire.sendall(
            b"POST %s HTTP/1.1\r\nhost: x\r\ncontent-length: 999999999\r\nexpect: 100-continue\r\n\r\n" % INFER.encode()
        )
        assert wire.recv(100).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    "wire_bytes",
    [
        pytest.param(b"\x16\x03\x01\x02\x00\x01", id="TLS on a plain port"),
        pytest.param(b"GET \xff\xff HTTP/1.1\r\n\r\n", id="a path that is no ASCII"),
        pytest.param(b"GET /v2 HTTP/9.9\r\n\r\n", id="a version from the future"),
        pytest.param(b"POST /v2 HTTP/1.1\r\ncontent-length: -1\r\n\r\n", id="a negative length"),
        pytest.param(b"POST /v2 HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", id="two lengths"),
        pytest.param(b"POST /v2 HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", id="a chunk that is none"),
    ],
)
def test_what_is_not_http_is_refused_in_the_protocols_words(doors, wire_bytes):
    with socket.create_connection(("127.0.0.1", doors.http_port), timeout=HANG_S) as wire:
        wire.sendall(wire_bytes)
        head, _, body = wire.recv(4000).partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.1 400", b"HTTP/1.1 405"))
    assert list(json.loads(body)) == ["error"]


def test_a_client_that_leaves_mid_body_is_not_worth_a_word(doors, caplog):
    with socket.create_connection(("127.0.0.1", doors.http_port), timeout=HANG_S) as wire:
        wire.sendall(b"POST %s HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nhalf" % INFER.encode())
        until(lambda: doors.listener._http.connections == 1)
    until(lambda: not doors.listener._http.connections)
    assert doors.http("GET", "/v2/health/live").status == 200
    assert not caplog.records


def test_a_defect_is_logged_with_its_trace_and_the_door_stays_open(doors, caplog):
    answer = doors.http("POST", "/v2/models/failing/infer", simple_request())
    assert "a defect" not in answer.json["error"], "the client is not told our insides"
    assert "ZeroDivisionError" in caplog.text
    assert doors.http("POST", INFER, simple_request()).status == 200


@pytest.mark.parametrize(
    ("headers", "parameters", "seconds"),
    [
        pytest.param({}, {}, None, id="no word about time"),
        pytest.param({"x-request-timeout-ms": "250"}, {}, 0.25, id="our header, in milliseconds"),
        pytest.param({"x-request-timeout-ms": "250"}, {"timeout": 100_000}, 0.1, id="the parameter, in microseconds"),
        pytest.param(
            {"x-request-timeout-ms": "250", "x-envoy-expected-rq-timeout-ms": "50"}, {}, 0.05, id="the shortest holds"
        ),
    ],
)
def test_deadlines_reach_the_service(doors, headers, parameters, seconds):
    doors.http("POST", INFER, simple_request(parameters=parameters), headers)
    assert doors.service.seen[-1].deadline_s == (seconds and pytest.approx(seconds))


def test_a_deadline_that_passes_is_504(doors):
    assert doors.http("POST", "/v2/models/slow/infer", simple_request(), {"x-request-timeout-ms": "20"}).status == 504


def test_a_deadline_that_is_no_time_is_400(doors):
    assert doors.http("POST", INFER, simple_request(), {"x-request-timeout-ms": "soon"}).status == 400


def test_the_trace_reaches_the_service(doors):
    doors.http("POST", INFER, simple_request(), {"traceparent": TRACE})
    assert doors.service.seen[-1].traceparent == TRACE
    doors.http("POST", INFER, simple_request(), {"traceparent": "nonsense"})
    assert doors.service.seen[-1].traceparent is None


def test_many_requests_on_one_connection(doors):
    connection = doors.connection()
    for number in range(20):
        wrong = number % 2
        connection.request("POST", INFER, b"{" if wrong else json.dumps(simple_request()))
        response = connection.getresponse()
        response.read()
        assert response.status == (400 if wrong else 200)
    connection.close()


def test_statistics_of_one_model_and_of_all(doors):
    doors.service.seen.clear()
    doors.http("POST", INFER, simple_request())
    (first, second) = doors.http("GET", "/v2/models/simple/stats").json["model_stats"]
    assert (first["name"], first["version"], second["version"]) == ("simple", "1", "2")
    assert first["inference_stats"]["success"] == {"count": 1, "ns": 1000}
    assert first["inference_stats"]["queue"] == {"count": 0, "ns": 0}
    (one,) = doors.http("GET", "/v2/models/simple/versions/2/stats").json["model_stats"]
    assert one["version"] == "2"
    assert len(doors.http("GET", "/v2/models/stats").json["model_stats"]) > 2
    assert doors.http("GET", "/v2/models/nope/stats").status == 404


def test_a_head_without_end_is_refused(doors):
    with socket.create_connection(("127.0.0.1", doors.http_port), timeout=HANG_S) as wire:
        wire.sendall(b"GET /v2 HTTP/1.1\r\nx: ")
        answer = b""
        for _ in range(100):
            try:
                wire.sendall(b"y" * 4096)
            except OSError:
                break
        while part := wire.recv(4096):
            answer += part
    assert answer.startswith(b"HTTP/1.1 431")
    assert list(json.loads(answer.partition(b"\r\n\r\n")[2])) == ["error"]


def test_large_bodies_and_many_requests_do_not_count_as_heads(doors):
    connection = doors.connection()
    for _ in range(5):
        connection.request("POST", INFER, json.dumps(simple_request()).ljust(300_000))
        response = connection.getresponse()
        response.read()
        assert response.status == 200
    connection.close()
