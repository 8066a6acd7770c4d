"""The operator's own HTTP page: /healthz, /readyz, /metrics. Says what it is told; no cluster."""

from collections.abc import Callable

from aiohttp import web

from operators.handlers.metrics import CONTENT_TYPE


async def serve(
    host: str, port: int, *, render: Callable[[], bytes], is_alive: Callable[[], bool], is_ready: Callable[[], bool]
) -> tuple[web.AppRunner, int]:
    """Start it; the runner to clean up, and the port. is_alive: false makes Kubernetes restart the pod. is_ready: watching."""

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n") if is_alive() else web.Response(status=503, text="a loop of the operator has ended\n")

    async def readyz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n") if is_ready() else web.Response(status=503, text="not watching yet\n")

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=render(), headers={"Content-Type": CONTENT_TYPE})

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    await site.start()
    return runner, runner.addresses[0][1]
