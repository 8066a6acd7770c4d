"""What all laws of an API server ask of one: a client, a namespace's config maps, and a custom resource, Widget.

The definition of Widget is made once for each server."""

from collections.abc import Iterator

import httpx
import pytest

from tests.contract.api_server.api_server_kind import definition, install, new_group, uninstall
from tests.fakes.apiserver import Handle
from tests.fakes.apiserver.fixtures import both_api_servers

__all__ = ["both_api_servers"]


@pytest.fixture(scope="session")
def http(api_server: Handle) -> Iterator[httpx.Client]:
    with api_server.http() as client:
        yield client


@pytest.fixture(scope="session")
def group(http: httpx.Client) -> Iterator[str]:
    """The path of Widget's group and version."""
    body = definition(new_group())
    yield install(http, body)
    uninstall(http, body)


@pytest.fixture
def maps(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps"


@pytest.fixture
def widgets(group: str, namespace: str) -> str:
    return f"{group}/namespaces/{namespace}/widgets"
