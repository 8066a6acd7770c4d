"""One error, two wires, one body."""

import json

import grpc
import pytest

from serving import errors as e
from serving.doors.oip import errors


class Special(e.NotFound):
    """A kind of NotFound."""


@pytest.mark.parametrize(
    ("error", "status", "code", "retry_after"),
    [
        pytest.param(e.BadRequest("x"), 400, "INVALID_ARGUMENT", None, id="the request is wrong"),
        pytest.param(e.NotFound("x"), 404, "NOT_FOUND", None, id="no such model"),
        pytest.param(Special("x"), 404, "NOT_FOUND", None, id="a kind of NotFound is NotFound"),
        pytest.param(e.TooLarge("x"), 413, "RESOURCE_EXHAUSTED", None, id="too large"),
        pytest.param(e.Unsupported("x"), 501, "UNIMPLEMENTED", None, id="not offered"),
        pytest.param(e.Unavailable("x"), 503, "UNAVAILABLE", b"1", id="unavailable: try again"),
        pytest.param(e.Overloaded("x", retry_after_s=2.2), 429, "RESOURCE_EXHAUSTED", b"3", id="overloaded: in whole seconds"),
        pytest.param(e.DeadlineExceeded("x"), 504, "DEADLINE_EXCEEDED", None, id="too late"),
        pytest.param(e.Internal("x"), 500, "INTERNAL", None, id="a defect of ours"),
        pytest.param(e.ServingError("x"), 500, "INTERNAL", None, id="an error without a cause is a defect"),
    ],
)
def test_mapping(error, status, code, retry_after):
    assert errors.http_status(error) == status
    assert errors.grpc_code(error) == code
    assert hasattr(grpc.StatusCode, code)
    assert errors.retry_after_header(error) == retry_after


def test_every_cause_is_mapped():
    causes = {kind for kind in vars(e).values() if isinstance(kind, type) and issubclass(kind, e.ServingError)} - {
        e.ServingError
    }
    assert causes == set(errors.HTTP_STATUS)
    assert errors.HTTP_STATUS.keys() == errors.GRPC_CODE.keys()


def test_the_body_is_the_protocols():
    assert json.loads(errors.error_body('a "b" \ud800')) == {"error": 'a "b" ?'}
    assert errors.reason(e.TooLarge("x")) == "TOO_LARGE"
