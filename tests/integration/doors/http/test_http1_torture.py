"""HTTP/1.1 as attackers and careless proxies write it, on a real listener: what two servers might read differently is refused, and
nothing behind it is answered.

Each case is bytes, and what comes back until the server closes: (status, body) of each answer. Behind each stands a last request that
would be answered, were it reached. Sources: RFC 9112, the shapes of request smuggling in llhttp's, h11's and Envoy's advisories."""

import contextlib
import itertools
import socket

import pytest

from serving.doors.http.request_parser import MAX_HEAD_BYTES
from tests.fakes.serving.echo_server import LIMIT, Client, get, post

LAST = get("/now?last", headers=b"connection: close\r\n")
POST = b"POST /now HTTP/1.1\r\nhost: x\r\n"
CHUNKED = POST + b"transfer-encoding: chunked\r\n\r\n"
H2C = POST + b"connection: upgrade\r\nupgrade: h2c\r\n"
END = b"0\r\n\r\n"
FRAMINGS = [(b"content-length: 3\r\n", b"abc"), (b"transfer-encoding: chunked\r\n", b"3\r\nabc\r\n" + END)]

REFUSED = [400]
"""The answer to what is not a request; the connection ends with it."""


def answers(client):
    """(status, body) of everything that comes until the server closes; the status alone of refusals and of `100 Continue`."""
    found = []
    while True:
        head = client.head()
        if head is None:
            return found
        status = int(head.split()[1])
        body = b""
        if status != 100:
            length = int(head.split("content-length: ")[1].split("\r\n")[0])
            body = client.take(length)
        found.append((status, body) if status == 200 else status)
        if status == 400:
            assert "connection: close" in head


def said(*bodies):
    """All of these and the last request are answered."""
    return [(200, body) for body in (*bodies, b"GET /now?last ")]


