"""What unit tests need not pay for again and again: a Python for each probe, a tree of commands for each invocation, a slow disk."""

import functools
import os
from collections.abc import Iterator

import pytest

# before numpy is imported: two workers have two cores, and a pool of threads in each waits for the other by spinning
os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")


@pytest.fixture(scope="session", autouse=True)
def _warm_probes() -> Iterator[None]:
    from tests.fakes.probes import warm_probes  # not before tests run: it imports the loader

    with warm_probes():
        yield


@pytest.fixture(scope="session", autouse=True)
def _commands_built_once() -> Iterator[None]:
    """`CliRunner` builds the commands of an app for each invocation, 200 of them for `vedette`; a program does so once."""
    from typer import testing

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(testing, "_get_command", functools.cache(testing._get_command))
        yield


@pytest.fixture(scope="session", autouse=True)
def _disk_is_not_waited_for() -> Iterator[None]:
    """What a power cut leaves, no unit test sees. Those that count what is synced, or lose it, set functions of their own."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("fsync", "fdatasync"):
            patch.setattr(os, name, _checked)
        yield


def _checked(file: int | object) -> None:
    """Refuses what the real one refuses: a file that is closed."""
    os.fstat(file if isinstance(file, int) else file.fileno())  # type: ignore[attr-defined]


@pytest.fixture
def cold_probe() -> Iterator[None]:
    """For tests of the probe itself: a new Python, as in the product."""
    from tests.fakes.probes import cold_probes

    with cold_probes():
        yield


@pytest.fixture(params=[pytest.param("a new Python", marks=pytest.mark.heavy), "a warm one"])
def either_probe(request: pytest.FixtureRequest) -> None:
    """The warm one keeps the promises of the product's."""
    if request.param == "a new Python":
        request.getfixturevalue("cold_probe")
