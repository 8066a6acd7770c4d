"""What all tests stand on: surroundings that are nobody's, laws with as many examples as the run allows, a real Redis."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import surroundings

surroundings.leave()  # before anything is imported that reads a variable or a file of the home

from tests import groups, laws  # noqa: E402
from tests.fakes.redis_server import PROGRAM, RedisServer  # noqa: E402

laws.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On a worker of several: who shares a server shares a worker."""
    if hasattr(config, "workerinput"):
        groups.assign(items)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Failures are told by names that can be typed."""
    worker = getattr(report, "node", None)
    if worker is not None and worker.config.getoption("dist") == "loadgroup":
        report.nodeid = groups.without_group(report.nodeid)


@pytest.fixture(scope="session", autouse=True)
def current_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty folder, from which tests and their children run: a `.vedette` in the checkout is somebody's."""
    folder = tmp_path_factory.mktemp("current")
    with contextlib.chdir(folder):
        yield folder


@pytest.fixture(scope="module")
def own_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The current folder of a module whose programs write there, as benchmarks do."""
    folder = tmp_path_factory.mktemp("own")
    with contextlib.chdir(folder):
        yield folder


@pytest.fixture(autouse=True)
def _current_folder_stays_empty(current_folder: Path) -> Iterator[None]:
    """What one test leaves there, the next would find."""
    yield
    left = sorted(path.name for path in current_folder.iterdir())
    for name in left:
        shutil.rmtree(current_folder / name, ignore_errors=True)
        (current_folder / name).unlink(missing_ok=True)
    assert not left, f"the test left {left} in the current folder; give it a folder of its own (tmp_path)"


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A real Redis, one for the whole run; keep your keys apart from others' (a Feast project of your own does)."""
    if PROGRAM is None:
        pytest.skip("redis-server is not installed; `make services` installs it")
    server = RedisServer()
    yield server.url
    server.stop()


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A real Redis of the test's own, to be paused or killed."""
    if PROGRAM is None:
        pytest.skip("redis-server is not installed; `make services` installs it")
    server = RedisServer()
    yield server
    server.stop()
