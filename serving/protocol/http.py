"""The HTTP door: a raw ASGI 3 application over the InferenceService port.

Reads, asks a codec, asks the service, writes. Which path means what is serving.protocol.router's; what the bytes mean is the
codecs'; what the service does is unknown here. No framework stands between: one request is one dictionary look-up, one decode,
one await, one encode. Nothing that a client sends is answered 500; a defect of ours is, with its trace in the log."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final

from serving.errors import Internal, NotFound, ServingError, Unavailable
from serving.ports import InferenceService
from serving.protocol import binary_codec, control_codec, json_codec, openapi, v1
from serving.protocol.body import ClientGone, Headers, Receive, accepted_encoding, deflate, read_body
from serving.protocol.envelope import TIMEOUT_HEADERS, VARIANT_HEADER, Envelope, sooner, timeout_s, traceparent
from serving.protocol.errors import INTERNAL_MESSAGE, error_body, http_status, retry_after_header
from serving.protocol.router import Endpoint, Router, Target

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
HeaderList = list[tuple[bytes, bytes]]

BODY_TIMEOUT_S: Final = 30.0
"""How long a body may take to arrive."""
_JSON: Final = (b"content-type", b"application/json")
_BINARY: Final = (b"content-type", b"application/octet-stream")
_SELF: Final = b"replica=self"
"""Query of /metrics that asks for this replica's own page alone."""
_METRICS: Final = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")

_log = logging.getLogger(__name__)


