"""What integration tests share."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.trained import trained_flows


@pytest.fixture(scope="session", autouse=True)
def _warm_probes() -> Iterator[None]:
    """As in unit tests, no Python is started for each bundle that is probed; tests/e2e and test_replica_host.py start them."""
    from tests.fakes.probes import warm_probes  # not before tests run: it imports the loader

    with warm_probes():
        yield


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here (it takes root)")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


@pytest.fixture(scope="session")
def flows_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the model `flows`, trained on generated rows; this worker's own copy."""
    return trained_flows(tmp_path_factory.mktemp("flows") / "store")
