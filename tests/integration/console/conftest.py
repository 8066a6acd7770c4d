"""One console for all tests of this folder, over a folder of services that no loop runs."""

from collections.abc import Iterator

import pytest

from tests.fakes.console.documents import healthy, put_looks, put_service, under_way
from tests.fakes.console.served import ServedConsole, served_console

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&{{7*7}}"


@pytest.fixture(scope="session")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedConsole]:
    """Tests leave its services as they found them, apart from requests that wait."""
    store = tmp_path_factory.mktemp("console")
    put_service(store, "flows", status=under_way())
    put_looks(store, "flows")
    put_service(store, "dns", status=under_way(3, "Paused", waitingFor="approval as detection-lead and soc-manager: 0 of 2"))
    put_service(store, "mail", status=healthy())
    put_service(store, "new")
    put_service(
        store, "hostile", status=under_way(2, "Aborted", HOSTILE, message=HOSTILE, waitingFor=HOSTILE, startedBy=HOSTILE)
    )
    with served_console(store) as served:
        yield served
