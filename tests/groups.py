"""Which tests stay on one worker where several workers run side by side (`make test-servers`).

Tests of one file stay together, because they share its fixtures. Tests that share a server stay together too, whatever file they are
in, so that the server starts once; those of Kafka need not, because all workers share one broker (tests/run_servers.py). A test that
takes a minute and shares nothing with its file is marked with a group of its own. These long groups are handed out first: no worker is
left with one at the end. Most of them start a Ray or an API server, which gives its own processes 15 to 30 seconds to start. So at most
half of the workers have a long group at a time; the others have files.

A server of the whole run ends after the last test of the group that needs it: an API server or a Ray that nobody asks takes a tenth of a
core, and there would be seven of them by the end.

A worker knows the fixtures of a test, the controller hands the tests out: the workers write the groups to a file that it reads."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

REAL_API: Final = "a real API server"
VEDETTE: Final = "the shared vedette up"
SERVERS: Final = frozenset({"api_server", "vedette", "cluster"})
"""Fixtures of the whole run that are servers of one worker."""
_servers: dict[Any, str] = {}
"""Definitions of such fixtures that tests have asked for, and their names."""
LONGEST_FIRST: Final = (REAL_API, VEDETTE)
"""Groups that take minutes. Groups that a marker names follow, then files in the order in which they were collected."""


def order(items: list[pytest.Item], file: Path) -> None:
    """Put the tests of the long groups first, and write down the group of each."""
    groups = {item.nodeid: group_of(item) for item in items}
    items.sort(key=lambda item: _place(item, groups[item.nodeid]))
    written = file.with_suffix(f".{os.getpid()}")
    written.write_text(json.dumps(groups), encoding="utf-8")
    written.replace(file)  # every worker writes the same


def group_of(item: pytest.Item) -> str:
    """The group of a test: the one it is marked with, or by the fixtures that it asks for; else its file."""
    marker = item.get_closest_marker("xdist_group")
    if marker is not None:
        return str(marker.args[0])
    callspec = getattr(item, "callspec", None)
    if callspec is not None and callspec.params.get("api_server") == "real":
        return REAL_API
    if "vedette" in getattr(item, "fixturenames", ()):
        return VEDETTE
    return item.nodeid.partition("::")[0]


def end_servers(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """After a test: end the servers of the run that neither its group nor the next test asks for. Whoever asks later gets a new one."""
    known = item._fixtureinfo.name2fixturedefs  # type: ignore[attr-defined]
    _servers.update((found, name) for name in SERVERS for found in known.get(name, ()) if found.scope == "session")
    if nextitem is None:
        return
    wanted = {name: found[-1] for name, found in nextitem._fixtureinfo.name2fixturedefs.items()}  # type: ignore[attr-defined]
    is_same_group = group_of(item) == group_of(nextitem)
    for definition, name in list(_servers.items()):
        if definition is not wanted.get(name) and not (is_same_group and name not in wanted):
            del _servers[definition]
            definition.finish(item._request)  # type: ignore[attr-defined]


class Scheduler(LoadScopeScheduling):
    """Hands a group to a worker that has next to nothing left to do: a long one if less than half of the workers have one, else a file."""

    def __init__(self, config: pytest.Config, log: Any, file: Path) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False
        self._file, self._groups = file, dict[str, str]()

    def _split_scope(self, nodeid: str) -> str:
        if not self._groups:
            self._groups = json.loads(self._file.read_text(encoding="utf-8"))
        return self._groups[nodeid]

    def _assign_work_unit(self, node: WorkerController) -> None:
        others = sum(other is not node and any(map(self._is_long, work)) for other, work in self._unfinished())
        wants_long = others < max(1, self.numnodes // 2)
        group = next((group for group in self.workqueue if self._is_long(group) is wants_long), next(iter(self.workqueue)))
        self.workqueue.move_to_end(group, last=False)
        super()._assign_work_unit(node)

    def _unfinished(self) -> Iterator[tuple[WorkerController, list[str]]]:
        """Each worker and its groups with tests that have not ended."""
        for node, assigned in self.assigned_work.items():
            yield node, [group for group, tests in assigned.items() if not all(tests.values())]

    @staticmethod
    def _is_long(group: str) -> bool:
        """Files have a path; the long groups have a name."""
        return not group.endswith(".py")


def _place(item: pytest.Item, group: str) -> int:
    if group in LONGEST_FIRST:
        return LONGEST_FIRST.index(group)
    return len(LONGEST_FIRST) + (item.get_closest_marker("xdist_group") is None)
