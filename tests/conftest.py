"""What all tests stand on: surroundings that are nobody's, laws with as many examples as the run allows, a real Redis."""

import contextlib
import gc
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests import surroundings

surroundings.leave()  # before anything is imported that reads a variable or a file of the home

from tests import groups, laws, run_servers  # noqa: E402
from tests.fakes.redis_server import PROGRAM, RedisServer  # noqa: E402

if TYPE_CHECKING:
    from tests.fakes.kafka_broker import SharedBroker

laws.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))
gc.set_threshold(
    100_000, 50, 100
)  # thousands of tests and their imports are there for good; looking at them was a third of collecting


_GROUPS = pytest.StashKey[Path]()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Workers are told by the process that starts them."""
    if folder := getattr(config, "workerinput", {}).get("run"):
        run_servers.belong_to(Path(folder))
    memory = surroundings.in_memory(config.args)
    if memory is not None and config.option.basetemp is None:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(memory))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Each worker is told the folder of the run and, where tests stay together by file, where to write down the groups."""
    folder = run_servers.new_folder()
    node.workerinput["run"] = str(folder)
    if node.config.getoption("dist") == "loadfile":
        node.config.stash[_GROUPS] = folder / "groups.json"
        node.workerinput["groups"] = str(node.config.stash[_GROUPS])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> groups.Scheduler | None:
    """Asked once the workers have been started."""
    return groups.Scheduler(config, log, config.stash[_GROUPS]) if _GROUPS in config.stash else None


def pytest_itemcollected(item: pytest.Item) -> None:
    if laws.is_law(getattr(item, "obj", None)):
        item.add_marker(pytest.mark.law)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if file := getattr(config, "workerinput", {}).get("groups"):
        groups.order(items, Path(file))


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """After the test's own fixtures."""
    groups.end_servers(item, nextitem)


def pytest_collection_finish() -> None:
    """What is there now stays: the collector need not look at it again with each test. What is garbage by now stays too."""
    gc.freeze()


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


@pytest.fixture(scope="session")
def redis_cluster_url() -> str:
    """A real Redis Cluster of three nodes, one for the whole run, on whatever worker; keep your keys apart from others'."""
    from tests.fakes.redis_many import redis_cluster

    return redis_cluster.shared()


@pytest.fixture(scope="session")
def redis_sentinels_url() -> str:
    """A real Redis with a replica and three sentinels, one for the whole run, on whatever worker."""
    from tests.fakes.redis_many import redis_cluster

    return redis_cluster.shared_sentinels()


@pytest.fixture(scope="session")
def kafka() -> "SharedBroker":
    """A real Kafka, one for the whole run, on whatever worker; keep your topics and groups apart from others' (`topic` names new ones)."""
    from tests.fakes import kafka_broker

    return kafka_broker.shared()


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A real Redis of the test's own, to be paused or killed."""
    if PROGRAM is None:
        pytest.skip("redis-server is not installed; `make services` installs it")
    server = RedisServer()
    yield server
    server.stop()
