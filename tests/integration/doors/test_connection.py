"""One connection on a real socket: order, limits, slow and vanishing clients. The application is the smallest there can be."""

import asyncio
import itertools
import socket
import struct
import threading
import time
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from serving.doors.http import server
from serving.doors.http.connection import HALF_CLOSE_S
from serving.doors.http.reply import Reply
from serving.doors.listener import HttpListener
from serving.errors import Overloaded
from tests import laws
from tests.waiting import HANG_S, until

LIMIT = 200_000
BIG = 4_000_000


class Application:
    """`/now` answers at once, `/later` after two turns of the loop, `/slow` when `release` is set, `/big` with BIG bytes, `/fail`
    not at all. The answer is what was asked."""

    max_body_bytes = LIMIT
    body_timeout_s = 30.0

    def __init__(self):
        self.release, self.is_full = asyncio.Event(), False
        self.begun, self.cancelled, self.most_at_once, self._now = 0, 0, 0, 0

    def admit_head(self, method, url):
        return Overloaded("full", retry_after_s=2) if self.is_full else None

    async def respond(self, method, raw_path, query, headers, body):
        self.begun, self._now = self.begun + 1, self._now + 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            if raw_path == b"/later":
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            elif raw_path == b"/slow":
                await self.release.wait()
            elif raw_path == b"/big":
                return Reply(b"x" * BIG)
            elif raw_path == b"/fail":
                raise ZeroDivisionError("a defect")
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self._now -= 1
        return Reply(b"%b %b?%b %b" % (method.encode(), raw_path, query, body))


