"""Unit tests start no Python for each bundle that they probe."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def _warm_probes() -> Iterator[None]:
    from tests.fakes.probes import warm_probes  # not before tests run: it imports the loader

    with warm_probes():
        yield


@pytest.fixture
def cold_probe() -> Iterator[None]:
    """For tests of the probe itself: a new Python, as in the product."""
    from tests.fakes.probes import cold_probes

    with cold_probes():
        yield


@pytest.fixture(params=["a new Python", "a warm one"])
def either_probe(request: pytest.FixtureRequest) -> None:
    """The warm one keeps the promises of the product's."""
    if request.param == "a new Python":
        request.getfixturevalue("cold_probe")
