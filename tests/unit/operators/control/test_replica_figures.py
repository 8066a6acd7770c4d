"""Pages of replicas as they are shown -> figures: rates, quantiles, breakers, the log, what is away."""

from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web

from operators.backends.exposition import ReplicaPage
from operators.backends.kube import Access, Kube
from operators.control.figures.pages import REPLICA_PODS, metrics_port, named_pages, pod_pages, store_pages
from operators.control.figures.rates import figures_between
from operators.control.figures.scrape import MetricsScrape, read_scrape
from serving.telemetry.metrics import ServingMetrics

AT = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
LATER = AT + timedelta(seconds=10)


def replica(name: str = "r") -> ServingMetrics:
    return ServingMetrics(name, now=lambda: 1_700_000_000.0)


def answer(metrics: ServingMetrics, requests: int, seconds: float = 0.0012, *, verdicts=(1, 0, 2), degraded: int = 0) -> None:
    handle = metrics.for_model("flows", "1", "stable", "http")
    for _ in range(requests):
        handle.answered(
            seconds, len(verdicts), operating_point="siem_alerting", verdicts=verdicts, degraded_rows=degraded,
            feature_s=0.0004, model_s=0.00001, feature_age_ms=4000.0,
        )  # fmt: skip


def scrape(*replicas: ServingMetrics, at: datetime = AT, away: str | None = None) -> MetricsScrape:
    pages = [ReplicaPage("http://a", r.render().decode()) for r in replicas]
    return read_scrape([*pages, *([ReplicaPage("http://b", problem=away)] if away else [])], at)


def test_rates_and_quantiles_are_of_the_time_between_two_looks():
    one = replica()
    answer(one, 500, 1.5)  # before the first look: counts for nothing
    before = scrape(one)
    answer(one, 90, 0.0004)
    answer(one, 10, 0.03, degraded=2)
    found = figures_between(before, scrape(one, at=LATER)).models["flows"]
    assert found.requests_per_s == pytest.approx(10)
    assert found.rows_per_s == pytest.approx(30)
    assert found.alerts_per_s == pytest.approx(20)
    assert found.degraded_ratio == pytest.approx(20 / 300)
    assert found.p50_ms is not None
    assert 0.25 <= found.p50_ms <= 0.5
    assert found.p99_ms is not None
    assert 25 <= found.p99_ms <= 50
    assert found.feature_age_p50_s is not None
    assert 1 <= found.feature_age_p50_s <= 5
    assert found.variants == {"stable": pytest.approx(10)}


def test_the_first_look_knows_no_rate():
    one = replica()
    answer(one, 5)
    found = figures_between(None, scrape(one))
    assert (found.over_s, found.requests_per_s, found.models["flows"].requests_per_s) == (None, None, None)
    assert found.replicas == 1


def test_replicas_add_up_and_one_that_came_meanwhile_waits_for_the_next_look():
    first, second, late = replica("a"), replica("b"), replica("c")
    answer(first, 5)
    before = scrape(first, second)
    answer(first, 10)
    answer(second, 20)
    answer(late, 1000)
    found = figures_between(before, scrape(first, second, late, at=LATER))
    assert found.replicas == 3
    assert found.requests_per_s == pytest.approx(3)


def test_a_page_that_comes_twice_counts_once():
    one = replica()
    before = scrape(one, one)
    answer(one, 10)
    assert figures_between(before, scrape(one, one, at=LATER)).requests_per_s == pytest.approx(1)


