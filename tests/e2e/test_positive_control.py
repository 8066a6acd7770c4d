"""The kit finds real defects in a real server: a plain KServe 0.21, with the public example model.

Each check listed here was looked at, and is the server's own doing, not the model's: the reply is quoted beside it. The kit
must also leave KServe alone where KServe is right, or it would prove nothing."""

import json

import pytest

from tests.e2e.running.processes import running, wait_until_answering
from tests.e2e.running.vedette import verb
from tests.ports import free_ports

pytestmark = [pytest.mark.e2e, pytest.mark.integration]

TRUE_FAILURES = {
    # The specification: "The HTTP body must contain the error object", {"error": string}. FastAPI's own errors do not:
    "http.error.malformed-json",  # 422 {"detail": [{"type": "json_invalid", ...}]}
    "http.error.empty-body",  # 422 {"detail": [{"type": "missing", "loc": ["body"], ...}]}
    "http.error.not-an-object",  # 422 {"detail": [{"type": "model_attributes_type", ...}]}
    "http.error.no-inputs",  # 422 {"detail": [{"type": "missing", "loc": ["body", "InferenceRequest", "inputs"], ...}]}
    "http.error.no-name",  # 422 {"detail": [{"type": "missing", "loc": [..., "name"], ...}]}
    "http.error.no-shape",  # 422, likewise
    "http.error.no-datatype",  # 422, likewise
    "http.error.no-data",  # 422, likewise
    "http.error.shape-not-integers",  # 422 {"detail": [{"type": "int_parsing", ...}]}
    "http.error.not-utf8",  # 400 {"detail": "There was an error parsing the body"}
    # The client's mistake, answered as a defect of the server, from KServe's own decoding of tensors:
    "http.error.too-few-elements",  # 500 ValueError: cannot reshape array of size 15 into shape (1,16)
    "http.error.too-many-elements",  # 500 ValueError: cannot reshape array of size 17 into shape (1,16)
    "http.error.huge-shape",  # 500 ValueError: cannot reshape array of size 16 into shape (2147483648,2147483648)
    "http.error.integer-out-of-range",  # 500 OverflowError: Python integer 2147483648 out of bounds for int32
    "grpc.error.too-few-elements",  # INTERNAL, likewise
    "grpc.error.raw-too-short",  # INTERNAL, likewise
    # "Each dimension must be an integer representable as an unsigned 64-bit integer value":
    "http.error.negative-dimension",  # 200 for the shape [-1, 16]
    # "The requested output tensors for the inference": KServe drops them from a gRPC request.
    "grpc.infer.subset",  # answers OUTPUT0 and OUTPUT1 when only OUTPUT1 was asked for
    "grpc.error.unknown-output",  # answers OK
}

RIGHTLY_PASSED = {
    "http.health.live", "http.health.ready", "http.server.metadata", "http.model.metadata", "http.model.tensors",
    "http.infer.answers", "http.infer.values", "http.infer.id", "http.infer.subset", "http.infer.nested",
    "http.infer.input-order",
    "http.model.unknown-model", "http.error.unknown-model", "http.error.unknown-output", "http.error.survives",
    "grpc.health.live", "grpc.model.metadata", "grpc.infer.typed", "grpc.infer.raw", "grpc.infer.values", "grpc.infer.id",
    "grpc.error.unknown-model", "grpc.error.raw-too-few", "grpc.error.raw-and-typed", "grpc.error.survives",
}  # fmt: skip


@pytest.fixture(scope="session")
def kserve(tmp_path_factory):
    """A plain KServe server; its HTTP and gRPC addresses."""
    http_port, grpc_port = free_ports(2)
    log = tmp_path_factory.mktemp("kserve") / "log"
    with running(["tests/e2e/servers/kserve_simple.py", str(http_port), str(grpc_port)], log) as process:
        wait_until_answering(f"http://127.0.0.1:{http_port}/v2/models/simple/ready", process, 90, log)
        yield f"http://127.0.0.1:{http_port}", f"127.0.0.1:{grpc_port}"


@pytest.fixture(scope="session")
def conformed(kserve):
    """`vedette conform` against it, run as a user does; its exit code and report."""
    http, grpc = kserve
    done = verb("conform", "--http", http, "--grpc", grpc, "--model", "simple", "--json", check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def by_status(report, status):
    return {check["id"] for check in report["checks"] if check["status"] == status}


def test_a_plain_kserve_server_fails_at_least_five_checks(conformed):
    code, report = conformed
    assert code == 1
    assert report["summary"]["must_failures"] >= 5


def test_these_failures_are_true_ones(conformed):
    assert sorted(TRUE_FAILURES - by_status(conformed[1], "fail")) == []
    levels = {check["id"]: check["level"] for check in conformed[1]["checks"]}
    assert {levels[i] for i in TRUE_FAILURES} == {"MUST"}


def test_what_kserve_does_right_is_passed(conformed):
    assert sorted(RIGHTLY_PASSED - by_status(conformed[1], "pass")) == []


def test_what_kserve_does_not_claim_is_not_held_against_it(conformed):
    skipped = by_status(conformed[1], "skip")
    assert {"http.infer.version-path", "http.binary.input", "http.repository.index"} <= skipped
