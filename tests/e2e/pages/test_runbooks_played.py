"""The first command of every runbook is typed: at the shared server, and at pages of an operator, a monitor and sinks in this process."""

import json
from collections.abc import Iterator

import pytest

from operators.cli.monitoring.monitor_metrics import MonitorMetrics
from operators.handlers.metrics import OperatorMetrics
from operators.observability.alerts.catalogue import GROUPS
from operators.telemetry.exposition import MetricsPage
from operators.telemetry.page import serve_page
from operators.telemetry.sink_names import SINK_METRICS
from tests.docs.pages import ROOT, commands
from tests.e2e.running.how_to import Reader
from tests.e2e.running.vedette import Vedette
from tests.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
INFER = "curl -s http://127.0.0.1:8080/v2/models/flows/infer -d @.vedette/examples/flows.json"
FIRST = sorted({command for group in GROUPS for command in commands(ROOT / f"docs/how-to/runbooks/{group.page}.md")})


@pytest.fixture(scope="module")
def addresses() -> Iterator[dict[str, str]]:
    """Where the programs listen that are not the server: the page's address -> the one here."""
    renders = {
        "127.0.0.1:8090": OperatorMetrics().render,
        "127.0.0.1:9105": MonitorMetrics(lambda: ([], {})).render,
        "127.0.0.1:9106": MetricsPage(SINK_METRICS, lambda: iter(()), asked=SINK_METRICS).render,
    }
    checks = {"/healthz": lambda: None, "/readyz": lambda: None}
    served = {address: serve_page("127.0.0.1", 0, render, checks) for address, render in renders.items()}
    yield {address: f"127.0.0.1:{port}" for address, (_, port) in served.items()}
    for server, _ in served.values():
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def reader(vedette: Vedette) -> Reader:
    """At a server that has answered, and that the monitor has looked at."""
    reader = Reader(vedette.store.parent, vedette)
    receipt = json.loads(reader.says(INFER))["parameters"]["receipt"]
    log = reader.folder / ".vedette" / "audit"
    until(lambda: any(receipt.encode() in path.read_bytes() for path in log.glob("segment-*.jsonl")), "no record")
    reader.says("vedette monitor --once", ends_with=(0, 1))
    return reader


@pytest.mark.parametrize("command", FIRST)
def test_the_first_command_of_a_runbook(reader: Reader, addresses: dict[str, str], command: str):
    for said, here in addresses.items():
        command = command.replace(said, here)
    assert reader.says(command).strip(), "it says something"
