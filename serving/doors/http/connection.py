"""One HTTP/1.1 connection: requests answered in order, each begun in the turn of the loop that brought its last byte.

serving.doors.http.request_parser makes requests of bytes; the application is called directly and answers them. A request that does not wait
makes no task. Rules here: one request at a time, pipelined ones wait unread; answers go out only as fast as the client reads; a client that
leaves cancels its request. serving.doors.http.server limits the number, time and age of connections.

A connection is in one of these states: the first in this order that its attributes say. `stage` is the parser's, times are
ConnectionLimits'.

    state      said by          bytes that come   the client closes its side            too long
    over       _is_over         dropped           closed                                linger_s: closed
    blocked    _is_blocked      held              what is begun is answered, closed     write_s without PROGRESS_BYTES read: aborted
    answering  _task            held              within HALF_CLOSE_S: answered and     its deadline is the service's
                                                  closed; later: cancelled and closed
    body       stage BODY       parsed            closed, not answered                  body_s: refused with 400, over
    head       stage HEAD       parsed            closed, not answered                  head_s: closed
    idle       stage BETWEEN    parsed            closed                                keep_alive_s: closed

    from       to               when
    idle       head             a byte comes (a new connection begins in `head`)
    head       body             the head is whole; a refused one too, its body is read and dropped
    body       answering        the request is whole and its answer has to wait
    body       idle             the request is whole and is answered at once
    answering  idle, head, body the answer is written; then what was held is parsed
    any        blocked          more is written than the client reads; back to what the other attributes say when it has caught up
    any        over             an answer that ends the connection is written (`_end`), `give_up`, the connection is lost

Held bytes beyond HELD_BYTES, or while blocked: the socket is read no further until the state changes."""

import asyncio
import logging
import random
import sys
from dataclasses import dataclass, field
from typing import Any, Final

from serving.access.credentials import ConnectionMemo, PeerCertificate
from serving.doors.client_share import Client, ClientShare
from serving.doors.counts import CLIENT, CONNECTIONS, PROTOCOL, SLOW, DoorCounts
from serving.doors.eager import StartedWork, start
from serving.doors.http.application import HttpApplication
from serving.doors.http.limits import FULL, SHARE_USED, TOLD, ConnectionLimits
from serving.doors.http.reply import PLAIN_JSON, Reply, refusal
from serving.doors.http.request_parser import BETWEEN, BODY, HEAD, SLICE_BYTES, RequestParser
from serving.doors.http.response_heads import CLOSE, CONTINUE, JOINED_BYTES, ResponseHeads
from serving.doors.http.router import split_url
from serving.doors.oip.errors import INTERNAL_MESSAGE
from serving.doors.requester import ClientConnection
from serving.doors.slow_readers import PROGRESS_BYTES, unread_bytes
from serving.doors.tls.transport import PEER
from serving.errors import BadRequest, Internal, Overloaded, ServingError, Unavailable

HELD_BYTES: Final = 64 * 1024
"""Bytes behind a request that waits are kept up to this many before the connection is read no further."""
HALF_CLOSE_S: Final = 0.02
"""A client that closes its side this soon after its request only marks it as the last. A client that closes later has left."""

_FIRST_ERROR: Final = 400
_NOT_LOOKED: Final = sys.maxsize
"""Nobody has looked yet how much the client has left unread, so the first look only notes it. An answer that closes its connection may
wait for its client without ever having stopped the writing."""

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class ConnectionContext:
    """What the connections of one server have in common. Touched on its loop only."""

    application: HttpApplication
    limits: ConnectionLimits
    loop: asyncio.AbstractEventLoop
    heads: ResponseHeads
    counts: DoorCounts = field(default_factory=lambda: DoorCounts("http"))
    connections: "set[HttpConnection]" = field(default_factory=set)
    share: ClientShare = field(default_factory=ClientShare)
    """How many connections each client address holds."""
    unfinished_bytes: int = 0
    """Of bodies that have begun to arrive, over all connections."""
    is_closing: bool = False
    """Every answer from now on is its connection's last, and says so."""


