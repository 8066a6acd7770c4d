"""Every endpoint and every method has a verb: one that is added without is closed, and this test fails."""

import json

from serving.access.refusals import ABOUT as REASONS
from serving.access.refusals import RefusalReason
from serving.access.verbs import ABOUT, NOT_FOR_TENANTS, OF_MODELS, SHAREABLE, Verb
from serving.doors.grpc.calls import InferenceMethods
from serving.doors.grpc.method_verbs import GRPC_VERBS
from serving.doors.grpc.stubs import HEALTH, POOL, REFLECTION, REFLECTION_V1, SERVICE
from serving.doors.http import openapi
from serving.doors.http.endpoint_verbs import HTTP_VERBS
from serving.doors.http.router import Endpoint, resolve
from tests.fakes.serving.inference import FakeInference


def test_every_http_endpoint_has_a_verb():
    assert set(HTTP_VERBS) == set(Endpoint)


def test_every_described_path_is_an_endpoint_with_a_verb():
    for path in json.loads(openapi.document("1"))["paths"]:
        target = resolve(path.replace("{model}", "m").replace("{version}", "1").replace("{entity}", "e").encode())
        assert target.endpoint in HTTP_VERBS, path


def test_every_grpc_method_has_a_verb():
    offered = {f"{SERVICE}/{name}" for name in InferenceMethods(FakeInference()).methods()}
    described = {
        f"{service}/{method.name}"
        for service in (HEALTH, REFLECTION, REFLECTION_V1)
        for method in POOL.FindServiceByName(service).methods
        if method.name != "List"
    }
    assert set(GRPC_VERBS) == offered | described


def test_every_verb_and_reason_is_explained():
    assert set(ABOUT) == set(Verb)
    assert set(REASONS) == set(RefusalReason)
    assert SHAREABLE <= OF_MODELS
    assert not NOT_FOR_TENANTS & SHAREABLE