def test_breakers_refusals_and_the_log():
    page = (
        'vedette_start_time_seconds{{replica="{0}"}} 1\nvedette_breaker_state{{replica="{0}",dependency="features"}} {1}\n'
        'vedette_refusals_total{{replica="{0}",reason="busy"}} {2}\nvedette_audit_records_total{{replica="{0}",outcome="dropped"}} {3}\n'
        'vedette_audit_signed{{replica="{0}"}} {4}\nvedette_audit_failing{{replica="{0}"}} 0\n'
        'vedette_audit_lag_seconds{{replica="{0}"}} 0.5\n'
        'vedette_monitor_open{{model="flows",severity="major"}} 2\n'
    )
    before = read_scrape([ReplicaPage("x", page.format("a", 0, 5, 0, 1)), ReplicaPage("y", page.format("b", 0, 5, 0, 1))], AT)
    after = read_scrape(
        [ReplicaPage("x", page.format("a", 0, 25, 10, 1)), ReplicaPage("y", page.format("b", 2, 5, 0, 0))], LATER
    )
    found = figures_between(before, after)
    assert found.breakers == {"features": "open"}
    assert found.refusals_per_s == {"busy": pytest.approx(2)}
    assert (found.log.is_signed, found.log.is_failing, found.log.lag_s) == (False, False, 0.5)
    assert found.log.lost_per_s == pytest.approx(1)
    assert found.drift_open == {("flows", "major"): 4}


def test_a_damaged_page_and_odd_values_are_told_and_stop_nothing():
    one = replica()
    odd = 'vedette_refusals_total{replica="r",reason="busy"} NaN\nvedette_requests_total{model="flows"} -4\nother{} x\n'
    found = read_scrape(
        [ReplicaPage("http://a", one.render().decode()), ReplicaPage("http://b", odd), ReplicaPage("c", "vedette_x{\n")], AT
    )
    assert found.replicas == {"r"}
    assert len(found.away) == 1
    assert "not readable" in found.away[0]
    assert all(name != "vedette_refusals_total" for _, name, _ in found.values)


def test_all_replicas_away_is_a_state():
    found = figures_between(scrape(replica()), scrape(at=LATER, away="http://b did not answer"))
    assert (found.replicas, found.requests_per_s, found.away) == (0, None, ("http://b did not answer",))


def test_a_store_without_replicas_and_an_address_without_a_server_say_so(tmp_path):
    (page,) = store_pages(tmp_path)
    assert page.text is None
    assert "vedette up" in (page.problem or "")
    (silent,) = named_pages(["http://127.0.0.1:1"])
    assert silent.text is None
    assert "did not answer" in (silent.problem or "")


async def test_pods_are_asked_through_the_api_server():
    async def listed(request: web.Request) -> web.Response:
        assert request.query["labelSelector"] == REPLICA_PODS
        port = {"name": "serve", "containerPort": 8000}
        pods = [
            {
                "metadata": {"name": name},
                "spec": {"containers": [{"ports": [port]}]},
                "status": {"phase": phase, "podIP": "10.0.0.1"},
            }
            for name, phase in (("up", "Running"), ("closed", "Running"), ("coming", "Pending"))
        ]
        return web.json_response({"items": pods})

    async def proxied(request: web.Request) -> web.Response:
        if request.match_info["pod"] == "up:8000":
            return web.Response(text=replica().render().decode())
        return web.json_response({"message": 'pods "closed" is forbidden'}, status=403)

    app = web.Application()
    app.router.add_get("/api/v1/namespaces/soc/pods", listed)
    app.router.add_get("/api/v1/namespaces/soc/pods/{pod}/proxy/metrics", proxied)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    reached = Access(f"http://127.0.0.1:{runner.addresses[0][1]}", None, lambda: None, None, "soc")
    try:
        async with Kube(reached, manager="test") as kube:
            pages = await pod_pages(kube, "soc")
    finally:
        await runner.cleanup()
    found = read_scrape(pages, AT)
    assert found.replicas == {"r"}
    assert len(found.away) == 1
    assert "closed" in found.away[0]
    assert "--metrics" in found.away[0]


def test_a_pod_without_a_named_port_is_asked_where_replicas_listen():
    assert metrics_port({"spec": {"containers": [{"ports": [{"containerPort": 9}]}]}}) == 8080
