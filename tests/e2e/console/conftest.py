"""One browser, one store and one console for all tests of this folder. A test that asks for `chromium` runs in the browser's thread."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e.console.chromium import PROGRAM, Chromium
from tests.e2e.console.world import ConsoleWorld, console_world
from tests.fakes.console.served import ServedConsole, served_console


@pytest.fixture(scope="session")
def shared_chromium() -> Iterator[Chromium]:
    if not PROGRAM.exists():
        pytest.skip(f"there is no {PROGRAM}: install the package chromium (`make services` says how)")
    browser = Chromium()
    browser.run(browser.start)
    yield browser
    browser.run(browser.stop)
    browser.end()


@pytest.fixture
def chromium(shared_chromium: Chromium) -> Iterator[Chromium]:
    """The browser, without pages. What a script or the browser complains of fails the test."""
    yield shared_chromium
    complaints = list(shared_chromium.complaints)
    shared_chromium.run(shared_chromium.close_pages)
    assert complaints == [], "the browser complained"


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleWorld]:
    with console_world(tmp_path_factory.mktemp("console")) as made:
        yield made


@pytest.fixture(scope="session")
def console(world: ConsoleWorld) -> Iterator[ServedConsole]:
    with served_console(world.store, control=world.folder) as served:
        yield served


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run the test in the browser's thread."""
    browser = pyfuncitem.funcargs.get("chromium")
    if not isinstance(browser, Chromium):
        return None
    test: Callable[..., Any] = pyfuncitem.obj
    wanted = pyfuncitem._fixtureinfo.argnames
    browser.run(lambda: test(**{name: pyfuncitem.funcargs[name] for name in wanted}))
    return True
