"""Index, load and unload requests: what may be said."""

import pytest

from serving.doors.oip import control_codec
from serving.errors import BadRequest, ServingError


@pytest.mark.parametrize("body", [b'{"ready": 1}', b"[]", b"{"], ids=["a flag as a number", "an array", "half an object"])
def test_an_index_request_that_is_refused(body):
    with pytest.raises(BadRequest):
        control_codec.read_index_request(body)


def test_an_index_request_may_be_empty():
    assert control_codec.read_index_request(b"") is False
    assert control_codec.read_index_request(b'{"ready": true}') is True


def test_a_load_request_may_not_override_the_bundle():
    control_codec.check_load_request(b"")
    control_codec.check_load_request(b'{"parameters": {"unload_dependents": false}}')
    with pytest.raises(ServingError, match="not offered"):
        control_codec.check_load_request(b'{"parameters": {"config": "{}"}}')
