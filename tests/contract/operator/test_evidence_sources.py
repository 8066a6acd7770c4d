"""Every source of evidence tells the same of the same replicas: their own pages, and a Prometheus that scraped them."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from aiohttp import web

from operators.backends.evidence import ReplicaLoad, Scrape, read_samples
from operators.backends.exposition import PageReader
from operators.backends.metrics_pages import MetricsPages
from operators.backends.prometheus import PrometheusEvidence
from operators.ports import ServiceRef
from tests.fakes.operator.metrics_page import CANDIDATE, REFUSED, STABLE, Page, page, refused, served
from tests.fakes.operator.prometheus_server import PROGRAM, PrometheusServer
from tests.waiting import HANG_S, until_so

SERVICE = ServiceRef("soc", "ids", "ids")
MAX_AGE = timedelta(seconds=4)
Read = Callable[[], Awaitable[Scrape]]


@asynccontextmanager
async def direct(session: aiohttp.ClientSession, addresses: list[str]) -> AsyncIterator[Read]:
    pages = MetricsPages(session, timeout_s=1)
    yield lambda: pages.read(SERVICE.model, addresses)


@asynccontextmanager
async def through_prometheus(session: aiohttp.ClientSession, addresses: list[str]) -> AsyncIterator[Read]:
    if PROGRAM is None:
        pytest.skip("prometheus is not installed; `make services` installs it")
    targets = [a.removeprefix("http://") for a in addresses]
    server = await asyncio.to_thread(PrometheusServer, targets, {"namespace": "soc"})
    source = PrometheusEvidence(session, server.url, max_age=MAX_AGE)
    try:
        yield lambda: source.read(SERVICE)
    finally:
        await asyncio.to_thread(server.stop)


async def until(read: Read, holds: Callable[[Scrape], bool]) -> Scrape:
    looks: list[Scrape] = []

    async def is_so() -> bool:
        looks.append(await read())
        return holds(looks[-1])

    await until_so(is_so, lambda: f"the last look was {looks[-1]}", every_s=0.1)
    return looks[-1]


@pytest.fixture(params=[pytest.param(direct, id="pages"), pytest.param(through_prometheus, id="prometheus")])
def source(request):
    return request.param


async def test_both_tell_the_same_and_follow(source):
    began = datetime.now(UTC)
    one, two = Page(page("r1") + refused("r1")), Page(page("r2", 400))
    async with served(one, two) as addresses, aiohttp.ClientSession() as session, source(session, addresses) as read:
        scrape = await until(read, lambda s: len(s.replicas) == 2)
        assert scrape.problem is None
        assert began - MAX_AGE < scrape.at < datetime.now(UTC)
        by_name = {r.replica: r for r in scrape.replicas}
        assert by_name["r1"].tallies[f"stable@{STABLE}"].requests == 900
        assert by_name["r2"].tallies[f"stable@{STABLE}"].requests == 400
        candidate = by_name["r1"].tallies[f"candidate@{CANDIDATE}"]
        assert candidate.pairs == {"benign>benign": 690, "benign>alert": 30}
        assert candidate.scores == {"0.5": 700, "0.9": 20}
        assert sorted(by_name["r1"].loaded) == [STABLE, CANDIDATE]
        assert by_name["r1"].failed == {REFUSED: "no room"}
        assert scrape.traffic["r1"] == ReplicaLoad(
            ongoing=4, answered=900, mirrored=700, taken_s=4.5, late_s=6.5, looks=260, buckets_s={0.01: 900, float("inf"): 900}
        )
        one.text = page("r1", 1000)
        await until(read, lambda s: s.replicas[0].tallies[f"stable@{STABLE}"].requests == 1000)


async def test_a_replica_that_falls_silent_makes_the_look_partial(source):
    one, two = Page(page("r1")), Page(page("r2"))
    async with served(one, two) as addresses, aiohttp.ClientSession() as session, source(session, addresses) as read:
        await until(read, lambda s: len(s.replicas) == 2)
        two.status = 503
        scrape = await until(read, lambda s: len(s.replicas) == 1)
        assert scrape.replicas[0].replica == "r1"
        assert scrape.observation(2).expected_replicas == 2


async def test_nobody_there_is_a_problem_not_an_error(source):
    silent = Page("", 503)
    async with served(silent) as addresses, aiohttp.ClientSession() as session, source(session, addresses) as read:
        scrape = await read()
        assert scrape.replicas == ()
        assert scrape.problem


async def test_credentials_are_read_once_a_look_and_not_on_the_loop():
    asked = []

    def credentials():
        asked.append(threading.get_ident())
        return {"authorization": "Bearer t"}

    async with served(Page(page("r1")), Page(page("r2"))) as addresses, aiohttp.ClientSession() as session:
        scrape = await MetricsPages(session, credentials=credentials).read("ids", addresses)
    assert len(scrape.replicas) == 2
    assert len(asked) == 1
    assert asked[0] != threading.get_ident()


async def test_credentials_that_cannot_be_read_are_a_problem_not_an_error():
    def credentials():
        raise FileNotFoundError("no token")

    async with aiohttp.ClientSession() as session:
        scrape = await MetricsPages(session, credentials=credentials).read("ids", ["http://127.0.0.1:1"])
    assert "no token" in (scrape.problem or "")


async def test_an_address_that_hangs_costs_its_timeout_and_no_more():
    over = asyncio.Event()

    async def hang(_reader, writer):
        await over.wait()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    hanging = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with served(Page(page("r1"))) as addresses, aiohttp.ClientSession() as session:
        pages = MetricsPages(session, timeout_s=0.3)
        async with asyncio.timeout(HANG_S):
            scrape = await until(lambda: pages.read("ids", [hanging, *addresses]), lambda found: bool(found.replicas))
        assert hanging in str(scrape.problem)
        over.set()
    server.close()
    assert [r.replica for r in scrape.replicas] == ["r1"]
    assert "did not answer within 0.3 s" in (scrape.problem or "")


@pytest.mark.parametrize(
    ("page_text", "status", "expected"),
    [
        pytest.param(
            '{"status":"error","errorType":"bad_data","error":"parse error"}', 400, "bad_data: parse error", id="refused"
        ),
        pytest.param("<html>login</html>", 200, "not JSON", id="a login page in between"),
        pytest.param('{"status":"success","data":{"resultType":"vector","result":[]}}', 200, "check its scrape", id="empty"),
    ],
)
async def test_what_prometheus_refuses_is_said(page_text, status, expected):
    async def answer(_: web.Request) -> web.Response:
        kind = "application/json" if page_text.startswith("{") else "text/html"
        return web.Response(text=page_text, status=status, content_type=kind)

    async with answering(answer) as url, aiohttp.ClientSession() as session:
        scrape = await PrometheusEvidence(session, url).read(SERVICE)
    assert expected in (scrape.problem or "")


DAMAGED = [
    pytest.param('vedette_loop_looks_total{replica="r2"} +Inf', "is inf", id="a counter that is infinite"),
    pytest.param('vedette_ongoing_requests{replica="r2"} NaN', "is nan", id="a gauge that is not a number"),
    pytest.param(
        f'vedette_evidence_rows_total{{replica="r2",model="ids",variant="stable",revision="{STABLE}",route="live"}} +Inf',
        "is inf",
        id="evidence that is infinite",
    ),
    pytest.param(
        'vedette_evidence_rows_total{replica="r2",model="ids",route="live"} 4', "variant", id="a label that is missing"
    ),
    pytest.param('vedette_evidence_rows_total{replica="r2",model="ids",route="live"} -4', "-4", id="a counter below zero"),
    pytest.param(
        'vedette_request_seconds_bucket{replica="r2",model="ids",version="1",variant="stable",door="http",stage="total",le="x"} 1',
        "'x'",
        id="a bucket without an edge",
    ),
]


@pytest.mark.parametrize(("line", "said"), DAMAGED)
def test_a_sample_that_cannot_be_counted_leaves_its_replica_out_and_says_so(line, said):
    read = PageReader().read
    scrape = read_samples("ids", [read(text) for text in (page("r1"), page("r2") + line + "\n")], datetime.now(UTC))
    assert [r.replica for r in scrape.replicas] == ["r1"]
    assert set(scrape.traffic) == {"r1"}
    assert "replica r2" in (scrape.problem or "")
    assert said in (scrape.problem or "")


async def test_a_page_that_is_not_readable_leaves_the_others_readable():
    good, bad = Page(page("r1")), Page(page("r2") + "vedette_a{b=\n")
    async with served(good, bad) as addresses, aiohttp.ClientSession() as session:
        scrape = await MetricsPages(session).read("ids", addresses)
    assert [r.replica for r in scrape.replicas] == ["r1"]
    assert "'vedette_a{b='" in (scrape.problem or "")
    assert addresses[1] in (scrape.problem or "")


@asynccontextmanager
async def answering(answer: Callable[[web.Request], Awaitable[web.Response]]) -> AsyncIterator[str]:
    """A server that answers queries as told; its URL."""
    app = web.Application()
    app.router.add_post("/api/v1/query", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(None, id="no data"),
        pytest.param([], id="a list"),
        pytest.param({"resultType": "vector"}, id="no result"),
        pytest.param({"resultType": "vector", "result": [{"value": [1, "2"]}]}, id="a sample without labels"),
        pytest.param({"resultType": "vector", "result": [{"metric": {}, "value": ["now"]}]}, id="a sample without a value"),
        pytest.param({"resultType": "vector", "result": [{"metric": {}, "value": [1, "1e300"]}]}, id="a time beyond all"),
        pytest.param({"resultType": "vector", "result": [{"metric": {}, "value": [1, "NaN"]}]}, id="a time that is none"),
    ],
)
async def test_an_answer_that_is_not_prometheus_own_is_a_problem_not_an_error(data):
    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"status": "success", "data": data})

    async with answering(answer) as url, aiohttp.ClientSession() as session:
        scrape = await PrometheusEvidence(session, url).read(SERVICE)
    assert scrape.replicas == ()
    assert "Prometheus at" in (scrape.problem or "")


async def test_a_token_that_is_renewed_is_used_and_one_that_is_missing_is_said(tmp_path):
    sent = []

    async def answer(request: web.Request) -> web.Response:
        sent.append(request.headers.get("Authorization"))
        return web.json_response({"status": "success", "data": {"resultType": "vector", "result": []}})

    token = tmp_path / "token"
    async with answering(answer) as url, aiohttp.ClientSession() as session:
        source = PrometheusEvidence(session, url, token_file=token)
        for text in ("first\n", "second\n"):
            token.write_text(text)
            await source.read(SERVICE)
        token.unlink()
        scrape = await source.read(SERVICE)
    assert list(dict.fromkeys(sent)) == ["Bearer first", "Bearer second"]
    assert str(token) in (scrape.problem or "")


async def test_series_of_replicas_that_are_gone_are_forgotten():
    now = datetime.now(UTC)
    async with served(*(Page(page(f"r{i}")) for i in range(4))) as addresses, aiohttp.ClientSession() as session:
        pages = MetricsPages(session, now=lambda: now)
        await pages.read("ids", addresses)
        assert pages.remembered == 4
        now += timedelta(hours=1)
        await pages.read("ids", addresses[:1])
    assert pages.remembered == 1
