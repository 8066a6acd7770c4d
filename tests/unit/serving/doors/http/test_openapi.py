"""The served description is valid, and describes what the router knows."""

import json

import pytest
from openapi_spec_validator import validate

from serving.doors.http import openapi
from serving.doors.http.router import Endpoint, resolve


@pytest.mark.heavy
def test_it_is_valid():
    validate(json.loads(openapi.document("0.1.0")))


def test_every_path_of_it_is_routed_and_every_route_described():
    paths = json.loads(openapi.document("0.1.0"))["paths"]
    endpoints = {resolve(path.replace("{model}", "m").replace("{version}", "1").encode()).endpoint for path in paths}
    assert endpoints == set(Endpoint)
