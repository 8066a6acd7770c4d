"""pytest fixtures over API servers, to be imported into a conftest.

`api_server` is a real server where one can be had, else the fake. `both_api_servers` has the same name in tests and runs them twice,
against the fake and against the real one (that half is skipped with the reason where there is none): it holds the fake to what a real
one does. Each lives for the whole run; work in a `namespace` of your own. `fake_api` is a fresh fake of the test's own.
"""

import uuid
from collections.abc import Iterator

import pytest

from tests.fakes.apiserver.handle import Handle
from tests.fakes.apiserver.real import real_api_server, unavailable
from tests.fakes.apiserver.server import ApiServer


def _server(request: pytest.FixtureRequest) -> Iterator[Handle]:
    if request.param == "real" and (why := unavailable()):
        pytest.skip(why)
    server = ApiServer() if request.param == "fake" else real_api_server()
    with server:
        yield server


api_server = pytest.fixture(_server, scope="session", name="api_server", params=["fake" if unavailable() else "real"])
both_api_servers = pytest.fixture(_server, scope="session", name="api_server", params=["fake", "real"])


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
