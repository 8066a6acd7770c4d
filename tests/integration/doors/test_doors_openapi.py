"""The served OpenAPI description tells the truth: schemathesis asks the door all that the description allows, and what it does not.

FUZZ_EXAMPLES (environment) is the number of requests an operation is tried with, right ones and wrong ones each."""

import json
import os

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from serving.doors.http import openapi
from tests.fakes.serving.doors import open_doors

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "5"))
VERSION = "1.0"
NAMES = {"model": ["simple", "echo", "words", "nope"], "version": ["1", "2", "9"], "entity": ["10.0.0.1", "a/b"]}


@pytest.fixture(scope="module")
def doors():
    with open_doors() as opened:
        yield opened
        assert opened.http("GET", "/v2/health/live").status == 200


def operations():
    """Every operation described, with names of models and versions to try: some that are there, one that is not."""
    document = json.loads(openapi.document(VERSION))
    for item in document["paths"].values():
        for parameter in item.get("parameters", ()):
            parameter["schema"]["enum"] = NAMES[parameter["name"]]
    for found in schemathesis.openapi.from_dict(document).get_all_operations():
        operation = found.ok()
        yield pytest.param(operation, GenerationMode.POSITIVE, id=f"right requests to {operation.label}")
        if "{" in operation.path or operation.method == "post":  # nothing about `GET /v2` could be sent wrongly
            yield pytest.param(operation, GenerationMode.NEGATIVE, id=f"wrong requests to {operation.label}")


def test_the_description_is_the_one_that_is_served(doors):
    assert doors.http("GET", "/openapi.json").body == openapi.document(VERSION)


@pytest.mark.parametrize(("operation", "mode"), list(operations()))
def test_the_door_does_as_described(doors, operation, mode):
    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(data=st.data())
    def law(data):
        case = data.draw(operation.as_strategy(generation_mode=mode))
        response = case.call(base_url=f"http://127.0.0.1:{doors.http_port}")
        doors.service.unloaded.clear()
        checks = [content_type_conformance, response_schema_conformance, status_code_conformance]
        if response.status_code != 501:
            checks.append(not_a_server_error)
        case.validate_response(response, checks=checks)

    law()
