"""Far ends of sinks as small real HTTP servers, which answer as the products' manuals say."""

import contextlib
import gzip
import json
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, dict[str, str], bytes] | str
"""Status, headers, body; or what goes wrong: `hang up`, `hang up in mid-body`, `slow`."""


def json_reply(status: int, said: Any, **headers: str) -> Reply:
    return (
        status,
        {"content-type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}},
        json.dumps(said).encode(),
    )


class HttpReceiver:
    """Answers by `script` while it lasts, then by `answer`. Counts connections. To be stopped, and started again on its port."""

    tls: ssl.SSLContext | None = None
    """Set before `start`: it speaks TLS."""

    def __init__(self) -> None:
        self.script: list[Reply] = []
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.connections = 0
        self.released = threading.Event()
        """Set: slow answers come."""
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> Reply:
        return 200, {}, b""

    def start(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 60
            disable_nagle_algorithm = True

            def setup(self) -> None:
                with receiver._lock:
                    receiver.connections += 1
                super().setup()

            def do_POST(self) -> None:
                receiver._handle(self)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def process_request(self, request: Any, client_address: Any) -> None:
                receiver._sockets.add(request)
                super().process_request(request, client_address)

            def handle_error(self, *_: object) -> None:
                """Hanging up is on purpose."""

        self._sockets: set[Any] = set()
        self._server = Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        if self.tls is not None:
            self._server.socket = self.tls.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        """No one listens any more, and open connections break."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
            for one in self._sockets:
                with contextlib.suppress(OSError):
                    one.shutdown(2)

    def _handle(self, request: BaseHTTPRequestHandler) -> None:
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = request.rfile.read(int(headers.get("content-length", "0")))
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        with self._lock:
            self.requests.append((request.path, headers, body))
            reply = self.script.pop(0) if self.script else self.answer(request.path, headers, body)
        if reply == "slow":
            self.released.wait(60)
            reply = (200, {}, b"")
        if reply == "hang up":
            request.close_connection = True
            request.connection.shutdown(2)
            return
        if reply == "hang up in mid-body":
            with self._lock:
                self.answer(request.path, headers, body)  # it has what it was sent; the answer is lost
            request.send_response(200)
            request.send_header("content-length", "1000")
            request.end_headers()
            request.wfile.write(b'{"half": ')
            request.wfile.flush()
            request.close_connection = True
            request.connection.shutdown(2)
            return
        assert not isinstance(reply, str)
        status, more, text = reply
        request.send_response(status)
        for name, value in more.items():
            request.send_header(name, value)
        request.send_header("content-length", str(len(text)))
        request.end_headers()
        request.wfile.write(text)


class WebhookReceiver(HttpReceiver):
    """Keeps each alert once by its Idempotency-Key, in the order of arrival."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, Any]] = {}
        self.headers: dict[str, dict[str, str]] = {}
        self.bodies: dict[str, bytes] = {}
        super().__init__()

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> Reply:
        key = headers["idempotency-key"]
        self.headers[key], self.bodies[key] = headers, body
        self.kept.setdefault(key, json.loads(body))
        return json_reply(202, {"ok": True})


class SplunkReceiver(HttpReceiver):
    """Splunk's HTTP Event Collector. has_acks: the token has indexer acknowledgement. indexes: whether asked-for acks are confirmed."""

    def __init__(self, token: str = "t0ken", *, has_acks: bool = False) -> None:
        self.token, self.has_acks = token, has_acks
        self.events: list[dict[str, Any]] = []
        self.indexes: Callable[[int], bool] = lambda ack: True
        self.bad: Callable[[dict[str, Any]], bool] = lambda event: False
        self.acks = 0
        super().__init__()

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> Reply:
        if headers.get("authorization") != f"Splunk {self.token}":
            return json_reply(403, {"text": "Invalid token", "code": 4})
        if self.has_acks and "x-splunk-request-channel" not in headers:
            return json_reply(400, {"text": "Data channel is missing", "code": 10})
        if path.startswith("/services/collector/ack"):
            return json_reply(200, {"acks": {str(ack): self.indexes(ack) for ack in json.loads(body)["acks"]}})
        assert path == "/services/collector/event"
        events, rest, decoder = [], body.decode(), json.JSONDecoder()
        while rest := rest.strip():
            event, end = decoder.raw_decode(rest)
            events.append(event)
            rest = rest[end:]
        if not events:
            return json_reply(400, {"text": "No data", "code": 5})
        for number, event in enumerate(events):
            if self.bad(event):
                return json_reply(400, {"text": "Invalid data format", "code": 6, "invalid-event-number": number})
        self.events += events
        self.acks += 1
        return json_reply(200, {"text": "Success", "code": 0, **({"ackId": self.acks - 1} if self.has_acks else {})})


class ElasticsearchReceiver(HttpReceiver):
    """Elasticsearch's bulk API. judge: status and reason of a document, None where it is taken."""

    def __init__(self) -> None:
        self.documents: dict[str, dict[str, Any]] = {}
        self.judge: Callable[[str, dict[str, Any]], tuple[int, str] | None] = lambda name, document: None
        super().__init__()

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> Reply:
        assert (path, headers["content-type"]) == ("/_bulk", "application/x-ndjson")
        assert body.endswith(b"\n")
        lines = body.decode().splitlines()
        items = []
        for action, text in zip(lines[::2], lines[1::2], strict=True):
            name, document = json.loads(action)["create"]["_id"], json.loads(text)
            verdict = self.judge(name, document)
            if verdict is not None:
                items.append({"create": {"_id": name, "status": verdict[0], "error": {"type": "x", "reason": verdict[1]}}})
            elif name in self.documents:
                items.append(
                    {
                        "create": {
                            "_id": name,
                            "status": 409,
                            "error": {"type": "version_conflict_engine_exception", "reason": "exists"},
                        }
                    }
                )
            else:
                self.documents[name] = document
                items.append({"create": {"_id": name, "status": 201, "result": "created"}})
        return json_reply(200, {"took": 1, "errors": any("error" in item["create"] for item in items), "items": items})
