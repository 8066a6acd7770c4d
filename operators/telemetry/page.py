"""The HTTP page of a program that is no server: /metrics, and /healthz and the like, in a thread of its own."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from operators.telemetry.exposition import CONTENT_TYPE

HealthCheck = Callable[[], str | None]
"""What is wrong, in a few words; None: nothing is."""


def serve_page(
    host: str, port: int, render: Callable[[], bytes], checks: Mapping[str, HealthCheck]
) -> tuple[ThreadingHTTPServer, int]:
    """Serve it; the server to shut down, and its port. render: the text of /metrics. checks: by path, answered 503 if something is
    wrong. Raises OSError."""

    class Page(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            path = self.path.split("?")[0]
            if path == "/metrics":
                self._answer(200, render(), CONTENT_TYPE)
            elif path in checks:
                wrong = checks[path]()
                self._answer(200 if wrong is None else 503, f"{wrong or 'ok'}\n".encode(), "text/plain")
            else:
                self._answer(404, f"there are {', '.join(['/metrics', *checks])}\n".encode(), "text/plain")

        def _answer(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Scrapes are no news."""

    server = ThreadingHTTPServer((host, port), Page)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.2}, name="metrics", daemon=True).start()
    return server, int(server.server_address[1])


@contextmanager
def served_page(host: str, port: int, render: Callable[[], bytes], checks: Mapping[str, HealthCheck]) -> Iterator[int]:
    """As `serve_page` while the block runs; gives the port, which is free again afterwards."""
    server, port = serve_page(host, port, render, checks)
    try:
        yield port
    finally:
        server.shutdown()
        server.server_close()
