"""One connection on a real socket: order, how requests are cut, what is kept. The application is the smallest there can be."""

import itertools
import socket
import threading
import time

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from tests import laws
from tests.fakes.serving.echo_server import BIG, LIMIT, Client, get, post


def test_pipelined_requests_are_answered_in_order_and_one_at_a_time(client, echo_server):
    echo_server.most_at_once = 0
    paths = ["/now", "/later", "/now?a=1", "/later", "/later?b", "/now"]
    client.send(b"".join(get(path) for path in paths))
    expected = [f"GET {path if '?' in path else path + '?'} ".encode() for path in paths]
    assert [client.answer()[2] for _ in paths] == expected
    assert echo_server.most_at_once == 1


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
def test_wherever_the_bytes_are_cut_the_answers_are_the_same(echo_server, order, cuts, is_paced):
    client = Client(echo_server.port)
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
def test_garbage_wedges_nothing(echo_server, caplog, pieces, is_half_closed):
    client = Client(echo_server.port)
    try:
        client.send(*pieces)
        if is_half_closed:
            client.socket.shutdown(socket.SHUT_WR)
            while client.socket.recv(1 << 16):
                pass
    except ConnectionError:
        pass  # it has closed on us; a time-out would mean that it waits for nothing
    client.socket.close()
    assert Client(echo_server.port).send(get()).answer()[0] == 200
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
def test_who_is_refused_at_the_head_may_ask_again_on_the_same_connection(client, echo_server, has_asked_first):
    echo_server.is_full, begun = True, echo_server.begun
    client.send(post(b"x" * 100_000))
    status, head, body = client.answer()
    assert (status, "retry-after: 2" in head, body) == (429, True, b'{"error":"full"}')
    if has_asked_first:
        client.send(post(b"", length=5, headers=b"expect: 100-continue\r\n"))
        assert client.answer()[0] == 429
        assert client.is_closed()
        return
    assert echo_server.begun == begun, "the application was not asked"
    echo_server.is_full = False
    assert client.send(post(b"abc")).answer()[2] == b"POST /now? abc"


def test_a_body_too_large_is_refused_and_the_connection_stays(client):
    assert client.send(post(b"x" * (LIMIT + 1))).answer()[0] == 413
    assert client.send(post(b"x" * LIMIT)).answer()[0] == 200


def test_a_websocket_is_refused(client):
    client.send(get(headers=b"connection: upgrade\r\nupgrade: websocket\r\n") + b"\x81\x05hello")
    assert client.answer()[0] == 501
    assert client.is_closed()
