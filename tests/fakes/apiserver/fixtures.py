"""pytest fixtures over API servers, to be imported into a conftest.

`api_server` runs a test twice: against the fake, and against a real server where one can be had (else that half is skipped
with the reason). Both live for the whole run; work in a `namespace` of your own. `fake_api` is a fresh fake of the test's own.
"""

import uuid
from collections.abc import Iterator

import pytest

from tests.fakes.apiserver.handle import Handle
from tests.fakes.apiserver.real import real_api_server, unavailable
from tests.fakes.apiserver.server import ApiServer


@pytest.fixture(scope="session", params=["fake", "real"])
def api_server(request: pytest.FixtureRequest) -> Iterator[Handle]:
    """An API server, fake and real in turn."""
    if request.param == "real" and (why := unavailable()):
        pytest.skip(why)
    server = ApiServer() if request.param == "fake" else real_api_server()
    with server:
        yield server


@pytest.fixture
def namespace(api_server: Handle) -> Iterator[str]:
    """A namespace of the test's own on `api_server`."""
    name = f"test-{uuid.uuid4().hex[:10]}"
    with api_server.http() as http:
        http.post("/api/v1/namespaces", json={"metadata": {"name": name}}).raise_for_status()
        yield name
        http.delete(f"/api/v1/namespaces/{name}")


@pytest.fixture
def fake_api() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server