class HttpConnection(asyncio.Protocol, ClientConnection):
    """See the module."""

    __slots__ = (
        "_client",
        "_counted_bytes",
        "_ending",
        "_held",
        "_is_blocked",
        "_is_half_closed",
        "_is_head",
        "_is_over",
        "_is_reading",
        "_left_bytes",
        "_parser",
        "_respond",
        "_retires_at",
        "_shared",
        "_since",
        "_stage",
        "_task",
        "_transport",
        "memo",
        "peer",
    )

    _transport: Any

    def __init__(self, shared: ConnectionContext) -> None:
        self._shared, self._respond = shared, shared.application.respond
        self._parser = RequestParser(shared.application.max_body_bytes, shared.application.admit_head)
        self._task: StartedWork[Reply] | None = None
        self._held = b""
        self._is_blocked = self._is_half_closed = self._is_head = self._is_over = False
        self._is_reading = True
        self._counted_bytes, self._left_bytes = 0, _NOT_LOOKED
        self._ending = b""
        self._stage = HEAD
        self.peer: PeerCertificate | None = None
        self._client: Client = None
        self.memo: ConnectionMemo | None = None

    # What the transport calls.

    def connection_made(self, transport: Any) -> None:
        """Accept the connection or refuse it."""
        shared = self._shared
        self._transport = transport
        self.peer = transport.get_extra_info(PEER)
        self._since = shared.loop.time()
        self._retires_at = self._since + shared.limits.age_s * random.uniform(0.75, 1.25)  # noqa: S311  # nosec B311  # spreads, hides nothing
        shared.connections.add(self)
        shared.counts.open += 1
        excess = len(shared.connections) - shared.limits.connections
        self._client, is_within = shared.share.enter(transport)
        if excess > 0:
            self._refuse_connection(FULL, CONNECTIONS, is_told=excess <= TOLD)
        elif not is_within:
            self._refuse_connection(SHARE_USED, CLIENT, is_told=True)

    def data_received(self, data: bytes) -> None:
        """Flat, without helper calls, because every request passes here."""
        if self._task is not None or self._is_blocked or self._held:
            self._hold(data)
            return
        if len(data) > SLICE_BYTES:
            self._take(data)
            return
        parser = self._parser
        parser.feed(data)
        if parser.ready:
            self._answer()
        if parser.stage != BETWEEN or self._stage != BETWEEN:
            self._note()

    def eof_received(self) -> bool:
        """Whether the connection stays open for writing."""
        if self._is_over:
            return False
        if self._task is not None and self._shared.loop.time() - self._since > HALF_CLOSE_S:
            return False
        self._is_half_closed = self._task is not None or self._is_blocked
        return self._is_half_closed

    def pause_writing(self) -> None:
        """The client reads more slowly than it asks: nothing more is answered until it has caught up."""
        self._is_blocked = True
        self._since, self._left_bytes = self._shared.loop.time(), unread_bytes(self._transport)

    def resume_writing(self) -> None:
        """It has."""
        self._is_blocked, self._left_bytes = False, _NOT_LOOKED
        if self._task is None:
            self._since = self._shared.loop.time()
            self._go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone: requests under way are cancelled."""
        shared = self._shared
        shared.connections.discard(self)
        shared.counts.open -= 1
        shared.share.leave(self._client)
        self._client = None
        shared.unfinished_bytes -= self._counted_bytes
        self._counted_bytes, self._is_over, self._held = 0, True, b""
        self._parser.close()
        if self._task is not None:
            self._task.cancel()

    # What the server calls.

    def is_busy(self) -> bool:
        """A request is under way or arriving, or its answer is leaving."""
        return self._task is not None or self._is_blocked or self._parser.stage == BODY

    def end_if_idle(self) -> None:
        """Close, unless that takes an answer from somebody."""
        if not self.is_busy():
            self._transport.close()

    def give_up(self) -> StartedWork[Reply] | None:
        """Close now. A request under way is cancelled, and its client asked to come back."""
        task = self._task
        if task is not None and not self._is_over:
            self._ending = CLOSE
            self._write(refusal(Unavailable("the server is shutting down and this request took too long; send it again")))
            task.cancel()
        self._is_over = True
        self._transport.close()
        return task

    def expire(self, now_s: float) -> None:
        """Called every now and then: end what takes longer than it may. now_s: the loop's time."""
        limits, waited_s = self._shared.limits, now_s - self._since
        if self._is_blocked or self._transport.is_closing():
            self._expire_write(now_s)
        elif self._is_over:
            if waited_s > limits.linger_s:
                self._transport.close()
        elif self._task is not None:  # its deadline is the service's
            return
        elif self._parser.stage == BODY:
            if waited_s > limits.body_s:
                self._parser.give_up(BadRequest(f"the request body did not arrive within {limits.body_s:g} s; send it faster"))
                self._answer()
        elif waited_s > (limits.head_s if self._parser.stage == HEAD else limits.keep_alive_s):
            if self._parser.stage == HEAD:
                self._shared.counts.broken(SLOW)
            self._transport.close()

    def _expire_write(self, now_s: float) -> None:
        if now_s - self._since <= self._shared.limits.write_s:
            return
        left = unread_bytes(self._transport)
        if left > self._left_bytes - PROGRESS_BYTES:
            self._shared.counts.broken(SLOW)
            self._transport.abort()
        self._since, self._left_bytes = now_s, left

    # Requests in, answers out.

    def _take(self, data: bytes) -> None:
        """Parse in slices and answer in between, so that the first request of a read does not wait for the rest to be parsed."""
        parser, at = self._parser, 0
        while at < len(data) and not self._is_over:
            end = at + parser.next_feed_bytes()
            parser.feed(data[at:end])
            at = end
            if parser.ready:
                self._answer()
            if parser.stage != BETWEEN or self._stage != BETWEEN:
                self._note()
            if self._task is not None or self._is_blocked:
                self._hold(data[at:])
                return

    def _note(self) -> None:
        """Keep since when a request is incomplete, and how many of its bytes are held."""
        parser, shared = self._parser, self._shared
        if parser.stage != self._stage:
            self._stage, self._since = parser.stage, shared.loop.time()
        held = parser.held_bytes
        if held != self._counted_bytes:
            shared.unfinished_bytes += held - self._counted_bytes
            self._counted_bytes = held
            if held and shared.unfinished_bytes > shared.limits.unfinished_bytes:
                parser.refuse(Overloaded("too many request bodies are arriving at once; try again soon"))
                shared.unfinished_bytes -= held
                self._counted_bytes = 0
        if parser.wants_continue and self._task is None and not parser.ready and not self._is_over:
            parser.wants_continue = False
            self._transport.write(CONTINUE)

    def _answer(self) -> None:
        """Answer what is complete, in order, until one has to wait or the client does not read."""
        ready, shared = self._parser.ready, self._shared
        now = self._since = shared.loop.time()
        while ready and self._task is None and not self._is_blocked and not self._is_over:
            method, url, headers, body, ending, refused = ready.popleft()
            self._ending = CLOSE if now > self._retires_at else ending
            self._is_head = method == "HEAD"
            if refused is not None:
                self._refuse(refused)
                continue
            path, _, query = url.partition(b"?")
            if path[:1] != b"/" or b"#" in url:
                path, query = split_url(url)
            self._task = start(self._respond(method, path, query, headers, body, self), self._done, shared.loop)

    def _done(self, reply: Reply | None, problem: BaseException | None) -> None:
        """The application has answered: within `_answer`, or later by a task."""
        task, self._task = self._task, None
        if self._is_over or (task is not None and self._transport.is_closing()):
            return
        if reply is not None:
            self._write(reply)
        elif isinstance(problem, asyncio.CancelledError):
            self._transport.close()
        else:
            _log.error("a request failed", exc_info=problem)
            self._write(refusal(Internal(INTERNAL_MESSAGE)))
        if task is not None:
            self._since = self._shared.loop.time()
            self._go_on()

    def _write(self, reply: Reply, reason: str | None = None) -> None:
        transport, shared, body = self._transport, self._shared, reply.body
        if shared.is_closing:
            self._ending = CLOSE
        is_plain = reply.headers is PLAIN_JSON and reply.status == 200 and not self._ending and not self._is_head
        if is_plain and len(body) <= JOINED_BYTES:
            transport.write(b"%b%d\r\n\r\n%b" % (shared.heads.json, len(body), body))
            return
        if reply.status >= _FIRST_ERROR:
            shared.counts.status(reply.status, reason)
        pieces = shared.heads.written(reply, self._ending, is_head=self._is_head)
        if len(pieces) == 1:
            transport.write(pieces[0])
        else:
            transport.writelines(pieces)
        if self._ending == CLOSE:
            self._end()

    def _refuse(self, refused: ServingError | Reply) -> None:
        if isinstance(refused, Reply):
            self._write(refused)
        elif self._ending or self._is_head or self._shared.is_closing:
            self._write(refusal(refused), PROTOCOL if isinstance(refused, BadRequest) else None)
        else:
            self._shared.counts.error(refused)
            self._transport.write(self._shared.heads.refused(refused))

    def _go_on(self) -> None:
        """A request was answered, or the client reads again: go on with the requests that waited."""
        self._answer()
        while self._held and not (self._is_over or self._task is not None or self._is_blocked):
            data, self._held = self._held, b""
            self._take(data)
        if self._task is not None or self._is_blocked or self._is_over:
            return
        self._note()
        if self._is_half_closed:
            self._transport.close()
        elif not self._is_reading:
            self._is_reading = True
            self._transport.resume_reading()

    def _hold(self, data: bytes) -> None:
        if not data or self._is_over:
            return
        self._held += data
        if self._is_reading and (len(self._held) > HELD_BYTES or self._is_blocked):
            self._is_reading = False
            self._transport.pause_reading()

    def _end(self) -> None:
        """Close after the last answer. Incoming bytes are read for a moment, because closing on unread bytes resets the connection and may
        destroy the answer."""
        has_more = self._parser.is_over or self._held or self._parser.ready or self._parser.stage != BETWEEN
        self._is_over, self._held = True, b""
        self._parser.close()
        if not has_more:
            self._transport.close()
            return
        self._since = self._shared.loop.time()
        if not self._is_reading:
            self._transport.resume_reading()
        self._transport.write_eof()

    def _refuse_connection(self, why: ServingError, reason: str, *, is_told: bool) -> None:
        """Close a new connection, because the others may have a request on its way. Its client is told why, unless many others are."""
        if not is_told:
            self._is_over = True
            self._shared.counts.broken(reason)
            self._transport.abort()
            return
        self._ending = CLOSE
        self._write(refusal(why), reason)
