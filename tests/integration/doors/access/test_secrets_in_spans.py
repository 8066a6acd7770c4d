"""Spans of a guarded replica, as a collector gets them: who asks brings secrets in many places, and none is in a span."""

import http.client
import json
import time

import pytest

from operators.labs.simple_model import build_simple
from serving.app import compose
from serving.models.store import BundleStore
from serving.replica.host import ReplicaHost
from tests.fakes.serving.doors import simple_request
from tests.fakes.serving.guarded.token_issuer import open_key_server, token
from tests.integration.doors.access.test_guarded_replica import POLICY, settings, write
from tests.integration.test_otlp import Collector

pytestmark = pytest.mark.integration
PLANTED = "planted-secret"
INFER = "/v2/models/simple/infer"


def test_no_secret_of_a_request_is_in_a_span(tmp_path):
    collector = Collector()
    with open_key_server() as issuer:
        write(tmp_path, POLICY, issuer)
        BundleStore(tmp_path / "store").add(build_simple(tmp_path / "simple"))
        host = ReplicaHost(settings(tmp_path).model_copy(update={"otlp_endpoint": collector.url}), compose)
        try:
            good = token(time.time(), sub="blue", planted=PLANTED).decode()
            shown = {"authorization": f"Bearer {good}"}
            asked = [
                (INFER, shown, 200),
                (
                    f"{INFER}?token={PLANTED}",
                    {**shown, "x-api-key": PLANTED, "cookie": PLANTED, "tracestate": f"a={PLANTED}"},
                    200,
                ),
                (INFER, {**shown, "x-vedette-tenant": PLANTED}, 403),
                (INFER, {"authorization": f"Bearer {PLANTED}"}, 401),
                (INFER, {"authorization": f"Basic {PLANTED}"}, 401),
                ("/v1/models/simple:predict", shown, 400),
            ]
            port = host.start().http
            for path, headers, status in asked:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                connection.request("POST", path, json.dumps(simple_request()), headers)
                answer = connection.getresponse()
                assert (answer.status, path) == (status, path), answer.read()
                connection.close()
        finally:
            host.stop()
            collector.close()
    spans = [
        span
        for *_, told in collector.received
        for one in told.resource_spans
        for scope in one.scope_spans
        for span in scope.spans
    ]
    assert len([span for span in spans if not span.parent_span_id]) >= 2, "each that was let in"
    told = b"".join(message.SerializeToString() for *_, message in collector.received)
    for secret in (PLANTED, *good.split(".")):
        assert secret.encode() not in told
