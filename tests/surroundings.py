"""What a test may know of the machine and of the person who runs it: next to nothing.

`leave()` takes all variables away but those that are listed here, and gives the tests a home of their own. tests/conftest.py
calls it before a test module is imported, so that children of the tests inherit the clean environment; it sees to the current
folder too. `tests.odd_surroundings` shows that it holds."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

FOR_TESTS: Final = frozenset({
    "VEDETTE_DATA_DIR",         # real captures and other people's schemas
    "VEDETTE_KAFKA_LIBS",       # a folder of Kafka's jars
    "VEDETTE_SIGMA_RULES",      # a folder of public rules
    "VEDETTE_TEST_KUBECONFIG",  # a cluster that tests may change
    "VEDETTE_UPDATE_GOLDEN",
    "KUBEBUILDER_ASSETS",       # a real API server
    "FUZZ_EXAMPLES",
    "HYPOTHESIS_PROFILE",
})  # fmt: skip
"""Meant for tests."""

OF_THE_MACHINE: Final = frozenset({
    "PATH", "LD_LIBRARY_PATH", "TMPDIR", "USER", "LOGNAME", "SHELL", "VIRTUAL_ENV",
    "TZ", "LANG", "LANGUAGE", "PYTHONUTF8", "PYTHONCOERCECLOCALE",  # any will do: no test assumes one
})  # fmt: skip
"""Where programs are, and how the machine writes and tells time."""

ROOT: Final = Path(__file__).parents[1]
PREFIXES: Final = ("LC_", "PYTEST_", "COV_", "COVERAGE_")


QUICK_TESTS: Final = (ROOT / "tests" / "unit", ROOT / "tests" / "docs")
MEMORY: Final = Path("/dev/shm")
ROOM: Final = 1 << 30
"""Bytes that must be free in memory; the files of all quick tests take less than half of it."""


def in_memory(arguments: Sequence[str], memory: Path = MEMORY, room: int = ROOM) -> Path | None:
    """Where temporary files of a run are written: in memory if all that runs are quick tests and there is room; None is the usual place.

    Quick tests write tens of thousands of small files and need no disk: in memory that costs a third of the system's time."""
    paths = [Path(argument.partition("::")[0]).resolve() for argument in arguments]
    if not paths or not all(any(path.is_relative_to(quick) for quick in QUICK_TESTS) for path in paths):
        return None
    has_room = memory.is_dir() and os.access(memory, os.W_OK | os.X_OK) and shutil.disk_usage(memory).free >= room
    return memory if has_room else None


def kept(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that tests and their children see."""
    return {k: v for k, v in environment.items() if k in FOR_TESTS or k in OF_THE_MACHINE or k.startswith(PREFIXES)}


def leave() -> None:
    """Forget the surroundings: the variables of this process, and the home with its kubeconfig and caches."""
    home = tempfile.mkdtemp(prefix="vedette-tests-home-")
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    clean = {**kept(os.environ), "HOME": home, "PYTHONPATH": str(ROOT)}  # children import this checkout, wherever they run
    for name in set(os.environ) - set(clean):
        del os.environ[name]
    os.environ.update(clean)
    for name in ("COLUMNS", "LINES"):  # readline puts the terminal's size there, past os.environ
        os.unsetenv(name)