class Client:
    """A socket, and answers read off it one by one."""

    def __init__(self, port, **options):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=HANG_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._left = b""

    def send(self, *pieces):
        for piece in pieces:
            self.socket.sendall(piece)
        return self

    def until(self, mark):
        while mark not in self._left:
            part = self.socket.recv(1 << 16)
            if not part:
                raise EOFError(self._left)
            self._left += part
        found, _, self._left = self._left.partition(mark)
        return found

    def answer(self, method="GET"):
        """Status, headers in one lower-case text, body."""
        head = self.until(b"\r\n\r\n").decode().lower()
        length = int(head.split("content-length: ")[1].split("\r\n")[0])
        while method != "HEAD" and len(self._left) < length:
            part = self.socket.recv(1 << 20)
            if not part:
                raise EOFError(self._left)
            self._left += part
        length = 0 if method == "HEAD" else length
        body, self._left = self._left[:length], self._left[length:]
        return int(head.split()[1]), head, body

    def is_closed(self):
        self.socket.settimeout(HANG_S)
        try:
            return self._left == b"" and self.socket.recv(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def get(path="/now", version="1.1", headers=b""):
    return b"GET %b HTTP/%b\r\nhost: x\r\n%b\r\n" % (path.encode(), version.encode(), headers)


def post(body, path="/now", headers=b"", length=None):
    head = b"POST %b HTTP/1.1\r\nhost: x\r\n%bcontent-length: %d\r\n\r\n"
    return head % (path.encode(), headers, len(body) if length is None else length) + body


@contextmanager
def opened(**limits):
    application = Application()
    listener = HttpListener(application, **limits)
    application.port = listener.start()
    application.listener, application.loop = listener, listener._thread.loop
    try:
        yield application
    finally:
        if listener._thread is not None:
            application.loop.call_soon_threadsafe(application.release.set)
            listener.stop(1)


@pytest.fixture(scope="module")
def served():
    with opened() as application:
        yield application


@pytest.fixture
def client(served):
    served.is_full = False
    served.release.clear()
    opened_client = Client(served.port)
    yield opened_client
    opened_client.socket.close()


def test_pipelined_requests_are_answered_in_order_and_one_at_a_time(client, served):
    served.most_at_once = 0
    paths = ["/now", "/later", "/now?a=1", "/later", "/later?b", "/now"]
    client.send(b"".join(get(path) for path in paths))
    expected = [f"GET {path if '?' in path else path + '?'} ".encode() for path in paths]
    assert [client.answer()[2] for _ in paths] == expected
    assert served.most_at_once == 1


def test_thousands_of_pipelined_requests(client):
    count = 6000
    sending = threading.Thread(
        target=client.send, args=(b"".join(post(b"%d" % n, "/now" if n % 7 else "/later") for n in range(count)),)
    )
    sending.start()
    for n in range(count):
        assert client.answer()[2].split()[-1] == b"%d" % n
    sending.join()


PIPELINE = [
    get("/now?first"),
    post(b"abc"),
    post(b"x" * 300, "/later"),
    b"POST /later HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nx-t: 1\r\n\r\n",
    get("/later"),
    post(b"y" * 20_000),
    b"GET /now HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
    post(b"java", "/later", b"connection: upgrade\r\nupgrade: h2c\r\n"),
]
BODIES = [b"GET /now?first ", b"POST /now? abc", b"POST /later? " + b"x" * 300, b"POST /later? abcde", b"GET /later? "]
BODIES += [b"POST /now? " + b"y" * 20_000, b"GET /now? ", b"POST /later? java"]


@given(st.permutations(range(len(PIPELINE))), st.lists(st.integers(0, 21_500), max_size=10), st.booleans())
@laws.examples(60)
def test_wherever_the_bytes_are_cut_the_answers_are_the_same(served, order, cuts, is_paced):
    client = Client(served.port)
    wire = b"".join(PIPELINE[n] for n in order)
    places = [0, *sorted(cuts), len(wire)]
    for a, b in itertools.pairwise(places):
        client.send(wire[a:b])
        if is_paced:
            time.sleep(0.0005)
    assert [client.answer()[2] for _ in order] == [BODIES[n] for n in order]
    client.socket.close()


@given(st.lists(st.one_of(st.binary(max_size=200), st.sampled_from(PIPELINE)), max_size=6), st.booleans())
@laws.examples(100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_garbage_wedges_nothing(served, caplog, pieces, is_half_closed):
    client = Client(served.port)
    try:
        client.send(*pieces)
        if is_half_closed:
            client.socket.shutdown(socket.SHUT_WR)
            while client.socket.recv(1 << 16):
                pass
    except ConnectionError:
        pass  # it has closed on us; a time-out would mean that it waits for nothing
    client.socket.close()
    assert Client(served.port).send(get()).answer()[0] == 200
    assert not caplog.records


@pytest.mark.parametrize(
    ("request_bytes", "says", "is_kept"),
    [
        pytest.param(get(), None, True, id="HTTP/1.1"),
        pytest.param(get(headers=b"connection: close\r\n"), "close", False, id="HTTP/1.1 that closes"),
        pytest.param(get(version="1.0"), "close", False, id="HTTP/1.0"),
        pytest.param(get(version="1.0", headers=b"connection: keep-alive\r\n"), "keep-alive", True, id="HTTP/1.0 that is kept"),
    ],
)
@pytest.mark.parametrize("path", ["/now", "/later"])
def test_whether_a_connection_is_kept(client, request_bytes, says, is_kept, path):
    client.send(request_bytes.replace(b"/now", path.encode()))
    status, head, _ = client.answer()
    assert status == 200
    assert (f"connection: {says}" in head) if says else ("connection:" not in head)
    if is_kept:
        assert client.send(get()).answer()[0] == 200
    else:
        assert client.is_closed()


def test_a_head_request(client):
    status, head, _ = client.send(b"HEAD /big HTTP/1.1\r\nhost: x\r\n\r\n").answer("HEAD")
    assert (status, f"content-length: {BIG}" in head) == (200, True)
    assert client.send(get()).answer()[2] == b"GET /now? ", "nothing of a body was sent"


def test_a_url_in_absolute_form_and_with_a_fragment(client):
    assert client.send(get("http://host:80/now?q#f")).answer()[2] == b"GET /now?q "
    assert client.send(get("/now#f")).answer()[2] == b"GET /now? "
    assert client.send(get("http://[/now")).answer()[0] == 200


def test_a_client_that_asks_first_is_told_to_go_on(client):
    client.send(post(b"", "/later"), post(b"", length=3, headers=b"expect: 100-continue\r\n"))
    client.answer()
    assert client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue"
    assert client.send(b"abc").answer()[2] == b"POST /now? abc"


def test_a_defect_of_the_application_is_answered(client, caplog):
    assert client.send(get("/fail")).answer()[0] == 500
    assert "ZeroDivisionError" in caplog.text
    assert client.send(get()).answer()[0] == 200


@pytest.mark.parametrize("has_asked_first", [False, True])
def test_who_is_refused_at_the_head_may_ask_again_on_the_same_connection(client, served, has_asked_first):
    served.is_full, begun = True, served.begun
    client.send(post(b"x" * 100_000))
    status, head, body = client.answer()
    assert (status, "retry-after: 2" in head, body) == (429, True, b'{"error":"full"}')
    if has_asked_first:
        client.send(post(b"", length=5, headers=b"expect: 100-continue\r\n"))
        assert client.answer()[0] == 429
        assert client.is_closed()
        return
    assert served.begun == begun, "the application was not asked"
    served.is_full = False
    assert client.send(post(b"abc")).answer()[2] == b"POST /now? abc"


def test_a_body_too_large_is_refused_and_the_connection_stays(client):
    assert client.send(post(b"x" * (LIMIT + 1))).answer()[0] == 413
    assert client.send(post(b"x" * LIMIT)).answer()[0] == 200


def test_a_websocket_is_refused(client):
    client.send(get(headers=b"connection: upgrade\r\nupgrade: websocket\r\n") + b"\x81\x05hello")
    assert client.answer()[0] == 501
    assert client.is_closed()


def test_a_client_that_half_closes_gets_its_answers(served):
    client = Client(served.port)
    client.send(get() + get("/later") + post(b"x" * 9000, "/later") + get())
    client.socket.shutdown(socket.SHUT_WR)
    assert [client.answer()[0] for _ in range(4)] == [200] * 4
    assert client.is_closed()


def test_a_client_that_half_closes_gets_a_big_answer_it_reads_slowly(served):
    client = Client(served.port)
    client.send(get("/big") + get("/big"))
    client.socket.shutdown(socket.SHUT_WR)
    assert [len(client.answer()[2]) for _ in range(2)] == [BIG, BIG]
    assert client.is_closed()


@pytest.mark.parametrize("way", ["reset", "closed"])
def test_a_client_that_leaves_cancels_its_request(client, served, way):
    cancelled, begun = served.cancelled, served.begun
    client.send(get("/slow") + get())
    until(lambda: served.begun > begun)
    time.sleep(2 * HALF_CLOSE_S)  # who ends sooner is taken to have asked all it wants, and gets its answers
    client.reset() if way == "reset" else client.socket.close()
    until(lambda: served.cancelled == cancelled + 1)
    assert served.begun == begun + 1, "what was pipelined behind it is not begun"


def test_a_client_that_does_not_read_holds_nothing_but_its_own_answers_up(monkeypatch):
    monkeypatch.setattr(server, "WRITE_TIMEOUT_S", 0.4)
    with opened() as served:
        client = Client(served.port)
        client.send(get("/big") * 50)
        until(lambda: served.begun > 0)
        time.sleep(0.1)
        assert served.begun < 5, "the next is answered when the one before has left"
        assert Client(served.port).send(get()).answer()[0] == 200
        until(lambda: served.listener._server.connections <= 1)


def test_a_client_that_reads_slowly_is_not_dropped(monkeypatch):
    monkeypatch.setattr(server, "WRITE_TIMEOUT_S", 0.2)
    with opened() as served:
        client = Client(served.port)
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.send(get("/big", headers=b"connection: close\r\n"))
        size = 0
        while part := client.socket.recv(60_000):
            size += len(part)
            time.sleep(0.012)
        assert size > BIG


def test_a_body_that_trickles_is_refused(monkeypatch):
    monkeypatch.setattr(Application, "body_timeout_s", 0.2)
    with opened() as served:
        client = Client(served.port).send(post(b"ab", length=10))
        status, head, body = client.answer()
        assert (status, "connection: close" in head, b"did not arrive within 0.2 s" in body) == (400, True, True)
        assert client.is_closed()


def test_an_idle_connection_is_closed(monkeypatch):
    monkeypatch.setattr(server, "KEEP_ALIVE_S", 0.2)
    with opened() as served:
        client = Client(served.port).send(get())
        assert client.answer()[0] == 200
        assert client.is_closed()


def test_the_newest_connection_is_turned_away_beyond_the_limit():
    with opened(max_connections=3) as served:
        first = [Client(served.port).send(get()) for _ in range(3)]
        assert [client.answer()[0] for client in first] == [200] * 3
        newest = Client(served.port).send(get())
        status, head, _ = newest.answer()
        assert (status, "retry-after: 1" in head, "connection: close" in head) == (503, True, True)
        assert newest.is_closed()
        assert first[0].send(get()).answer()[0] == 200
        first[1].socket.close()
        newest.socket.close()
        until(lambda: served.listener._server.connections == 2)
        assert Client(served.port).send(get()).answer()[0] == 200


def test_unfinished_bodies_together_have_a_limit():
    with opened(max_unfinished_bytes=250_000) as served:
        one, two = (Client(served.port).send(post(b"x" * 150_000, length=160_000)) for _ in range(2))
        until(lambda: served.listener._server.connections == 2)
        time.sleep(0.05)
        statuses = {client.send(b"y" * 10_000).answer()[0] for client in (one, two)}
        assert statuses == {200, 429}
        assert one.send(post(b"x" * 100_000)).answer()[0] == 200
        assert served.listener._server._shared.unfinished_bytes == 0


def test_what_a_vanished_client_held_is_given_back():
    with opened(max_unfinished_bytes=250_000) as served:
        client = Client(served.port).send(post(b"x" * 150_000, length=160_000))
        until(lambda: served.listener._server._shared.unfinished_bytes >= 100_000)
        client.reset()
        until(lambda: served.listener._server._shared.unfinished_bytes == 0)


def test_what_does_not_finish_within_the_grace_is_cancelled():
    with opened() as served:
        client = Client(served.port).send(get("/slow"))
        until(lambda: served.begun)
        served.listener.stop(0.1)
        status, head, body = client.answer()
        assert (status, "connection: close" in head, b"shutting down" in body) == (503, True, True)
        assert served.cancelled == 1


def test_while_it_ends_every_answer_says_so():
    with opened() as served:
        client = Client(served.port).send(get())
        client.answer()
        stopping = threading.Thread(target=served.listener.stop, args=(5,))
        stopping.start()
        time.sleep(0.1)
        status, head, _ = client.send(get()).answer()
        assert (status, "connection: close" in head) == (200, True)
        assert client.is_closed()
        stopping.join(5)


def test_the_processes_file_limit_bounds_the_connections(monkeypatch):
    monkeypatch.setattr(server.resource, "getrlimit", lambda _: (1024, 1024))
    monkeypatch.setattr(server.resource, "setrlimit", lambda *_: None)
    assert server.affordable_connections(10_000) == 1024 - server.OTHER_FILES
    assert server.affordable_connections(100) == 100
