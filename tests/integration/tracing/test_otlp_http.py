"""How bytes of spans travel: the variables of OpenTelemetry's exporters, TLS, proxies, a kept connection, and what is tried again."""

import gzip
import ssl
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from serving.telemetry.tracing.otlp_http import OtlpHttp
from tests.fakes.certificates import write_certificate
from tests.waiting import HANG_S

pytestmark = pytest.mark.integration
OK = (200, {})


class Far:
    """A collector or proxy that answers as it is told, and then with 200. requests: (path, headers, body) each."""

    def __init__(self, *answers, context=None):
        self.answers, self.requests, self.connections = list(answers), [], 0
        far = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                far.connections += 1
                super().setup()

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                far.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
                status, headers = far.answers.pop(0) if far.answers else OK
                if status is None:
                    self.close_connection = True
                    return
                self.send_response(status)
                for name, value in {"content-length": "0", **headers}.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_): ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if context is not None:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.url = f"http{'s' if context else ''}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self._thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()


@pytest.fixture
def far():
    opened = []

    def start(*answers, **how):
        opened.append(Far(*answers, **how))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


def sender(far, timeout_s=HANG_S, **environ):
    return OtlpHttp(far.url, timeout_s, environ)


def test_what_is_sent_over_one_connection(far):
    collector = far()
    one = sender(collector, OTEL_EXPORTER_OTLP_HEADERS="x-tenant=blue,authorization=Bearer%20abc")
    assert [one.send(b"first"), one.send(b"second")] == [True, True]
    one.disconnect()
    (path, headers, body), (_, _, second) = collector.requests
    assert (path, body, second, collector.connections) == ("/v1/traces", b"first", b"second", 1)
    assert headers["content-type"] == "application/x-protobuf"
    assert (headers["x-tenant"], headers["authorization"]) == ("blue", "Bearer abc")


@pytest.mark.parametrize(("name", "unpack"), [("gzip", gzip.decompress), ("deflate", zlib.decompress), ("none", bytes)])
def test_compression(far, name, unpack):
    collector = far()
    one = sender(collector, OTEL_EXPORTER_OTLP_COMPRESSION="none", OTEL_EXPORTER_OTLP_TRACES_COMPRESSION=name)
    assert one.send(b"spans" * 100)
    one.disconnect()
    ((_, headers, body),) = collector.requests
    assert unpack(body) == b"spans" * 100
    assert headers.get("content-encoding") == (None if name == "none" else name)


@pytest.mark.parametrize(
    ("answers", "is_taken", "asked"),
    [
        pytest.param([(503, {"retry-after": "0"}), (429, {"retry-after": "0"}), OK], True, 3, id="it asks for another attempt"),
        pytest.param([(400, {}), OK], False, 1, id="it refuses these"),
        pytest.param([(301, {"location": "http://127.0.0.1:1/"})], False, 1, id="it sends elsewhere"),
        pytest.param([(503, {"retry-after": "3600"})], False, 1, id="later than the time allows"),
        pytest.param([(503, {"retry-after": "Mon, 01 Jan 1990 00:00:00 GMT"}), OK], True, 2, id="a date that is over"),
    ],
)
def test_what_is_tried_again(far, answers, is_taken, asked):
    collector = far(*answers)
    one = sender(collector)
    assert one.send(b"spans") is is_taken
    one.disconnect()
    assert len(collector.requests) == asked


def test_a_collector_that_wants_no_wait_is_not_asked_without_end(far):
    collector = far(*[(503, {"retry-after": "0"})] * 10_000)
    one = sender(collector, timeout_s=0.5)
    assert not one.send(b"spans")
    one.disconnect()
    assert len(collector.requests) <= 6


def test_a_kept_connection_that_the_collector_has_closed_is_opened_again_at_once(far):
    collector = far(OK, (None, {}), OK)
    one = sender(collector)
    assert [one.send(b"first"), one.send(b"second")] == [True, True]
    one.disconnect()
    assert collector.connections == 2


def test_a_long_answer_costs_its_connection_only(far):
    collector = far((200, {"content-length": "1000000"}))
    one = sender(collector, timeout_s=0.2)
    assert one.send(b"first") in (True, False)
    one._timeout_s = HANG_S  # the collector answers this one, however busy the machine is
    assert one.send(b"second")
    one.disconnect()


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "ftp://127.0.0.1", "http://", "127.0.0.1:4318", "https://127.0.0.1:1"])
def test_a_collector_that_cannot_be_asked_is_no_error(url):
    assert not OtlpHttp(url, 0.05, {}).send(b"spans")


@pytest.mark.parametrize("who", ["me:hidden@", "hidden@", ":hidden@"])
def test_a_secret_in_the_url_is_refused_and_not_repeated(who):
    with pytest.raises(ValueError, match="OTEL_EXPORTER_OTLP_HEADERS") as refusal:
        OtlpHttp(f"https://{who}collector.example:4318", 1.0, {})
    assert "hidden" not in str(refusal.value)


def test_a_proxy_for_all_protocols_is_not_used(far, monkeypatch):
    proxy, collector = far(), far()
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("all_proxy", f"http://127.0.0.1:{proxy.port}")
    one = sender(collector)
    assert one.send(b"spans")
    one.disconnect()
    assert (len(proxy.requests), len(collector.requests)) == (0, 1)


def test_an_end_breaks_off_the_wait_for_another_attempt(far):
    collector = far(*[(503, {"retry-after": "3000"})])
    one = sender(collector, timeout_s=3600.0)
    one.close()
    assert not one.send(b"spans")
    one.disconnect()


def test_tls_with_the_files_of_the_variables(far, tmp_path):
    write_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
    context.load_verify_locations(tmp_path / "tls.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    collector = far(context=context)
    ca = {"OTEL_EXPORTER_OTLP_CERTIFICATE": str(tmp_path / "tls.crt")}
    own = {"CLIENT_CERTIFICATE": str(tmp_path / "tls.crt"), "CLIENT_KEY": str(tmp_path / "tls.key")}
    named = {f"OTEL_EXPORTER_OTLP_TRACES_{name}": value for name, value in own.items()}
    for environ, is_taken in (({}, False), (named, False), (ca, False), (ca | named, True)):
        one = sender(collector, timeout_s=0.5 if not is_taken else HANG_S, **environ)
        assert one.send(b"spans") is is_taken, environ
        one.disconnect()
    missing = sender(collector, timeout_s=0.1, **(ca | {"OTEL_EXPORTER_OTLP_CERTIFICATE": str(tmp_path / "gone.crt")}))
    assert not missing.send(b"spans"), "a file that is gone costs spans and nothing else"


def test_a_proxy_of_the_environment(far, monkeypatch):
    proxy, collector = far(), far()
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", f"http://me:pass%20word@127.0.0.1:{proxy.port}")
    one = OtlpHttp("http://collector.example:4318", HANG_S, {})
    assert one.send(b"spans")
    one.disconnect()
    ((path, headers, _),) = proxy.requests
    assert (path, headers["proxy-authorization"]) == ("http://collector.example:4318/v1/traces", "Basic bWU6cGFzcyB3b3Jk")
    for number, bypassed in enumerate(("127.0.0.1", "example.org, 127.0.0.0/8"), start=1):
        monkeypatch.setenv("no_proxy", bypassed)
        direct = sender(collector)
        assert direct.send(b"spans")
        direct.disconnect()
        assert (len(proxy.requests), len(collector.requests)) == (1, number)
