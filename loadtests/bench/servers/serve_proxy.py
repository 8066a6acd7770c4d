"""Ray Serve as its documentation has it: requests come through Serve's own HTTP and gRPC proxies, everything else by default.

The replica does the same as the bare server, so that only the path of a request differs."""

import os
import signal
import tempfile
import threading
from typing import Any

import ray
from ray import serve
from starlette.requests import Request
from starlette.responses import Response

from loadtests.bench.servers.arguments import parse
from loadtests.bench.servers.bare import answer_json, answer_message, open_session


@serve.deployment(num_replicas=1, max_ongoing_requests=100)
class Bench:
    """One replica; 100 requests at once, so that no client of the benchmark has to queue for a place."""

    def __init__(self, path: str) -> None:
        self.session = open_session(path)

    async def __call__(self, request: Request) -> Response:
        """Answer over HTTP."""
        if request.method == "GET":
            return Response(b"{}", media_type="application/json")
        return Response(answer_json(self.session, await request.body()), media_type="application/json")

    async def ModelInfer(self, request: Any) -> Any:  # noqa: N802  # the protocol's name
        """Answer over gRPC."""
        return answer_message(self.session, request)


def main() -> None:
    """Start Ray and Serve, and stay until SIGTERM."""
    arguments, done = parse(), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    with tempfile.TemporaryDirectory(prefix="vb", ignore_cleanup_errors=True) as folder:
        # num_cpus counts places for actors, it binds no core.
        ray.init(address="local", include_dashboard=False, num_cpus=4, _temp_dir=folder, namespace=f"bench-{os.getpid()}")
        try:
            serve.start(
                http_options={"host": "127.0.0.1", "port": arguments.http_port},
                grpc_options={
                    "port": arguments.grpc_port,
                    "grpc_servicer_functions": ["loadtests.stubs.add_infer_to_server"],
                },
            )
            serve.run(Bench.bind(str(arguments.model)), name="bench", route_prefix="/")  # type: ignore[attr-defined]
            done.wait()
        finally:
            serve.shutdown()
            ray.shutdown()


if __name__ == "__main__":
    # Imported under its own name: what __main__ defines would be pickled by value into the replica.
    from loadtests.bench.servers import serve_proxy  # noqa: PLW0406

    serve_proxy.main()
