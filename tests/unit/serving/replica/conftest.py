"""The bundle `simple`, and a service over a store that holds it."""

import pytest

from operators.labs.simple_model import build_simple
from tests.unit.serving.replica.service import World


@pytest.fixture(scope="module")
def simple(tmp_path_factory):
    return build_simple(tmp_path_factory.mktemp("bundles") / "simple")


@pytest.fixture
def world(tmp_path, simple):
    return World(tmp_path, simple)
