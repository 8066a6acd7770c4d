"""One page: counters that are counted, values that are asked for; and the HTTP server around it."""

import os
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from operators.telemetry.exposition import MetricsPage
from operators.telemetry.page import serve_page, served_page
from serving.telemetry.metric_doc import MetricDoc
from tests.docs.pages import ROOT
from tests.waiting import HANG_S

COUNTED = MetricDoc("vedette_a_total", "counter", ("what",), "A.")
PLAIN = MetricDoc("vedette_b_total", "counter", (), "B.")
ASKED = MetricDoc("vedette_c_total", "counter", (), "C.")
GAUGE = MetricDoc("vedette_d", "gauge", ("what",), "D.")
TIMES = MetricDoc("vedette_e_seconds", "histogram", (), "E.")
DOCS = (COUNTED, PLAIN, ASKED, GAUGE, TIMES)


def read():
    yield ASKED, (), 7
    yield GAUGE, ("x",), 0.5


def values(page: MetricsPage) -> dict[str, float]:
    families = text_string_to_metric_families(page.render().decode())
    return {s.name + "".join(f"/{v}" for v in s.labels.values()): s.value for f in families for s in f.samples}


def test_what_is_counted_and_what_is_asked_for():
    page = MetricsPage(DOCS, read, asked=(ASKED,))
    page.count(COUNTED, "x", by=3)
    page.count(PLAIN)
    page.observe(TIMES, 0.25)
    found = values(page)
    assert found["vedette_a_total/x"] == 3
    assert (found["vedette_b_total"], found["vedette_c_total"], found["vedette_d/x"]) == (1, 7, 0.5)
    assert (found["vedette_e_seconds_count"], found["vedette_e_seconds_sum"]) == (1, 0.25)
    assert "process_cpu_seconds_total" in found


def test_a_counter_may_be_shown_before_its_first_event():
    page = MetricsPage(DOCS, read, asked=(ASKED,))
    page.count(COUNTED, "x", by=0)
    assert values(page)["vedette_a_total/x"] == 0


@pytest.fixture
def url():
    wrong = {"/healthz": None, "/readyz": "not yet"}
    server, port = serve_page("127.0.0.1", 0, lambda: b"vedette_a_total 1\n", {p: (lambda p=p: wrong[p]) for p in wrong})
    yield f"http://127.0.0.1:{port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        pytest.param("/metrics?x=1", 200, "vedette_a_total 1\n", id="the metrics"),
        pytest.param("/healthz", 200, "ok\n", id="all is well"),
        pytest.param("/readyz", 503, "not yet\n", id="something is wrong"),
        pytest.param("/", 404, "there are /metrics, /healthz, /readyz\n", id="another path"),
    ],
)
def test_the_page(url, path, status, text):
    try:
        with urllib.request.urlopen(url + path, timeout=HANG_S) as answer:
            found = answer.status, answer.read().decode()
    except urllib.error.HTTPError as problem:
        found = problem.code, problem.read().decode()
    assert found == (status, text)


@pytest.mark.heavy
def test_it_counts_where_the_client_is_told_to_keep_its_numbers_in_files(tmp_path):
    """Feast tells it so when it is imported; the folder may be gone, or not be said to a child, by the time something is counted."""
    program = (
        "import os; import prometheus_client.values, prometheus_client; del os.environ['PROMETHEUS_MULTIPROC_DIR']\n"
        "from operators.handlers.metrics import OperatorMetrics; print(OperatorMetrics().render().decode())"
    )
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    assert 'vedette_operator_looks_total{outcome="failed"} 0.0' in done.stdout


def test_a_page_that_is_no_longer_served_gives_its_port_back(monkeypatch):
    made = []
    monkeypatch.setattr("operators.telemetry.page.serve_page", lambda *words: made.append(serve_page(*words)) or made[-1])
    with served_page("127.0.0.1", 0, lambda: b"", {}) as port:
        assert urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).status == 200
    ((server, _),) = made
    assert server.socket.fileno() == -1
