"""The operator's own HTTP page: /healthz, /readyz, /metrics. Reads its answers from callbacks; knows no cluster."""

from collections.abc import Callable
from typing import Final

from aiohttp import web

from operators.telemetry.exposition import CONTENT_TYPE

STOP_S: Final = 1.0
"""How long a request under way may take when the operator ends."""


async def serve(
    host: str, port: int, *, render: Callable[[], bytes], is_alive: Callable[[], bool], problem: Callable[[], str | None]
) -> tuple[web.AppRunner, int]:
    """Start it; the runner to clean up, and the port.

    is_alive: false makes Kubernetes restart the pod. problem: why it is not ready; None: it is."""

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n") if is_alive() else web.Response(status=503, text="a loop of the operator has ended\n")

    async def readyz(_: web.Request) -> web.Response:
        why = problem()
        return web.Response(text="ok\n") if why is None else web.Response(status=503, text=f"not watching: {why}\n")

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=render(), headers={"Content-Type": CONTENT_TYPE})

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=STOP_S)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    await site.start()
    return runner, runner.addresses[0][1]
