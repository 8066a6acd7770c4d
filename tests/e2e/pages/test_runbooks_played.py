"""The first command of every runbook is typed: at the shared server, and at pages of an operator, a monitor and sinks in this process."""

import json
import shutil
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
    """At a server that has answered, that the monitor has looked at, and whose first alert somebody labelled."""
    reader = Reader(vedette.store.parent, vedette)
    receipt = json.loads(reader.says(INFER))["parameters"]["receipt"]
    log = reader.folder / ".vedette" / "audit"
    until(lambda: any(receipt.encode() in path.read_bytes() for path in log.glob("segment-*.jsonl")), "no record")
    states = reader.folder / ".vedette" / "monitoring" / "states"
    looked = lambda: (reader.says("vedette monitor --once", ends_with=(0, 1)), (states / "flows.json").exists())[1]  # noqa: E731
    until(looked, "the monitor has no state", every_s=0.2)
    reader.says(f"vedette label give {receipt}#0 --verdict attack --by ada")
    return reader


@pytest.fixture(scope="module")
def rolling(vedette: Vedette, tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """In a copy of the store with a rollout, which nobody carries out: the shared server keeps its models."""
    folder = tmp_path_factory.mktemp("rolling")
    shutil.copytree(
        vedette.store, folder / ".vedette", ignore=shutil.ignore_patterns("audit", "control", "replicas", "monitoring")
    )
    reader = Reader(folder)
    reader.says("vedette rollout start flows --version 1")
    return reader


@pytest.mark.parametrize("command", FIRST)
def test_the_first_command_of_a_runbook(reader: Reader, rolling: Reader, addresses: dict[str, str], command: str):
    for said, here in addresses.items():
        command = command.replace(said, here)
    asked = rolling if command.startswith("vedette rollout") else reader
    assert asked.says(command).strip(), "it says something"
