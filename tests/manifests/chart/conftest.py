"""Helm, where `make cluster-tools` has built it or it is on PATH, and API servers to install on."""

import shutil
from pathlib import Path

import pytest

from tests.fakes.apiserver.fixtures import api_server, namespace
from tests.fakes.apiserver.real import assets

__all__ = ["api_server", "namespace"]


@pytest.fixture(scope="session")
def helm() -> str:
    built = assets()
    if built and (built / "helm").exists():
        return str(built / "helm")
    found = shutil.which("helm")
    if found is None:
        pytest.skip("helm is not installed: make cluster-tools builds it, where Go is")
    return str(Path(found))
