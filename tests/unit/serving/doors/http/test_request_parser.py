"""Bytes to requests: however they are cut, the requests are the same; what cannot be one is refused in its place."""

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from serving.doors.http import request_parser as module
from serving.doors.http.reply import Reply
from serving.doors.http.request_parser import BETWEEN, BODY, HEAD, MAX_HEAD_BYTES, SLICE_BYTES, RequestParser
from serving.doors.http.response_heads import CLOSE, KEEP_ALIVE
from serving.errors import BadRequest, Overloaded, TooLarge, Unsupported
from tests import laws

LIMIT = 1000


def read(*pieces, limit=LIMIT, admit=None):
    parser = RequestParser(limit, admit)
    for piece in pieces:
        parser.feed(piece)
    return parser


def post(body=b"", headers=b"", length=None):
    return b"POST /x HTTP/1.1\r\nhost: x\r\n%bcontent-length: %d\r\n\r\n%b" % (
        headers,
        len(body) if length is None else length,
        body,
    )


def chunked(*chunks, trailers=b"", headers=b""):
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return b"POST /x HTTP/1.1\r\nhost: x\r\n%btransfer-encoding: chunked\r\n\r\n%b0\r\n%b\r\n" % (headers, body, trailers)


def test_a_request_is_its_parts():
    (request,) = read(b"POST /a?b=c HTTP/1.1\r\nHoSt: x\r\nX-A: 1\r\nx-a: 2\r\ncontent-length: 3\r\n\r\nabc").ready
    headers = {b"host": b"x", b"x-a": b"2", b"content-length": b"3"}
    assert request == ("POST", b"/a?b=c", headers, b"abc", b"", None)


