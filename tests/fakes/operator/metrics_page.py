"""A replica's page of metrics as its contract says, with known numbers; and a server for such pages."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

STABLE = "sha256:" + "a" * 64
REFUSED = "sha256:" + "c" * 64
CANDIDATE = "sha256:" + "b" * 64


def page(replica: str, requests: int = 900, *, model: str = "ids") -> str:
    """One replica with a stable that answered `requests`, and a candidate."""
    who = f'replica="{replica}",model="{model}"'
    stable, candidate = f'{who},variant="stable",revision="{STABLE}"', f'{who},variant="candidate",revision="{CANDIDATE}"'
    pairs = f'{candidate},against="{STABLE}"'
    return f"""# HELP vedette_evidence_requests_total Requests of the split.
# TYPE vedette_evidence_requests_total counter
vedette_evidence_requests_total{{{stable},route="live"}} {requests}.0
vedette_evidence_requests_total{{{candidate},route="live"}} 100.0
vedette_evidence_requests_total{{{candidate},route="mirror"}} 700.0
vedette_evidence_rows_total{{{stable},route="live"}} 950.0
vedette_evidence_rows_total{{{candidate},route="live"}} 100.0
vedette_evidence_rows_total{{{candidate},route="mirror"}} 720.0
vedette_evidence_bad_total{{{stable},route="live",gate="errors"}} 3.0
vedette_evidence_bad_total{{{stable},route="live",gate="latency"}} 5.0
vedette_evidence_bad_total{{{stable},route="live",gate="alertRate"}} 40.0
vedette_evidence_bad_total{{{candidate},route="mirror",gate="latency"}} 7.0
vedette_evidence_entities_total{{{stable}}} 80.0
vedette_evidence_entities_bad_total{{{stable},gate="errors"}} 1.0
vedette_evidence_pairs_total{{{pairs},reference="benign",candidate="benign"}} 690.0
vedette_evidence_pairs_total{{{pairs},reference="benign",candidate="alert"}} 30.0
vedette_evidence_score_bins_total{{{candidate},le="0.5"}} 700.0
vedette_evidence_score_bins_total{{{candidate},le="0.9"}} 20.0
vedette_evidence_segment_rows_total{{{stable},unit="live",segment="unit=hr"}} 40.0
vedette_evidence_segment_rows_total{{{stable},unit="entity",segment="unit=hr"}} 9.0
vedette_evidence_segment_rows_total{{{candidate},unit="mirror",segment="unit=hr"}} 30.0
vedette_evidence_segment_rows_total{{{candidate},unit="novel",segment="unit=hr"}} 30.0
vedette_evidence_segment_alerts_total{{{stable},unit="live",segment="unit=hr"}} 4.0
vedette_evidence_segment_alerts_total{{{stable},unit="entity",segment="unit=hr"}} 1.0
vedette_evidence_segment_alerts_total{{{candidate},unit="mirror",segment="unit=hr"}} 3.0
vedette_model_info{{{who},version="1",variant="stable",bundle="x",revision="{STABLE}"}} 1.0
vedette_model_info{{{who},version="2",variant="candidate",bundle="y",revision="{CANDIDATE}"}} 1.0
vedette_ongoing_requests{{replica="{replica}"}} 4.0
vedette_loop_late_seconds_total{{replica="{replica}"}} 6.5
vedette_loop_looks_total{{replica="{replica}"}} 260.0
vedette_requests_total{{{who},version="1",variant="stable",door="http",outcome="ok"}} {requests}.0
vedette_request_seconds_bucket{{{who},version="1",variant="stable",door="http",stage="total",le="0.01"}} {requests}.0
vedette_request_seconds_bucket{{{who},version="1",variant="stable",door="http",stage="total",le="+Inf"}} {requests}.0
vedette_request_seconds_bucket{{{who},version="1",variant="stable",door="http",stage="model",le="+Inf"}} {requests}.0
vedette_request_seconds_sum{{{who},version="1",variant="stable",door="http",stage="total"}} 4.5
vedette_start_time_seconds{{replica="{replica}"}} 1767225600.0
process_open_fds{{replica="{replica}"}} 12.0
"""


def refused(replica: str, *, model: str = "ids") -> str:
    """A line of a replica that could not load a revision."""
    who = f'replica="{replica}",model="{model}",version="3",variant="other",revision="{REFUSED}"'
    return f'vedette_model_failed{{{who},reason="no room"}} 1.0\n'


class Page:
    """What a `/metrics` answers; change `text` or `status` while it is served. asked: how often it was."""

    def __init__(self, text: str, status: int = 200) -> None:
        self.text, self.status, self.address, self.asked = text, status, "", 0


@asynccontextmanager
async def served(*pages: Page) -> AsyncIterator[list[str]]:
    """Serve each page on a loopback port of its own; their addresses."""
    runners, addresses = [], []
    for one in pages:

        async def answer(_: web.Request, one: Page = one) -> web.Response:
            one.asked += 1
            return web.Response(text=one.text, status=one.status, headers={"Content-Type": "text/plain; version=0.0.4"})

        app = web.Application()
        app.router.add_get("/metrics", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        runners.append(runner)
        one.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
        addresses.append(one.address)
    try:
        yield addresses
    finally:
        for runner in runners:
            await runner.cleanup()
