"""Threads of the process, and the memory that it may have."""

import pytest

from serving.telemetry import names
from serving.telemetry.process_use import process_use

MEMINFO = "MemTotal:        2048 kB\nMemFree: 1 kB\n"


def root(tmp_path, **files: str):
    for path, text in files.items():
        place = tmp_path / path.replace("__", "/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="ascii")
    return tmp_path


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        pytest.param("1048576\n", 1048576.0, id="the container's limit"),
        pytest.param("max\n", 2048 * 1024.0, id="no limit: the machine's memory"),
    ],
)
def test_the_limit_of_memory(tmp_path, limit, expected):
    found = dict(process_use(root(tmp_path, proc__meminfo=MEMINFO, **{"sys__fs__cgroup__memory.max": limit})))
    assert found[names.MEMORY_LIMIT] == {(): expected}


def test_what_the_system_does_not_say_is_left_out(tmp_path):
    assert dict(process_use(tmp_path)) == {names.THREADS: {}, names.MEMORY_LIMIT: {}}


def test_threads_of_this_process():
    (threads,) = dict(process_use())[names.THREADS].values()
    assert threads >= 1
