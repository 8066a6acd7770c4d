"""Which tests stay together where several workers run side by side: by marker, by server, else by file; the longest first."""

import itertools
import json
import os
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import groups
from tests.groups import REAL_API, VEDETTE, Scheduler, group_of, order
from tests.waiting import HANG_S


class Item:
    """What a test is to the groups: a node, its fixtures, its parameters and its group marker."""

    def __init__(self, nodeid: str, *fixtures: str, params: dict[str, object] | None = None, group: str | None = None) -> None:
        self.nodeid, self.fixturenames, self._group = nodeid, fixtures, group
        if params is not None:
            self.callspec = type("CallSpec", (), {"params": params, "id": "-".join(map(str, params.values()))})

    def get_closest_marker(self, name: str) -> pytest.Mark | None:
        return pytest.mark.xdist_group(self._group).mark if self._group is not None and name == "xdist_group" else None


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        pytest.param(Item("a/test_x.py::test_one"), "a/test_x.py", id="tests of one file stay together"),
        pytest.param(Item("a/test_x.py::Case::test_one[x::y]"), "a/test_x.py", id="whatever follows in the name"),
        pytest.param(Item("a/test_x.py::test_one", params={"n": 1}), "a/test_x.py", id="parameters of its own part nobody"),
        pytest.param(
            Item("x.py::t", "api_server", params={"api_server": "real"}), REAL_API, id="the real API server starts once"
        ),
        pytest.param(Item("x.py::t", "api_server", params={"api_server": "fake"}), "x.py", id="a fake one costs nothing"),
        pytest.param(Item("x.py::t", "vedette"), VEDETTE, id="and so does `vedette up`"),
        pytest.param(Item("x.py::t", "kafka"), "x.py", id="Kafka is one for all workers, so it keeps nobody together"),
        pytest.param(Item("x.py::t", "vedette_folder"), "x.py", id="a fixture of another name is another"),
        pytest.param(Item("x.py::t", "vedette", group="mine"), "mine", id="a marker wins"),
        pytest.param(
            Item("x.py::t", "vedette", params={"api_server": "real"}), REAL_API, id="of two servers the one that takes longest"
        ),
    ],
)
def test_the_group_of_a_test(item: Item, expected: str) -> None:
    assert group_of(item) == expected  # type: ignore[arg-type]


REAL = Item("c.py::real", "api_server", params={"api_server": "real"})
UP = Item("b.py::up", "vedette")
MARKED = Item("e.py::marked", group="a page")
ONE, TWO = Item("a.py::one"), Item("a.py::two")


@pytest.mark.parametrize("collected", list(itertools.permutations([ONE, TWO, UP, REAL, MARKED])), ids=lambda _: "")
def test_the_longest_groups_come_first_and_the_rest_as_collected(tmp_path: Path, collected: tuple[Item, ...]) -> None:
    items = list(collected)
    order(items, tmp_path / "groups.json")  # type: ignore[arg-type]
    assert items == [REAL, UP, MARKED, *(item for item in collected if item in {ONE, TWO})]


def test_what_is_written_is_the_group_of_each_test_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "groups.json"
    order([UP, ONE], file)  # type: ignore[list-item]
    order([ONE, UP, REAL], file)  # type: ignore[list-item]
    assert json.loads(file.read_text()) == {"a.py::one": "a.py", "b.py::up": VEDETTE, "c.py::real": REAL_API}
    assert list(tmp_path.iterdir()) == [file], "a worker that reads meanwhile finds the old file or the new one, whole"


