"""Bytes to whole HTTP/1.1 requests: framing by httptools (llhttp, strict), bodies within their limit. The one user of httptools.

Pure: no socket, no clock. Complete requests wait in `ready`, in order. A malformed request waits there too, with its refusal, so that it is
answered after those before it. serving.doors.http.connection keeps order and time, and writes."""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from serving.doors.body import DISCARDED_BYTES, too_large
from serving.doors.http.reply import Reply, error_reply
from serving.doors.http.response_heads import CLOSE, KEEP_ALIVE
from serving.errors import BadRequest, ServingError, Unsupported

ParsedRequest = tuple[str, bytes, dict[bytes, bytes], bytes, bytes, ServingError | Reply | None]
"""Method, URL as it came, headers by lower-case name (the last of a name), body, what the answer's head says of the connection
(`heads.CLOSE`, `KEEP_ALIVE` or nothing), and the refusal if there is one. A tuple: one is made for every request."""

Admit = Callable[[str, bytes, Mapping[bytes, bytes]], ServingError | None]
"""Asked with method, URL and headers when a head has arrived: the refusal, or None to let the request in."""
BETWEEN: Final = 0
HEAD: Final = 1
BODY: Final = 2

MAX_HEAD_BYTES: Final = 64 * 1024
"""Largest request line and headers together; also the largest overhead within a chunked body."""
MAX_FIELDS: Final = 256
"""Most header fields of different names in a request."""
SLICE_BYTES: Final = 8 * 1024
"""Bytes parsed at a time. It bounds how many requests are complete before the first of them is answered."""
JOINED_PARTS: Final = 64
"""An unfinished body's pieces are joined when one read brought more than so many: chunks may be as small as one byte."""
NOT_ONE_HOST: Final = "an HTTP/1.1 request must have exactly one Host header"
"""Otherwise two servers on the path might choose different hosts (RFC 9112, 3.2)."""
NO_CODINGS_YET: Final = "HTTP/1.0 has no Transfer-Encoding; send a Content-Length, or use HTTP/1.1"
"""A server that supports chunks and one that does not would see different ends of such a request (RFC 9112, 6.1)."""
NOT_HTTP: Final = "the request is not HTTP/1.1: malformed request line, header or chunk"
_VERSIONS: Final = frozenset({"1.0", "1.1"})
_JOINED: Final = frozenset({b"transfer-encoding", b"authorization", b"x-api-key", b"x-forwarded-for", b"forwarded"})
_METHODS: Final = {name.encode(): name for name in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")}


class RequestParser:
    """The requests of one connection. max_body_bytes: of one body. admit: asked at the end of each head, before the body is kept."""

    __slots__ = (
        "_admit",
        "_digits",
        "_ending",
        "_fields",
        "_has_two_hosts",
        "_head_bytes",
        "_headers",
        "_idle_bytes",
        "_joined",
        "_max_body_bytes",
        "_method",
        "_parser",
        "_parts",
        "_refusal",
        "_size",
        "_url",
        "is_over",
        "ready",
        "stage",
        "wants_continue",
    )

    def __init__(self, max_body_bytes: int, admit: Admit | None = None) -> None:
        self._max_body_bytes, self._digits, self._admit = max_body_bytes, len(str(max_body_bytes)), admit
        self.ready: deque[ParsedRequest] = deque()
        self.stage = HEAD
        self.is_over = False
        """Nothing more is read: the last of `ready` says why."""
        self.wants_continue = False
        """The client waits for `100 Continue` before it sends the body."""
        self._parser: HttpRequestParser | None = HttpRequestParser(self)
        self._method, self._url = "", b""
        self._fields: dict[bytes, bytes] = {}
        self._headers: dict[bytes, bytes] = {}
        self._parts: list[bytes] = []
        self._ending = b""
        self._refusal: ServingError | None = None
        self._has_two_hosts = False
        self._head_bytes = self._size = self._idle_bytes = self._joined = 0

    @property
    def held_bytes(self) -> int:
        """What is kept of an unfinished body."""
        return self._size if self.stage == BODY and self._refusal is None and not self.is_over else 0

    def next_feed_bytes(self) -> int:
        """How many bytes to feed next: all of a body whose length is known, else no more than SLICE_BYTES."""
        if self.stage == BODY:
            return max(SLICE_BYTES, int(self._headers.get(b"content-length", b"0")) - self._size)
        return SLICE_BYTES

    def feed(self, data: bytes) -> None:
        """Take the next bytes as they came. Never raises."""
        if self.is_over:
            return
        if self.stage == BETWEEN:
            self.stage = HEAD
        size_before = self._size
        try:
            self._parser.feed_data(data)  # type: ignore[union-attr]
        except HttpParserUpgrade as upgrade:
            self._upgrade(data[upgrade.args[0] :])
            return
        except HttpParserError:
            self._end(BadRequest(NOT_HTTP))
            return
        if self.stage == HEAD:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._end(error_reply(431, f"the request's head is over {MAX_HEAD_BYTES} bytes"))
            elif len(self._fields) > MAX_FIELDS:
                self._end(_too_many_fields())
        elif self.stage == BODY:
            self._idle_bytes = 0 if self._size > size_before else self._idle_bytes + len(data)
            if len(self._parts) - self._joined > JOINED_PARTS:
                self._parts[self._joined :] = [b"".join(self._parts[self._joined :])]
                self._joined += 1
            if self._idle_bytes > MAX_HEAD_BYTES or self._size > DISCARDED_BYTES + self._max_body_bytes:
                self._end(BadRequest(NOT_HTTP))

    def refuse(self, error: ServingError) -> None:
        """Keep nothing of the body under way; the request gets this refusal when its body is complete."""
        self._refusal, self._parts, self._joined = error, [], 0

    def give_up(self, error: ServingError) -> None:
        """Stop waiting for the rest of a body."""
        self._end(error)

    def close(self) -> None:
        """Let go of the parser, which refers back here."""
        self.is_over, self._parser, self._parts = True, None, []

    # What httptools calls while it is fed.

    def on_url(self, url: bytes) -> None:
        """A piece of it."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A whole one."""
        name = name.lower()
        if name in self._fields:
            value = self._repeated(name, value)
        self._fields[name] = value

    def on_headers_complete(self) -> None:
        """Flat, because it runs for every request; checks that few requests need are in `_rare`."""
        parser = self._parser
        headers = self._headers = self._fields
        self._fields = {}  # a chunked body's trailers come here and are dropped
        method = parser.get_method()  # type: ignore[union-attr]
        self._method = _METHODS.get(method) or method.decode()
        self._ending = b"" if parser.should_keep_alive() else CLOSE  # type: ignore[union-attr]
        self.stage, self._head_bytes, self._size, self._idle_bytes, self._refusal = BODY, 0, 0, 0, None
        if self._admit is not None:
            self._refusal = self._admit(self._method, self._url, headers)
        stated = headers.get(b"content-length")
        if stated is not None and len(stated) >= self._digits and int(stated) > self._max_body_bytes:
            self._refusal = too_large(self._max_body_bytes)
            if int(stated) > self._max_body_bytes + DISCARDED_BYTES:  # too much to read only to drop it
                self._end(self._refusal)
        if len(headers) > MAX_FIELDS:
            self._end(_too_many_fields())
        if self._ending:  # HTTP/1.0, a last request, or a version that is not ours
            self._check_version()
        if b"host" not in headers or self._has_two_hosts:
            self._check_host()
        if b"connection" in headers or b"transfer-encoding" in headers or b"expect" in headers:
            self._rare(headers)

    def on_body(self, data: bytes) -> None:
        """A piece of it."""
        self._size += len(data)
        if self._refusal is None:
            if self._size <= self._max_body_bytes:
                self._parts.append(data)
            else:
                self.refuse(too_large(self._max_body_bytes))

    def on_message_complete(self) -> None:
        """One more request is ready."""
        parts = self._parts
        if not parts:
            body = b""
        else:
            body = parts[0] if len(parts) == 1 else b"".join(parts)
            self._parts, self._joined = [], 0
        if self._fields:
            self._fields = {}
        self._has_two_hosts = False
        if not self.is_over:
            self.ready.append((self._method, self._url, self._headers, body, self._ending, self._refusal))
        self.stage, self._url, self.wants_continue = BETWEEN, b"", False

    def _repeated(self, name: bytes, value: bytes) -> bytes:
        """The value of a header that stands in a request more than once: the last, but what was applied before `chunked` counts, and so
        does the way through proxies; credentials are joined, which makes them wrong: another server on the path may have looked at the
        first."""
        if name == b"host":
            self._has_two_hosts = True
        return self._fields[name] + b", " + value if name in _JOINED else value

    def _check_version(self) -> None:
        version = self._parser.get_http_version()  # type: ignore[union-attr]
        if version not in _VERSIONS:
            self._end(error_reply(505, f"HTTP/{version} is not offered here; send HTTP/1.1"))

    def _check_host(self) -> None:
        if self._has_two_hosts or not self._is_1_0():
            self._end(BadRequest(NOT_ONE_HOST))

    def _is_1_0(self) -> bool:
        return bool(self._parser.get_http_version() == "1.0")  # type: ignore[union-attr]

    def _rare(self, headers: dict[bytes, bytes]) -> None:
        self._check_version()
        is_1_0 = self._is_1_0()
        if not self._ending and is_1_0:
            self._ending = KEEP_ALIVE
        coding = headers.get(b"transfer-encoding")
        if coding is not None and is_1_0:
            self._end(BadRequest(NO_CODINGS_YET))
            return
        if coding is not None and coding.strip().lower() != b"chunked" and self._refusal is None:
            self._refusal = Unsupported(
                "the only Transfer-Encoding understood here is chunked; use Content-Encoding to compress"
            )
        if not is_1_0 and _asks_first(headers):
            if self._refusal is None:
                self.wants_continue = True
            else:  # the client may or may not send the body, so the bytes that follow cannot be told from it
                self._end(self._refusal)

    def _upgrade(self, rest: bytes) -> None:
        """The last request asks for another protocol. WebSockets and tunnels are refused; anything else is not taken up, as HTTP
        allows, and the request is answered as it is: Java's client asks for HTTP/2 with the first request it sends."""
        method, url, headers, _, _, refusal = self.ready[-1] if self.ready else ("", b"", {}, b"", b"", None)
        if self.is_over:
            return
        asked = headers.get(b"upgrade", b"").strip().lower()
        if method == "CONNECT" or asked == b"websocket":
            what = "tunnels (CONNECT)" if method == "CONNECT" else "WebSockets"
            self.ready[-1] = (method, url, headers, b"", CLOSE, Unsupported(f"{what} are not offered here"))
            self.is_over = True
            return
        coding = headers.get(b"transfer-encoding")
        if coding is not None and coding.rpartition(b",")[2].strip().lower() != b"chunked":  # where its body ends is unknown
            self.ready[-1] = (method, url, headers, b"", CLOSE, refusal)
            self.is_over = True
            return
        if coding is not None or headers.get(b"content-length", b"0").strip(b"0 \t"):
            self._read_body_after_upgrade(self.ready.pop())
        if rest:
            self.feed(rest)

    def _read_body_after_upgrade(self, request: ParsedRequest) -> None:
        """llhttp takes a request that asks for another protocol as complete with its head. Its body is read as another's."""
        method, url, headers, _, ending, refusal = request
        length = headers.get(b"content-length")
        framing = b"transfer-encoding: chunked" if length is None else b"content-length: %b" % length
        admit, self._admit = self._admit, None
        is_1_0 = self._is_1_0()
        self._parser = HttpRequestParser(self)
        self._parser.feed_data(b"POST / HTTP/1.1\r\nhost: the same\r\n%b\r\n\r\n" % framing)
        self._admit, self._method, self._url, self._headers = admit, method, url, headers
        self._ending = ending
        self._refusal = refusal if isinstance(refusal, ServingError) else None
        self.wants_continue = self._refusal is None and not is_1_0 and _asks_first(headers)

    def _end(self, why: ServingError | Reply) -> None:
        """The rest of the connection cannot be parsed. The request under way is answered with its own refusal if it has one."""
        if self.is_over:
            return
        self.is_over, self._parts = True, []
        if self.stage == BODY:
            self.ready.append((self._method, self._url, self._headers, b"", CLOSE, self._refusal or why))
        elif self._ending != CLOSE:  # else these are bytes behind a request that was the connection's last
            self.ready.append(("", b"", {}, b"", CLOSE, why))


def _too_many_fields() -> Reply:
    return error_reply(431, f"the request has more than {MAX_FIELDS} header fields")


def _asks_first(headers: dict[bytes, bytes]) -> bool:
    """Whether the client waits for `100 Continue` before it sends its body."""
    return headers.get(b"expect", b"").strip().lower() == b"100-continue"