class Reply:
    """An answer on its way out."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, body: bytes, status: int = 200, headers: tuple[tuple[bytes, bytes], ...] = (_JSON,)) -> None:
        self.body = body
        self.status = status
        self.headers = headers


class Request:
    """A request on its way in: what its path means, its headers, and its body when asked for."""

    __slots__ = ("_door", "_receive", "headers", "query", "target")

    def __init__(self, door: "HttpDoor", target: Target, headers: Headers, receive: Receive, query: bytes = b"") -> None:
        self._door = door
        self.target = target
        self.headers = headers
        self.query = query
        self._receive = receive

    async def body(self) -> bytes:
        """The whole body. Raises TooLarge, BadRequest or ClientGone."""
        return await read_body(self._receive, self.headers, self._door.max_body_bytes, self._door.body_timeout_s)

    def envelope(self) -> Envelope:
        """Model, deadline, trace and variant, from path and headers. Raises BadRequest for a timeout that is no number."""
        headers, deadline_s = self.headers, None
        if not TIMEOUT_HEADERS.isdisjoint(headers):
            for name in TIMEOUT_HEADERS & headers.keys():
                deadline_s = sooner(deadline_s, timeout_s(name, headers[name]))
        trace = headers.get(b"traceparent")
        _, model, version = self.target
        asked = headers.get(VARIANT_HEADER)
        return Envelope(
            model,
            version,
            deadline_s,
            None if trace is None else traceparent(trace.decode("latin-1")),
            variant=None if asked is None else asked.decode("latin-1"),
        )


Handler = Callable[[Request], Awaitable[Reply]]


class HttpDoor:
    """The application. `metrics` gives the text of /metrics, `union` makes it that of all replicas that share the port.

    body_timeout_s: how long a body may take to arrive."""

    def __init__(
        self,
        service: InferenceService,
        *,
        max_body_bytes: int,
        metrics: Callable[[], bytes] | None = None,
        union: Callable[[bytes], Awaitable[bytes]] | None = None,
        body_timeout_s: float = BODY_TIMEOUT_S,
    ) -> None:
        self.max_body_bytes = max_body_bytes
        self.body_timeout_s = body_timeout_s
        self._service = service
        self._metrics, self._union = metrics, union
        self._router = Router()
        self._handlers: Mapping[Endpoint, Mapping[str, Handler]] = {
            Endpoint.INFER: {"POST": self._infer},
            Endpoint.INDEX: {"GET": self._index},
            Endpoint.METRICS: {"GET": self._render_metrics},
            Endpoint.OPENAPI: {"GET": self._openapi},
            Endpoint.SERVER: {"GET": self._server},
            Endpoint.LIVE: {"GET": self._live},
            Endpoint.READY: {"GET": self._ready},
            Endpoint.MODELS: {"GET": self._models},
            Endpoint.MODEL: {"GET": self._model},
            Endpoint.MODEL_READY: {"GET": self._model_ready},
            Endpoint.STATISTICS: {"GET": self._statistics},
            Endpoint.ALL_STATISTICS: {"GET": self._statistics},
            Endpoint.REPOSITORY_INDEX: {"POST": self._repository_index},
            Endpoint.LOAD: {"POST": self._load},
            Endpoint.UNLOAD: {"POST": self._unload},
            Endpoint.V1_MODELS: {"GET": self._models},
            Endpoint.V1_MODEL: {"GET": self._v1_model},
            Endpoint.V1_METADATA: {"GET": self._v1_metadata},
            Endpoint.V1_PREDICT: {"POST": self._v1_predict},
            Endpoint.V1_EXPLAIN: {"POST": self._v1_explain},
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await _other(scope["type"], receive, send)
            return
        method = scope["method"]
        headers = dict(scope["headers"])
        try:
            reply = await self._answer(method, scope.get("raw_path") or scope["path"].encode(), headers, receive, scope)
        except ClientGone:
            return
        except ServingError as error:
            reply = _refusal(error)
        except asyncio.CancelledError:  # only the listener cancels, when its grace is over
            reply = _refusal(Unavailable("the server is shutting down and this request took too long; send it again"))
        except Exception:
            _log.exception("a request to %s failed", scope["path"][:200])
            reply = _refusal(Internal(INTERNAL_MESSAGE))
        body = reply.body
        sent: HeaderList = [*reply.headers, (b"content-length", b"%d" % len(body))]
        encoding = accepted_encoding(headers.get(b"accept-encoding"), len(body))
        if encoding is not None:
            body = await deflate(body, encoding)
            sent = [*reply.headers, (b"content-encoding", encoding.encode()), (b"vary", b"accept-encoding")]
            sent.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": reply.status, "headers": sent})
        await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})

    async def _answer(self, method: str, raw_path: bytes, headers: Headers, receive: Receive, scope: Scope) -> Reply:
        target = self._router.find(raw_path)
        handlers = self._handlers[target.endpoint]
        handler = handlers.get("GET" if method == "HEAD" else method)
        if handler is None:
            allow = ", ".join(["GET", "HEAD"] if "GET" in handlers else handlers)
            message = f"{method[:20]} is not allowed on {target.endpoint.value}; use {allow}"
            return Reply(error_body(message), 405, (_JSON, (b"allow", allow.encode())))
        return await handler(Request(self, target, headers, receive, scope.get("query_string") or b""))

    async def _infer(self, request: Request) -> Reply:
        body = await request.body()
        json_length = binary_codec.header_length(request.headers.get(b"inference-header-content-length"), len(body))
        asked = binary_codec.read_request(body, json_length, request.envelope())
        answer = await self._service.infer(asked)
        written, json_length = binary_codec.write_answer(answer, asked)
        if json_length is None:
            return Reply(written)
        return Reply(written, 200, (_BINARY, (b"inference-header-content-length", b"%d" % json_length)))

    async def _index(self, _: Request) -> Reply:
        server = self._service.server_metadata()
        links = {"metadata": "/v2", "ready": "/v2/health/ready", "openapi": "/openapi.json", "metrics": "/metrics"}
        state = "alive" if self._service.is_live() else "dead"  # where KServe's V1 client looks for liveness
        return _json({"status": state, "name": server.name, "version": server.version, "links": links})

    async def _render_metrics(self, request: Request) -> Reply:
        if self._metrics is None:
            raise NotFound("this server was started without metrics")
        page = self._metrics()
        if self._union is not None and request.query != _SELF:
            page = await self._union(page)
        return Reply(page, 200, (_METRICS,))

    async def _openapi(self, _: Request) -> Reply:
        return Reply(openapi.document(self._service.server_metadata().version))

    async def _server(self, _: Request) -> Reply:
        server = self._service.server_metadata()
        return _json({"name": server.name, "version": server.version, "extensions": server.extensions})

    async def _live(self, _: Request) -> Reply:
        is_live = self._service.is_live()
        return _health({"live": is_live}, is_live, "the server is not live")

    async def _ready(self, _: Request) -> Reply:
        is_ready = self._service.is_ready()
        state = {"live": self._service.is_live(), "ready": is_ready}
        return _health(state, is_ready, "the server is not ready: a model is still loading, or was refused; try again soon")

    async def _model(self, request: Request) -> Reply:
        _, name, version = request.target
        return Reply(control_codec.write_metadata(self._service.model_metadata(name, version)))

    async def _model_ready(self, request: Request) -> Reply:
        _, name, version = request.target
        is_ready = self._service.is_model_ready(name, version)
        return _health({"name": name, "ready": is_ready}, is_ready, f'model "{name}" is not ready; try again soon')

    async def _statistics(self, request: Request) -> Reply:
        _, name, version = request.target
        return Reply(control_codec.write_statistics(self._service.statistics(name or None, version)))

    async def _repository_index(self, request: Request) -> Reply:
        body = await request.body()
        entries = self._service.repository_index(only_ready=control_codec.read_index_request(body))
        return _json([{"name": e.name, "version": e.version, "state": e.state, "reason": e.reason} for e in entries])

    async def _load(self, request: Request) -> Reply:
        control_codec.check_load_request(await request.body())
        await self._service.load(request.target.model)
        return _json({"name": request.target.model, "load": True})

    async def _unload(self, request: Request) -> Reply:
        control_codec.check_load_request(await request.body())
        await self._service.unload(request.target.model)
        return _json({"name": request.target.model, "unload": True})

    async def _models(self, _: Request) -> Reply:
        entries = self._service.repository_index(only_ready=True)
        return _json({"models": list(dict.fromkeys(entry.name for entry in entries))})

    async def _v1_model(self, request: Request) -> Reply:
        _, name, version = request.target
        is_ready = self._service.is_model_ready(name, version)
        versions = (version,) if version is not None else self._service.model_metadata(name, None).versions if is_ready else ()
        return _health(v1.status(name, is_ready, versions), is_ready, f'model "{name}" is not ready; try again soon')

    async def _v1_metadata(self, request: Request) -> Reply:
        _, name, version = request.target
        return _json(v1.metadata(self._service.model_metadata(name, version), version))

    async def _v1_predict(self, request: Request) -> Reply:
        document = json_codec.parse_object(await request.body())
        envelope = request.envelope()
        form = v1.form(document)
        asked = v1.read_request(document, form, self._service.model_metadata(envelope.model, envelope.version), envelope)
        return Reply(v1.write_answer(await self._service.infer(asked), form))

    async def _v1_explain(self, request: Request) -> Reply:
        await request.body()
        raise v1.no_explanations(request.target.model)


def _json(document: object) -> Reply:
    return Reply(json_codec.dump(document))


def _health(state: dict[str, Any], is_well: bool, message: str) -> Reply:
    if is_well:
        return _json(state)
    refusal = _refusal(Unavailable(message))
    return Reply(json_codec.dump({**state, "error": message}), refusal.status, refusal.headers)


def _refusal(error: ServingError) -> Reply:
    wait = retry_after_header(error)
    headers = (_JSON,) if wait is None else (_JSON, (b"retry-after", wait))
    return Reply(error_body(error.message), http_status(error), headers)


async def _other(kind: str, receive: Receive, send: Send) -> None:
    """Lifespan has nothing to start here; a WebSocket is turned away."""
    if kind == "websocket":
        await send({"type": "websocket.close", "code": 1003})
        return
    while kind == "lifespan":
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
        await asyncio.sleep(0)
