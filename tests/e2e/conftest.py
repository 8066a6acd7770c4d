"""One `vedette up` for all of tests/e2e, started as a user starts it, stopped with SIGINT, leaving no process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.running.vedette import Vedette, up


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store folder of the shared server, where `vedette up` makes it: in the folder in which it is started."""
    return tmp_path_factory.mktemp("vedette") / ".vedette"


@pytest.fixture(scope="session")
def vedette(store: Path) -> Iterator[Vedette]:
    """The shared server. Tests leave it as they found it: what they load they unload."""
    with up(store, cwd=store.parent) as served:
        print(f"\nvedette up, first time: ready after {served.waited_s:.1f} s")
        yield served