def test_a_kept_connection_takes_large_bodies_one_after_another():
    parser, body = RequestParser(100_000), b"x" * 20_000
    request = post(body)
    for _ in range(2 * MAX_HEAD_BYTES // SLICE_BYTES):  # what came of a body before must not count as idle in the next
        parser.feed(request[:SLICE_BYTES])
        parser.feed(request[SLICE_BYTES:])
        assert parser.ready.popleft()[3] == body
    assert not parser.is_over


TOKEN = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=8).map(lambda text: b"x-" + text.encode())
VALUE = st.text("abc =/;0", max_size=10).map(lambda text: text.strip().encode())
HEADERS = st.lists(st.tuples(TOKEN, VALUE), max_size=4).map(lambda found: b"".join(b"%b: %b\r\n" % pair for pair in found))
BODIES = st.binary(max_size=60)
REQUESTS = st.one_of(
    HEADERS.map(lambda h: b"GET /y?q HTTP/1.1\r\nhost: x\r\n%b\r\n" % h),
    st.builds(post, BODIES, HEADERS),
    st.builds(
        lambda chunks, trailers, headers: chunked(*chunks, trailers=trailers, headers=headers),
        st.lists(st.binary(min_size=1, max_size=20), max_size=4),
        HEADERS,
        HEADERS,
    ),
    st.just(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AA\r\n\r\n"),
    BODIES.map(lambda body: post(body, b"connection: upgrade\r\nupgrade: h2c\r\n")),
    st.lists(st.binary(min_size=1, max_size=9), max_size=3).map(
        lambda chunks: chunked(*chunks, headers=b"connection: upgrade\r\nupgrade: h2c\r\n")
    ),
    st.just(b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n"),
)


@pytest.mark.heavy
@given(st.lists(REQUESTS, min_size=1, max_size=6), st.lists(st.integers(0, 400), max_size=12))
@example([post(b"abc"), b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"], list(range(120)))
@laws.examples(300)
def test_however_the_bytes_are_cut_the_requests_are_the_same(requests, cuts):
    wire = b"".join(requests)
    one_by_one = [found for request in requests for found in read(request).ready]
    places = [0, *sorted(cut for cut in cuts if cut < len(wire)), len(wire)]
    parser = read(*(wire[a:b] for a, b in itertools.pairwise(places)))
    assert list(parser.ready) == one_by_one
    assert len(one_by_one) == len(requests)
    assert not parser.is_over
    assert parser.stage == BETWEEN


@given(st.lists(st.binary(max_size=300), max_size=5), st.booleans())
@example([b"\r\n", b"\x00"], False)
@example([b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"], False)
@laws.examples(300)
def test_garbage_is_refused_once_and_never_raises(pieces, is_after_a_request):
    pieces = [post(b"abc"), *pieces] if is_after_a_request else pieces
    parser = read(*pieces)
    refusals = [request for request in parser.ready if request[5] is not None]
    assert len(refusals) == parser.is_over
    if refusals:
        assert parser.ready[-1] is refusals[0]
        assert refusals[0][4] == CLOSE


@pytest.mark.heavy
@given(REQUESTS, st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), min_size=1, max_size=4))
@laws.examples(300)
def test_a_damaged_request_never_raises(request_bytes, damages):
    wire = bytearray(request_bytes)
    for place, value in damages:
        wire[place % len(wire)] = value
    parser = read(bytes(wire), b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    assert sum(request[5] is not None for request in parser.ready) <= 1 + len(damages)


@pytest.mark.parametrize(
    "wire",
    [
        pytest.param(b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\nabc", id="a length and chunks"),
        pytest.param(b"transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n", id="chunks and a length"),
        pytest.param(b"content-length: 3\r\ncontent-length: 3\r\n\r\nabc", id="the length twice"),
        pytest.param(b"content-length: 3, 3\r\n\r\nabc", id="two lengths in one header"),
        pytest.param(b"content-length: +3\r\n\r\nabc", id="a signed length"),
        pytest.param(b"content-length: 0x3\r\n\r\nabc", id="a length in hexadecimal"),
        pytest.param(b"content-length: 99999999999999999999999\r\n\r\n", id="a length beyond 64 bits"),
        pytest.param(b"content-length : 3\r\n\r\nabc", id="a space before the colon"),
        pytest.param(b"x: a\r\n content-length: 3\r\n\r\nabc", id="a folded header"),
        pytest.param(b"content-length: 3\n\nabc", id="lines that end without a carriage return"),
        pytest.param(b"x: a\rcontent-length: 3\r\n\r\nabc", id="a bare carriage return"),
        pytest.param(b"x: a\x00b\r\n\r\n", id="a null in a header"),
        pytest.param(b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", id="chunked twice"),
        pytest.param(b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n", id="almost chunked"),
        pytest.param(b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n", id="chunked, but not at last"),
        pytest.param(b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", id="a transfer coding besides chunked"),
        pytest.param(b"transfer-encoding: chunked\r\n\r\nzz\r\n", id="a chunk size that is none"),
        pytest.param(b"transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n", id="a chunk size beyond 64 bits"),
        pytest.param(b"transfer-encoding: chunked\r\n\r\n1 \r\na\r\n0\r\n\r\n", id="a space behind a chunk size"),
        pytest.param(b"transfer-encoding: chunked\r\n\r\n1\na\n0\n\n", id="chunk lines without carriage returns"),
        pytest.param(b"transfer-encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n", id="a chunk longer than it says"),
    ],
)
def test_what_two_servers_might_read_differently_is_refused(wire):
    found = read(b"POST /x HTTP/1.1\r\nhost: x\r\n" + wire + b"GET /smuggled HTTP/1.1\r\n\r\n").ready
    assert isinstance(found[0][5], BadRequest | Unsupported)
    assert found[0][3] == b""
    if isinstance(found[0][5], BadRequest):
        assert [request[1] for request in found if request[5] is None] == [], "nothing behind it is taken for a request"


def test_trailers_are_dropped():
    wire = (
        chunked(b"a", trailers=b"content-encoding: gzip\r\nauthorization: x\r\n")
        + b"GET /y HTTP/1.1\r\nhost: x\r\nx: 1\r\n\r\n"
    )
    first, second = read(wire).ready
    assert first[2] == {b"host": b"x", b"transfer-encoding": b"chunked"}
    assert second[2] == {b"host": b"x", b"x": b"1"}


@pytest.mark.parametrize(
    ("wire", "ending"),
    [
        pytest.param(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", b"", id="kept, unless said otherwise"),
        pytest.param(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", CLOSE, id="closed when asked to"),
        pytest.param(b"GET / HTTP/1.0\r\n\r\n", CLOSE, id="HTTP/1.0 closes"),
        pytest.param(b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n", KEEP_ALIVE, id="HTTP/1.0 is told that it is kept"),
        pytest.param(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: keep-alive\r\n\r\n", b"", id="HTTP/1.1 need not be told"),
    ],
)
def test_whether_the_connection_is_kept(wire, ending):
    assert read(wire).ready[0][4] == ending


def test_what_comes_behind_a_last_request_is_not_a_word_worth():
    parser = read(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\nGET /more HTTP/1.1\r\nhost: x\r\n\r\n")
    assert [request[1] for request in parser.ready] == [b"/"]
    assert parser.is_over


def test_requests_before_the_bad_one_are_answered():
    found = read(post(b"abc") + b"nonsense\r\n\r\n").ready
    assert [request[5] is None for request in found] == [True, False]


@pytest.mark.parametrize("size", [LIMIT, LIMIT + 1])
@pytest.mark.parametrize("kind", ["length", "chunks"])
def test_the_limit_of_a_body(kind, size):
    body = b"x" * size
    wire = post(body) if kind == "length" else chunked(body[:600], body[600:])
    parser = read(wire[:700], wire[700:], post(b"next"))
    first, second = parser.ready
    assert isinstance(first[5], TooLarge) == (size > LIMIT)
    assert first[3] == (b"" if size > LIMIT else body)
    assert second[3:] == (b"next", b"", None), "the connection stays usable"


def test_nothing_is_kept_of_a_body_that_is_too_large():
    parser = read(post(b"x" * 50, length=LIMIT + 1))
    assert parser.stage == BODY
    assert parser.held_bytes == 0
    assert read(post(b"x" * 50, length=LIMIT)).held_bytes == 50


def test_a_body_without_end_is_read_to_an_end(monkeypatch):
    monkeypatch.setattr(module, "DISCARDED_BYTES", 500)
    parser = read(chunked(b"x" * 1400)[:-5], b"65\r\n" + b"x" * 101 + b"\r\n")
    assert parser.is_over
    assert isinstance(parser.ready[0][5], TooLarge)


def test_a_body_that_is_far_too_large_is_refused_before_it_comes():
    parser = read(post(b"", length=LIMIT + module.DISCARDED_BYTES + 1))
    assert parser.is_over
    (refused,) = parser.ready
    assert (type(refused[5]), refused[4]) == (TooLarge, CLOSE)
    assert not read(post(b"", length=LIMIT + module.DISCARDED_BYTES)).is_over, (
        "its client is let finish, so that it reads the answer"
    )


@pytest.mark.parametrize(("fields", "is_whole"), [(255, True), (256, True), (257, False)])
def test_too_many_header_fields(fields, is_whole):
    head = (
        b"GET / HTTP/1.1\r\nhost: x\r\n" + b"".join(b"x%d: y\r\n" % n for n in range(fields)) + (b"\r\n" if is_whole else b"")
    )
    parser = read(head, b"")
    assert parser.is_over == (fields > 255)
    refused = parser.ready[0][5]
    assert refused is None if fields == 255 else refused.status == 431


@pytest.mark.parametrize("filler", [b"x: " + b"y" * 5000, b"GET /" + b"y" * 5000])
def test_a_head_without_end_is_refused(filler):
    start = b"" if filler.startswith(b"GET") else b"GET / HTTP/1.1\r\nhost: x\r\n"
    parser = read(start + filler, *[b"y" * 5000] * (MAX_HEAD_BYTES // 5000 + 1))
    assert parser.is_over
    reply = parser.ready[0][5]
    assert isinstance(reply, Reply)
    assert reply.status == 431


@pytest.mark.parametrize("piece", [b"1;" + b"e" * 5000, b"0\r\nx: " + b"y" * 5000])
def test_chunk_extensions_and_trailers_without_end_are_refused(piece):
    parser = read(b"POST /x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n" + piece, *[b"y" * 5000] * 20)
    assert parser.is_over
    assert isinstance(parser.ready[0][5], BadRequest)


def test_a_client_that_asks_first():
    parser = read(b"POST /x HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n")
    assert parser.wants_continue
    parser.feed(b"abc")
    assert not parser.wants_continue
    assert parser.ready[0][3] == b"abc"
    refused = read(b"POST /x HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 9999\r\n\r\n")
    assert isinstance(refused.ready[0][5], TooLarge)
    assert refused.is_over, "whether the body follows cannot be known"


@pytest.mark.parametrize(
    "wire",
    [
        pytest.param(
            b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: WebSocket\r\n\r\n\x81\x05", id="a websocket"
        ),
        pytest.param(b"CONNECT a:443 HTTP/1.1\r\nhost: x\r\n\r\n\x16\x03\x01", id="a tunnel"),
    ],
)
def test_other_protocols_are_refused(wire):
    parser = read(wire)
    ((*_, ending, refused),) = parser.ready
    assert isinstance(refused, Unsupported)
    assert (ending, parser.is_over) == (CLOSE, True)


def test_who_is_not_admitted_is_drained():
    asked = []

    def admit(method, url, headers):
        asked.append((method, url))
        return Overloaded("full") if url == b"/x" else None

    parser = read(post(b"ab", length=4), b"cd" + b"GET /y HTTP/1.1\r\nhost: x\r\n\r\n", admit=admit)
    assert parser.held_bytes == 0
    (first, second) = parser.ready
    assert isinstance(first[5], Overloaded)
    assert (first[3], second[5]) == (b"", None)
    assert asked == [("POST", b"/x"), ("GET", b"/y")]


def test_the_appetite_is_one_slice_or_the_rest_of_a_body():
    parser = RequestParser(1 << 20)
    assert (parser.stage, parser.next_feed_bytes()) == (HEAD, module.SLICE_BYTES)
    parser.feed(post(b"x" * 10, length=100_000))
    assert parser.next_feed_bytes() == 100_000 - 10
    assert read(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n").next_feed_bytes() == module.SLICE_BYTES


@pytest.mark.parametrize("step", [7, 700, 3000])
def test_a_body_of_tiny_chunks_in_many_reads(step):
    wire = chunked(*[b"%d" % (n % 10) for n in range(900)])
    pieces = [wire[n : n + step] for n in range(0, len(wire), step)]
    parser = read(*pieces[:-1])
    assert len(parser._parts) < 900, "a piece of one byte is not kept as an object of its own"
    parser.feed(pieces[-1])
    assert parser.ready[0][3] == b"".join(b"%d" % (n % 10) for n in range(900))
    assert isinstance(read(*pieces, limit=899).ready[0][5], TooLarge)


@pytest.mark.parametrize("hosts", [
    pytest.param(b"", id="none"),
    pytest.param(b"host: a\r\nhost: b\r\n", id="two"),
    pytest.param(b"Host: a\r\nx: 1\r\nhOST: a\r\n", id="the same twice"),
])  # fmt: skip
def test_a_request_without_one_host_is_refused_and_nothing_after_it_is_read(hosts):
    parser = read(get_with(b"host: a\r\n") + get_with(hosts, body=b"hi") + get_with(b"host: a\r\n"))
    first, second = parser.ready
    assert first[5] is None
    assert isinstance(second[5], BadRequest)
    assert second[4] == CLOSE
    assert parser.is_over


def get_with(headers, body=b""):
    return b"POST /y HTTP/1.1\r\n%bcontent-length: %d\r\n\r\n%b" % (headers, len(body), body)


def test_http_1_0_needs_no_host():
    (request,) = read(b"GET /y HTTP/1.0\r\n\r\n").ready
    assert request[5] is None


def test_hosts_in_trailers_are_dropped_like_all_trailers():
    wire = chunked(b"a", trailers=b"host: a\r\nhost: b\r\n")
    assert [request[5] for request in read(wire + wire).ready] == [None, None]


def test_a_body_after_an_upgrade_that_is_not_taken_up_is_read():
    head = b"POST /y HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\ncontent-length: 2\r\n\r\n"
    (request,) = read(head + b"hi").ready
    assert (request[3], request[5]) == (b"hi", None)


@pytest.mark.parametrize("version", [b"HTTP/2.0", b"HTTP/0.9"])
@pytest.mark.parametrize("headers", [b"host: x\r\n", b"", b"host: x\r\nconnection: keep-alive\r\n"])
def test_another_version_of_http_is_refused_as_such(version, headers):
    parser = read(b"GET / %b\r\n%b\r\n" % (version, headers) + b"GET /more HTTP/1.1\r\nhost: x\r\n\r\n")
    ((*_, ending, reply),) = parser.ready
    assert isinstance(reply, Reply)
    assert (reply.status, ending, parser.is_over) == (505, CLOSE, True)
    assert b"HTTP/1.1" in reply.body
