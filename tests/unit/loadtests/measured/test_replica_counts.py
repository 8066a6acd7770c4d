"""What replicas count of a load decides whether its times are those of answers, and of answers with features."""

import http.server
import threading
from collections.abc import Callable, Iterator

import pytest

from loadtests.bench.benchmarks import doors, overload
from loadtests.bench.benchmarks.hostile import tls
from loadtests.bench.benchmarks.planning import costs
from loadtests.bench.errors import BenchError
from loadtests.bench.load import replica_counts
from loadtests.bench.load.overload_client import Overloaded
from loadtests.bench.load.replica_counts import read_counts, with_features
from loadtests.bench.load.results import Sample
from loadtests.bench.process import Running


def page(*, ok: int = 0, refused: int = 0, degraded: int = 0, cpu_s: float = 0.0) -> str:
    return (
        f'vedette_requests_total{{model="m",outcome="ok"}} {ok}\nvedette_requests_total{{model="m",outcome="refused"}} {refused}\n'
        f'vedette_degraded_rows_total{{model="m"}} {degraded}\nprocess_cpu_seconds_total{{replica="a"}} {cpu_s}\n'
    )


@pytest.fixture
def serving() -> Iterator[Callable[..., Running]]:
    """A server whose pages of metrics come one after another, the last again and again; by query if it is told so."""
    servers = []

    def made(*pages: str, alone: str | None = None) -> Running:
        left = list(pages)

        class Pages(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                is_alone = alone is not None and self.path == "/metrics?replica=self"
                body = (alone if is_alone else left.pop(0) if len(left) > 1 else left[0]) or ""
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return Running("vedette", 1, server.server_address[1], 0)

    yield made
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("degraded", "is_measured"),
    [
        pytest.param(40, True, id="single reads came too late"),
        pytest.param(100, False, id="reads were given up, and that is quick"),
    ],
)
def test_a_load_is_measured_if_its_answers_have_features(serving, degraded: int, is_measured: bool):
    up = serving(page(ok=50, degraded=7), page(ok=1050, degraded=7 + degraded))
    if is_measured:
        with with_features(up):
            pass
    else:
        with pytest.raises(BenchError, match="100 of 1000 answers of vedette lack features"), with_features(up):
            pass


def test_a_load_over_grpc_whose_calls_fail_is_not_measured(serving, monkeypatch: pytest.MonkeyPatch):
    """h2load sees the status of HTTP, which is 200 for a refused call."""
    monkeypatch.setattr(doors, "load_grpc", lambda *_, **__: Sample(0.1, 0.2, 90_000.0))
    workload = type("Workload", (), {"grpc_body": staticmethod(lambda _: b"")})()

    def cell(*pages: str) -> Sample:
        return doors.cell("grpc", serving(*pages), workload, clients=32, index=0, duration_s=1.0)

    with pytest.raises(BenchError, match="900 of 1000 requests failed, as vedette counted them"):
        cell(page(ok=5), page(ok=105, refused=900))
    assert cell(page(ok=5), page(ok=1005, refused=32)).rate == 90_000.0, "those under way when the load ended"


def test_requests_that_fail_say_nothing_of_what_answers_cost(monkeypatch: pytest.MonkeyPatch):
    up = Running("vedette", 1, 0, 0)

    def cost(after: str) -> float:
        pages = [page(ok=10, cpu_s=1.0), after]
        monkeypatch.setattr(costs, "page_of", lambda _: pages.pop(0))
        return costs.cpu_a_request(up, lambda: None)

    assert cost(page(ok=1010, refused=4, cpu_s=1.5)) == pytest.approx(0.0005)
    with pytest.raises(BenchError, match="1000 of 1100 requests to vedette failed"):
        cost(page(ok=110, refused=1000, cpu_s=1.5))


def test_the_processor_time_of_a_replica_is_not_that_of_the_others_of_its_store(serving):
    up = serving(page(ok=100, cpu_s=9.0), alone=page(ok=100, cpu_s=2.0))
    assert tls.spent(up) == (2.0, 100.0)


def test_nothing_that_was_asked_lacks_nothing():
    assert read_counts("").without_features == 0.0
    assert replica_counts.ReplicaCounts(3, 1, 1).failed == 2


def test_overload_tells_which_share_of_what_was_answered_in_time_lacks_features():
    load = Overloaded(900, 0, 100, 0, 0, 0, 1.0, 2.0, 1.0, 2.0, 1.0, 0.4)
    rows = {row.name: row for row in overload.rows([overload.OverloadFindings(load, load, 1.0, 1.0, 200.0, 201.0, 0.125)])}
    assert rows["overload/3x/without features"].value == 12.5