def test_the_scheduler_reads_the_groups_once_they_are_asked_for(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """It is made before a worker has collected, so before the file is there."""
    scheduler = Scheduler.__new__(Scheduler)
    scheduler._file, scheduler._groups = tmp_path / "groups.json", {}
    order([UP, ONE, TWO], scheduler._file)  # type: ignore[list-item]
    assert [scheduler._split_scope(item.nodeid) for item in (UP, ONE, TWO)] == [VEDETTE, "a.py", "a.py"]


class Worker:
    """What a worker is to the scheduler: it is sent the numbers of tests."""

    shutting_down = False

    def __init__(self) -> None:
        self.sent: list[int] = []
        self.gateway = self
        self.id = "worker"

    def send_runtest_some(self, numbers: list[int]) -> None:
        self.sent += numbers

    def shutdown(self) -> None:
        self.shutting_down = True


@pytest.fixture
def handing_out(tmp_path: Path) -> tuple[Scheduler, list[Worker], list[str]]:
    """Four workers, six long groups of three tests, six files of three tests; nothing is handed out yet."""
    long = [Item(f"e.py::{name}{n}", group=f"long {name}") for name in "uvwxyz" for n in range(3)]
    files = [Item(f"{name}.py::{n}") for name in "abcdef" for n in range(3)]
    items = [*files, *long]
    order(items, tmp_path / "groups.json")  # type: ignore[arg-type]
    scheduler = Scheduler.__new__(Scheduler)
    scheduler.numnodes, scheduler.collection, scheduler.log = 4, None, lambda *_: None  # type: ignore[assignment]
    scheduler.config = type("Config", (), {"option": type("Option", (), {"loadscopereorder": False})})  # type: ignore[assignment]
    scheduler._file, scheduler._groups = tmp_path / "groups.json", {}
    workers, names = [Worker() for _ in range(4)], [item.nodeid for item in items]
    scheduler.workqueue, scheduler.assigned_work = OrderedDict(), {worker: {} for worker in workers}  # type: ignore[misc]
    scheduler.registered_collections = dict.fromkeys(workers, names)  # type: ignore[arg-type]
    return scheduler, workers, names


def _has_tests_left(work: dict[str, dict[str, bool]], prefix: str) -> Iterator[bool]:
    return (not all(tests.values()) for group, tests in work.items() if group.startswith(prefix))


def test_at_most_half_of_the_workers_have_a_long_group_while_there_are_files(
    handing_out: tuple[Scheduler, list[Worker], list[str]],
) -> None:
    scheduler, workers, names = handing_out
    scheduler.schedule()
    ended: list[str] = []
    rounds = 0
    while len(ended) < len(names):
        for worker in workers:
            if rounds < len(worker.sent):
                ended.append(names[worker.sent[rounds]])
                scheduler.mark_test_complete(worker, worker.sent[rounds])  # type: ignore[arg-type]
        with_a_long_one = [work for work in scheduler.assigned_work.values() if any(_has_tests_left(work, "long"))]
        assert len(with_a_long_one) <= 2 or not any(group.endswith(".py") for group in scheduler.workqueue)
        rounds += 1
    assert sorted(ended) == sorted(names), "each test once"
    assert {len(worker.sent) for worker in workers} == {9}, "nobody is left with the rest"


def test_every_long_group_is_one_that_tests_can_be_in() -> None:
    assert {group_of(item) for item in (REAL, UP)} == set(groups.LONGEST_FIRST)  # type: ignore[arg-type]


SERVED = """
import pathlib, pytest
from tests import groups

@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item, nextitem):
    groups.end_servers(item, nextitem)

def say(word):
    with pathlib.Path("said").open("a") as said:
        said.write(word + " ")

@pytest.fixture(scope="session")
def vedette():
    say("begins")
    yield
    say("ends")
"""


@pytest.mark.heavy
def test_a_server_of_the_run_ends_with_the_group_that_needs_it(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(SERVED)
    of_two = "from conftest import say\ndef test_{0}(vedette): say('{0}')\n"
    (tmp_path / "test_a.py").write_text(of_two.format("a"))
    (tmp_path / "test_b.py").write_text(of_two.format("b"))
    (tmp_path / "test_c.py").write_text("from conftest import say\ndef test_c(): say('c')\n")
    (tmp_path / "test_d.py").write_text(of_two.format("d"))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), "."]
    path = {"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": os.environ["PATH"], "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=path, capture_output=True, text=True, timeout=HANG_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "said").read_text().split() == ["begins", "a", "b", "ends", "c", "begins", "d", "ends"]