CASES = {
    # ---- a length, said twice or not as a number
    "two lengths that differ": (POST + b"content-length: 3\r\ncontent-length: 4\r\n\r\nabcd", REFUSED),
    "the same length twice": (POST + b"content-length: 3\r\ncontent-length: 3\r\n\r\nabc", REFUSED),
    "two lengths in one header": (POST + b"content-length: 3, 3\r\n\r\nabc", REFUSED),
    "a length, and one that is empty": (POST + b"content-length: 3\r\ncontent-length: \r\n\r\nabc", REFUSED),
    "an empty length": (POST + b"content-length: \r\n\r\n", REFUSED),
    "a length with a sign": (POST + b"content-length: +3\r\n\r\nabc", REFUSED),
    "a negative length": (POST + b"content-length: -3\r\n\r\nabc", REFUSED),
    "a length in hexadecimal": (POST + b"content-length: 0x3\r\n\r\nabc", REFUSED),
    "a length with an underscore": (POST + b"content-length: 1_0\r\n\r\nabcdefghij", REFUSED),
    "a length with letters behind it": (POST + b"content-length: 3a\r\n\r\nabc", REFUSED),
    "a length with a space within": (POST + b"content-length: 1 0\r\n\r\nabcdefghij", REFUSED),
    "a length in other digits": (POST + "content-length: ٣\r\n\r\nabc".encode(), REFUSED),
    "a length beyond 64 bits": (POST + b"content-length: 18446744073709551619\r\n\r\nabc", REFUSED),
    "a length of 5,000 zeros": (POST + b"content-length: " + b"0" * 5000 + b"3\r\n\r\nabc", REFUSED),
    "a length with zeros before it": (POST + b"content-length: 003\r\n\r\nabc", said(b"POST /now? abc")),
    "a length with spaces around it": (POST + b"content-length:  3 \t\r\n\r\nabc", said(b"POST /now? abc")),
    "a length of zero": (POST + b"content-length: 0\r\n\r\n", said(b"POST /now? ")),
    "a GET with a body": (get(headers=b"content-length: 3\r\n") + b"abc", said(b"GET /now? abc")),
    # ---- a length and chunks
    "a length, then chunks": (POST + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n" + END, REFUSED),
    "chunks, then a length": (POST + b"transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n" + END, REFUSED),
    "a length of zero, then chunks": (POST + b"content-length: 0\r\ntransfer-encoding: chunked\r\n\r\n" + END, REFUSED),
    "a length and an unknown coding": (POST + b"content-length: 3\r\ntransfer-encoding: x\r\n\r\nabc", REFUSED),
    # ---- how a body is coded
    "chunks in capitals": (POST + b"Transfer-Encoding: CHUNKED\r\n\r\n1\r\na\r\n" + END, said(b"POST /now? a")),
    "chunked twice": (POST + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n" + END, REFUSED),
    "chunked twice in one header": (POST + b"transfer-encoding: chunked, chunked\r\n\r\n" + END, REFUSED),
    "chunked, but not at last": (POST + b"transfer-encoding: chunked, identity\r\n\r\n" + END, REFUSED),
    "compressed and chunked": (
        POST + b"transfer-encoding: gzip, chunked\r\n\r\n1\r\na\r\n" + END,
        [501, *said()],
    ),
    "compressed and chunked, in two headers": (
        POST + b"transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n" + END,
        [501, *said()],
    ),
    "identity and chunked, in two headers": (
        POST + b"transfer-encoding: identity\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n" + END,
        [501, *said()],
    ),
    "chunked in quotes": (POST + b'transfer-encoding: "chunked"\r\n\r\n' + END, [501]),
    "chunked with a parameter": (POST + b"transfer-encoding: chunked;q=1\r\n\r\n" + END, [501]),
    "almost chunked": (POST + b"transfer-encoding: xchunked\r\n\r\n" + END, [501]),
    "chunked behind a vertical tab": (POST + b"transfer-encoding: \x0bchunked\r\n\r\n" + END, REFUSED),
    "chunked behind a null": (POST + b"transfer-encoding: \x00chunked\r\n\r\n" + END, REFUSED),
    "chunked on a folded line": (POST + b"transfer-encoding:\r\n chunked\r\n\r\n" + END, REFUSED),
    "an empty coding": (POST + b"transfer-encoding: \r\n\r\n", REFUSED),
    "an empty coding and a length": (POST + b"transfer-encoding: \r\ncontent-length: 3\r\n\r\nabc", REFUSED),
    "chunks in HTTP/1.0": (b"POST /now HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n" + END, REFUSED),
    "chunks in HTTP/1.0 that is kept": (
        b"POST /now HTTP/1.0\r\nconnection: keep-alive\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n" + END,
        REFUSED,
    ),
    # ---- chunks
    "chunks": (CHUNKED + b"1\r\na\r\n0A\r\nbcdefghijk\r\n" + END, said(b"POST /now? abcdefghijk")),
    "extensions of chunks": (CHUNKED + b'1;a=b;c="d e"\r\na\r\n0;last\r\n\r\n', said(b"POST /now? a")),
    "trailers": (CHUNKED + b"1\r\na\r\n0\r\nx: y\r\n\r\n", said(b"POST /now? a")),
    "a chunk's size with zeros before it": (CHUNKED + b"000000000000000000001\r\na\r\n" + END, said(b"POST /now? a")),
    "a chunk's size beyond 64 bits": (CHUNKED + b"10000000000000001\r\na\r\n" + END, REFUSED),
    "a chunk's size with 0x": (CHUNKED + b"0x1\r\na\r\n" + END, REFUSED),
    "a chunk's size with a sign": (CHUNKED + b"+1\r\na\r\n" + END, REFUSED),
    "a negative chunk": (CHUNKED + b"-1\r\na\r\n" + END, REFUSED),
    "a chunk without a size": (CHUNKED + b"\r\na\r\n" + END, REFUSED),
    "a space behind a chunk's size": (CHUNKED + b"1 \r\na\r\n" + END, REFUSED),
    "a chunk longer than it says": (CHUNKED + b"1\r\nabc\r\n" + END, REFUSED),
    "a line feed alone behind a chunk's size": (CHUNKED + b"1\na\r\n" + END, REFUSED),
    "a line feed alone in an extension": (CHUNKED + b"1;a\nb\r\na\r\n" + END, REFUSED),
    "a carriage return alone in an extension": (CHUNKED + b"1;a\rb\r\na\r\n" + END, REFUSED),
    "a null in an extension": (CHUNKED + b"1;a\x00b\r\na\r\n" + END, REFUSED),
    "a line feed alone behind a chunk": (CHUNKED + b"1\r\na\n" + END, REFUSED),
    "a carriage return alone behind a chunk": (CHUNKED + b"1\r\na\r" + END, REFUSED),
    "line feeds alone behind the last chunk": (CHUNKED + b"1\r\na\r\n0\n\n", REFUSED),
    "a request where trailers are": (CHUNKED + b"1\r\na\r\n0\r\n", REFUSED),
    "a length among the trailers": (CHUNKED + b"0\r\ncontent-length: 30\r\n\r\n", REFUSED),
    "a folded trailer": (CHUNKED + b"0\r\nx: a\r\n b\r\n\r\n", REFUSED),
    "an extension without end": (CHUNKED + b"1;" + b"e" * (MAX_HEAD_BYTES + 10_000), REFUSED),
    "trailers without end": (CHUNKED + b"0\r\n" + b"x: y\r\n" * (MAX_HEAD_BYTES // 4), REFUSED),
    # ---- lines and headers
    "a line feed alone behind the request line": (b"GET /now HTTP/1.1\nhost: x\r\n\r\n", REFUSED),
    "a line feed alone behind a header": (b"GET /now HTTP/1.1\r\nhost: x\nx: y\r\n\r\n", REFUSED),
    "a line feed alone behind the head": (b"GET /now HTTP/1.1\r\nhost: x\r\n\n", REFUSED),
    "a carriage return alone behind a header": (b"GET /now HTTP/1.1\r\nhost: x\rx: y\r\n\r\n", REFUSED),
    "two carriage returns behind a header": (b"GET /now HTTP/1.1\r\nhost: x\r\r\n\r\n", REFUSED),
    "a folded header": (get(headers=b"x: a\r\n b\r\n"), REFUSED),
    "a first header that is folded": (b"GET /now HTTP/1.1\r\n x: y\r\nhost: x\r\n\r\n", REFUSED),
    "a space before the colon": (POST + b"content-length : 3\r\n\r\nabc", REFUSED),
    "a tab before the colon": (POST + b"transfer-encoding\t: chunked\r\n\r\n" + END, REFUSED),
    "a header without a colon": (get(headers=b"nonsense\r\n"), REFUSED),
    "a header without a name": (get(headers=b": a\r\n"), REFUSED),
    "a space in a header's name": (get(headers=b"a b: c\r\n"), REFUSED),
    "a control character in a header's name": (get(headers=b"a\x01: c\r\n"), REFUSED),
    "a header's name beyond ASCII": (get(headers="ä: c\r\n".encode()), REFUSED),
    "a null in a header": (get(headers=b"a: b\x00c\r\n"), REFUSED),
    "a control character in a header": (get(headers=b"a: \x01\r\n"), REFUSED),
    "a header beyond ASCII": (get(headers=b"a: \xff\r\n"), said(b"GET /now? ")),
    "no host": (b"GET /now HTTP/1.1\r\n\r\n", REFUSED),
    "two hosts": (get(headers=b"host: y\r\n"), REFUSED),
    # ---- the request line
    "empty lines before a request": (b"\r\n\r\n" + get(), said(b"GET /now? ")),
    "a space before the request line": (b" " + get(), REFUSED),
    "a tab in the request line": (b"GET\t/now\tHTTP/1.1\r\nhost: x\r\n\r\n", REFUSED),
    "a space behind the version": (b"GET /now HTTP/1.1 \r\nhost: x\r\n\r\n", REFUSED),
    "a space in the path": (b"GET /now /x HTTP/1.1\r\nhost: x\r\n\r\n", REFUSED),
    "a method in small letters": (b"get /now HTTP/1.1\r\nhost: x\r\n\r\n", REFUSED),
    "a version in small letters": (b"GET /now http/1.1\r\nhost: x\r\n\r\n", REFUSED),
    "no version": (b"GET /now\r\n\r\n", [505]),  # as in HTTP/0.9, which is not offered
    "HTTP/1.2": (b"GET /now HTTP/1.2\r\nhost: x\r\n\r\n", REFUSED),
    "HTTP/1.10": (b"GET /now HTTP/1.10\r\nhost: x\r\n\r\n", REFUSED),
    "the greeting of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", REFUSED),
    "an answer": (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", REFUSED),
    "a URL in absolute form": (get("http://other:80/now?a"), said(b"GET /now?a ")),
    "a URL in absolute form without a path": (get("http://other"), said(b"GET /? ")),
    "the asterisk": (b"OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n", said(b"OPTIONS *? ")),
    "another host's authority": (b"GET other:80 HTTP/1.1\r\nhost: x\r\n\r\n", REFUSED),
    # ---- heads of size
    "a long URL": (get("/now?" + "q" * (MAX_HEAD_BYTES - 1000)), said(b"GET /now?" + b"q" * (MAX_HEAD_BYTES - 1000) + b" ")),
    "a URL without end": (b"GET /" + b"q" * (MAX_HEAD_BYTES + 10_000), [431]),
    "a header without end": (get(headers=b"x: " + b"y" * (MAX_HEAD_BYTES + 10_000) + b"\r\n"), [431]),
    "many thousand headers": (get(headers=b"x: y\r\n" * 20_000), [431]),
    # ---- pipelines
    "a pipeline with one that is none": (get() + post(b"a") + b"nonsense\r\n\r\n", [*said(b"GET /now? ", b"POST /now? a")[:2], 400]),
    "a pipeline behind a body that is too large": (post(b"x" * (LIMIT + 1)) + get(), [413, *said(b"GET /now? ")]),
    "a request behind the last one": (get(headers=b"connection: close\r\n"), [(200, b"GET /now? ")]),
    "close, though kept as well": (get(headers=b"connection: keep-alive\r\nconnection: close\r\n"), [(200, b"GET /now? ")]),
    # ---- other protocols
    "a websocket": (get(headers=b"connection: upgrade\r\nupgrade: websocket\r\n"), [501]),
    "a tunnel": (b"CONNECT other:443 HTTP/1.1\r\nhost: x\r\n\r\n", [501]),
    "an upgrade without `connection`": (get(headers=b"upgrade: websocket\r\n"), said(b"GET /now? ")),
    "an upgrade to HTTP/2": (get(headers=b"connection: upgrade\r\nupgrade: h2c\r\n"), said(b"GET /now? ")),
    "with a body": (H2C + b"content-length: 3\r\n\r\nabc", said(b"POST /now? abc")),
    "with chunks": (H2C + b"transfer-encoding: chunked\r\n\r\n1\r\na\r\n" + END, said(b"POST /now? a")),
    "with two lengths": (H2C + b"content-length: 3\r\ncontent-length: 4\r\n\r\nabcd", REFUSED),
    "with a length and chunks": (H2C + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n" + END, REFUSED),
    "with a coding that is not chunked": (H2C + b"transfer-encoding: gzip\r\n\r\n" + END, [501]),
    "with a coding that is almost chunked": (H2C + b"transfer-encoding: xchunked\r\n\r\n" + END, [501]),
    "with two codings": (
        H2C + b"transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n" + END,
        [501, *said()],
    ),
    "with two hosts": (get(headers=b"host: y\r\nconnection: upgrade\r\nupgrade: h2c\r\n"), REFUSED),
    "that closes": (
        POST + b"connection: upgrade, close\r\nupgrade: h2c\r\ncontent-length: 3\r\n\r\nabc",
        [(200, b"POST /now? abc")],
    ),
    # ---- asking first
    "an expectation that nobody knows": (post(b"a", headers=b"expect: magic\r\n"), said(b"POST /now? a")),
    "an expectation without a body": (get(headers=b"expect: 100-continue\r\n"), said(b"GET /now? ")),
}  # fmt: skip


HOW = [
    pytest.param(name, is_cut, id=f"{name}, byte by byte" if is_cut else name)
    for name, (wire, _) in CASES.items()
    for is_cut in ((False, True) if len(wire) < 1000 else (False,))
]


@pytest.mark.parametrize(("name", "is_cut"), HOW)
def test_what_comes_back(client, echo_server, name, is_cut):
    wire, expected = CASES[name]
    whole = wire + LAST
    begun = echo_server.begun
    with contextlib.suppress(ConnectionError):  # it may have closed on us already
        client.send(*(whole[n : n + 1] for n in range(len(whole))) if is_cut else [whole])
    assert answers(client) == expected
    assert echo_server.begun - begun == sum(isinstance(answer, tuple) for answer in expected), "nothing else was done"


@pytest.mark.parametrize("head", [
    pytest.param(POST, id="a request"),
    pytest.param(H2C, id="an upgrade that is not taken up"),
])  # fmt: skip
@pytest.mark.parametrize(("framing", "body"), FRAMINGS, ids=["a length", "chunks"])
def test_who_asks_first_is_told_to_go_on(client, head, framing, body):
    client.send(head + b"expect: 100-continue\r\n" + framing + b"\r\n")
    assert client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue"
    client.send(body + LAST)
    assert answers(client) == said(b"POST /now? abc")


def test_http_1_0_is_not_told_to_go_on(client):
    """It does not know of it, and would take it for the answer."""
    client.send(b"POST /now HTTP/1.0\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n", b"abc")
    assert answers(client) == [(200, b"POST /now? abc")]


@pytest.mark.parametrize("wire", [get(), post(b"abc"), CHUNKED + b"3\r\nabc\r\n" + END], ids=["a head", "a length", "chunks"])
def test_what_ends_before_it_is_whole_is_not_answered(echo_server, wire):
    begun = echo_server.begun
    for size in range(1, len(wire), 7):
        with contextlib.closing(Client(echo_server.port)) as client:
            client.send(wire[:size])
            client.socket.shutdown(socket.SHUT_WR)
            assert answers(client) == []
    assert echo_server.begun == begun


def test_nothing_behind_a_bad_one_is_answered_wherever_it_stands(echo_server):
    cases = [(wire, expected) for wire, expected in CASES.values() if {400, 505} & set(expected) and len(wire) < 500]
    for count, (wire, expected) in zip(itertools.cycle((1, 2, 5)), cases, strict=False):
        with contextlib.closing(Client(echo_server.port)) as client:
            client.send(get() * count + wire + LAST)
            assert answers(client) == [(200, b"GET /now? ")] * count + expected
