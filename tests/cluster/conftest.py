"""Tests of the operator on an API server, the fake and, where `make cluster-tools` has built one, a real one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.apiserver import Handle
from tests.fakes.apiserver.fixtures import api_server, fake_api, namespace
from tests.fakes.operator.operator_world import OperatorProcess, World
from tests.fakes.operator.serving_pods import ServingPods

__all__ = ["api_server", "fake_api", "namespace"]


@pytest.fixture
def pods() -> Iterator[ServingPods]:
    with ServingPods() as serving:
        yield serving


@pytest.fixture
def world(api_server: Handle, pods: ServingPods) -> Iterator[World]:
    """On the API server of the run, which other tests use too: stay in your own `namespace`."""
    with World(api_server, pods) as made:
        yield made


@pytest.fixture
def fake_world(fake_api: Handle, pods: ServingPods) -> Iterator[World]:
    """On a fake of the test's own: its faults and its log are the test's."""
    with World(fake_api, pods) as made:
        yield made


@pytest.fixture
def operators(tmp_path: Path) -> Iterator["Operators"]:
    """Starts operators, and ends them however the test ends."""
    made = Operators(tmp_path)
    yield made
    made.end()


class Operators:
    """Operator processes of one test. log: what they all said."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "operator.log"
        self._all: list[OperatorProcess] = []

    def start(self, kubeconfig: Path, **settings: str | None) -> OperatorProcess:
        process = OperatorProcess(kubeconfig, self.log, **settings)
        self._all.append(process)
        return process

    @property
    def said(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def end(self) -> None:
        for one in self._all:
            if one.is_running:
                one.kill()
