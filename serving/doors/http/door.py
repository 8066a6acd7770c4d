"""The HTTP door: requests whose body has arrived, over the InferenceService port.

Calls the router (paths), a codec (bytes), the service, and the codec again. serving.doors.http.connection brings the requests. There is no
framework: one request is one dictionary look-up, one decode, one await, one encode. Only a defect of ours is answered 500, with its trace
in the log; a client's input never is."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any, Final, Protocol
from urllib.parse import parse_qs

import msgspec

from serving.access.credentials import API_KEY, AUTHORIZATION
from serving.access.gate import Gate
from serving.access.guarded_service import GuardedService, guarded_after_verifying, guarded_by
from serving.doors.body import COMPRESS_FROM_BYTES, ClientGone, Headers, Receive, accepted_encoding, deflate, inflate, read_body
from serving.doors.counts import DoorCounts
from serving.doors.http import openapi, v1
from serving.doors.http.endpoint_verbs import HTTP_VERBS, NAMES_NO_MODEL
from serving.doors.http.metrics_page import MetricsPages
from serving.doors.http.reply import JSON, Reply, refusal
from serving.doors.http.router import Endpoint, Router, Target
from serving.doors.oip import binary_codec, control_codec, json_codec
from serving.doors.oip.envelope import TENANT_HEADER, TIMEOUT_HEADERS, VARIANT_HEADER, Envelope, sooner, timeout_s, traceparent
from serving.doors.oip.errors import INTERNAL_MESSAGE, error_body
from serving.doors.requester import DoorConnection, OnEarlyRefusal, credentials_of
from serving.errors import BadRequest, Internal, NotFound, ServingError, Unavailable
from serving.messages import InferRequest
from serving.ports import InferenceService

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

BODY_TIMEOUT_S: Final = 30.0
"""How long a body may take to arrive."""
_FIRST_ERROR: Final = 400
_BINARY: Final = (b"content-type", b"application/octet-stream")
_INFERENCES: Final = (b"/infer", b":predict", b":explain")

_log = logging.getLogger(__name__)


class Request:
    """A request on its way in: the service as its caller may use it, what its path means, its headers, its body (inflated), its query."""

    __slots__ = ("body", "headers", "query", "service", "target")

    def __init__(
        self, service: InferenceService | GuardedService, target: Target, headers: Headers, body: bytes, query: bytes
    ) -> None:
        self.service = service
        self.target = target
        self.headers = headers
        self.body = body
        self.query = query

    def envelope(self) -> Envelope:
        """Model, deadline, trace and variant, from path and headers. Raises BadRequest for a timeout that is not a number."""
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
            arrived_ns=time.time_ns(),
        )


class RiskAnswers(Protocol):
    """What the door asks about risks. Implemented by serving.risk.questions.RiskQuestions."""

    async def of(self, entity: str) -> bytes:
        """The risk of an entity, as JSON. Raises NotFound, Unavailable."""
        ...

    async def highest(self, most: int, is_wanted: Callable[[str], bool] | None = None) -> bytes:
        """The highest risks, of the wanted entities if that is asked, as JSON. Raises Unavailable."""
        ...


Handler = Callable[[Request], Awaitable[Reply]]


class HttpDoor:
    """The application. `metrics` gives the text of /metrics, in a thread, `openmetrics` the same in OpenMetrics; `union` makes it that of
    all replicas that share the port.

    degraded: the dependencies that are out and what happens instead, a line each, for the body of readiness.
    admit: called before the body of an inference is kept or decoded. It returns a refusal, of which on_refused is told, or None.
    gate: decides who may ask for what; None: everybody for everything.
    body_timeout_s: how long a body may take to arrive. counts: of answers over ASGI; the listener counts its own."""

    def __init__(
        self,
        service: InferenceService,
        *,
        max_body_bytes: int,
        metrics: Callable[[], bytes] | None = None,
        openmetrics: Callable[[], bytes] | None = None,
        union: Callable[[bytes], Awaitable[bytes]] | None = None,
        admit: Callable[[], ServingError | None] | None = None,
        on_refused: OnEarlyRefusal | None = None,
        degraded: Callable[[], Sequence[str]] = tuple,
        risks: RiskAnswers | None = None,
        gate: Gate | None = None,
        body_timeout_s: float = BODY_TIMEOUT_S,
        counts: DoorCounts | None = None,
    ) -> None:
        self._counts = counts or DoorCounts("http")
        self.max_body_bytes = max_body_bytes
        self.body_timeout_s = body_timeout_s
        self._service = service
        self._metrics = None if metrics is None else MetricsPages(metrics, openmetrics, union)
        self._admit, self._degraded, self._risk_answers = admit, degraded, risks
        self._gate, self._on_refused = gate, on_refused
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
            Endpoint.RISKS: {"GET": self._risks},
            Endpoint.RISK: {"GET": self._risk},
            Endpoint.LOAD: {"POST": self._load},
            Endpoint.UNLOAD: {"POST": self._unload},
            Endpoint.V1_MODELS: {"GET": self._models},
            Endpoint.V1_MODEL: {"GET": self._v1_model},
            Endpoint.V1_METADATA: {"GET": self._v1_metadata},
            Endpoint.V1_PREDICT: {"POST": self._v1_predict},
            Endpoint.V1_EXPLAIN: {"POST": self._v1_explain},
        }

    async def respond(
        self,
        method: str,
        raw_path: bytes,
        query: bytes,
        headers: Headers,
        body: bytes,
        connection: DoorConnection | None = None,
    ) -> Reply:
        """Answer one request whose body has arrived. raw_path: percent-encoded. headers: by lower-case name. Never raises."""
        try:
            target = self._router.find(raw_path)
            handlers = self._handlers[target.endpoint]
            handler = handlers.get("GET" if method == "HEAD" else method)
            if handler is None:
                return _not_allowed(method, target, handlers)
            service: InferenceService | GuardedService = self._service
            if self._gate is not None:
                service = await self._guarded(self._gate, target, headers, connection)
            encoding = headers.get(b"content-encoding")
            if encoding is not None:
                body = await inflate(body, encoding, self.max_body_bytes)
            reply = await handler(Request(service, target, headers, body, query))
        except ServingError as error:
            reply = refusal(error)
        except Exception:
            _log.exception("a request to %s failed", raw_path[:200].decode("latin-1"))
            reply = refusal(Internal(INTERNAL_MESSAGE))
        if len(reply.body) >= COMPRESS_FROM_BYTES:
            return await _compressed(reply, headers.get(b"accept-encoding"))
        return reply

    async def _guarded(
        self, gate: Gate, target: Target, headers: Headers, connection: DoorConnection | None
    ) -> InferenceService | GuardedService:
        """The service as the caller may use it. Raises Unauthenticated, Forbidden, RateLimited, Unavailable."""
        verb = HTTP_VERBS.get(target.endpoint)
        if verb in gate.open:
            return self._service
        credentials = credentials_of(headers, connection, gate.proxies)
        if verb is None:
            gate.refuse_other(verb, credentials, "http")
        model = None if target.endpoint in NAMES_NO_MODEL else target.model or None
        guarded = guarded_by(gate, self._service, credentials, verb, model, "http")
        if guarded is not None:
            return guarded
        return await guarded_after_verifying(gate, self._service, credentials, verb, model, "http")

    def admit_head(self, method: str, url: bytes, headers: Headers) -> ServingError | None:
        """Called when a request's head has arrived. Returns the refusal if the request is refused before its body; None: go on."""
        is_post = method == "POST"
        if not is_post and headers.get(b"content-length", b"0") == b"0" and b"transfer-encoding" not in headers:
            return None
        gate = self._gate
        if gate is not None and gate.needs_credentials and AUTHORIZATION not in headers and API_KEY not in headers:
            return gate.without_credentials("http")
        if not is_post or self._admit is None or not (url.endswith(_INFERENCES) or _is_inference(url)):
            return None
        refused = self._admit()
        if refused is not None and self._on_refused is not None:
            self._on_refused("http", url, headers.get(b"traceparent"), refused)
        return refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The same as an ASGI 3 application, for other servers: Ray Serve's proxy."""
        if scope["type"] != "http":
            await _other(scope["type"], receive, send)
            return
        method, headers = scope["method"], dict(scope["headers"])
        raw_path, query = scope.get("raw_path") or scope["path"].encode(), scope.get("query_string") or b""
        try:
            body = await read_body(receive, headers, self.max_body_bytes, self.body_timeout_s)
            reply = await self.respond(method, raw_path, query, headers, body)
        except ClientGone:
            return
        except ServingError as error:
            reply = refusal(error)
        except asyncio.CancelledError:  # only the server cancels, when its grace is over
            reply = refusal(Unavailable("the server is shutting down and this request took too long; send it again"))
        if reply.status >= _FIRST_ERROR:
            self._counts.status(reply.status)
        sent = [*reply.headers, (b"content-length", b"%d" % len(reply.body))]
        await send({"type": "http.response.start", "status": reply.status, "headers": sent})
        await send({"type": "http.response.body", "body": b"" if method == "HEAD" else reply.body})

    async def _infer(self, request: Request) -> Reply:
        json_length = binary_codec.header_length(request.headers.get(b"inference-header-content-length"), len(request.body))
        asked = binary_codec.read_request(request.body, json_length, request.envelope())
        if TENANT_HEADER in request.headers:
            asked = msgspec.structs.replace(asked, tenant=request.headers[TENANT_HEADER].decode("latin-1"))
        answer = await request.service.infer(asked)
        written, json_length = binary_codec.write_answer(answer, asked)
        if answer.trace is not None:
            answer.trace.encoded(len(written))
        if json_length is None:
            return Reply(written)
        return Reply(written, 200, (_BINARY, (b"inference-header-content-length", b"%d" % json_length)))

    async def _index(self, request: Request) -> Reply:
        server = request.service.server_metadata()
        links = {"metadata": "/v2", "ready": "/v2/health/ready", "openapi": "/openapi.json", "metrics": "/metrics"}
        state = "alive" if request.service.is_live() else "dead"  # where KServe's V1 client looks for liveness
        return _json({"status": state, "name": server.name, "version": server.version, "links": links})

    async def _render_metrics(self, request: Request) -> Reply:
        if self._metrics is None:
            raise NotFound("this server was started without metrics")
        return await self._metrics.reply(request.headers.get(b"accept", b""), request.query)

    async def _openapi(self, request: Request) -> Reply:
        return Reply(openapi.document(request.service.server_metadata().version))

    async def _server(self, request: Request) -> Reply:
        server = request.service.server_metadata()
        return _json({"name": server.name, "version": server.version, "extensions": server.extensions})

    async def _live(self, request: Request) -> Reply:
        is_live = request.service.is_live()
        return _health({"live": is_live}, is_live, "the server is not live")

    async def _ready(self, request: Request) -> Reply:
        is_ready = request.service.is_ready()
        state: dict[str, Any] = {"live": request.service.is_live(), "ready": is_ready}
        degraded = self._degraded()
        if degraded:  # it answers, so it stays ready; the body says what is out
            state["degraded"] = list(degraded)
        return _health(state, is_ready, "the server is not ready: no model answers yet; try again soon")

    async def _model(self, request: Request) -> Reply:
        _, name, version = request.target
        return Reply(control_codec.write_metadata(request.service.model_metadata(name, version)))

    async def _model_ready(self, request: Request) -> Reply:
        _, name, version = request.target
        is_ready = request.service.is_model_ready(name, version)
        return _health({"name": name, "ready": is_ready}, is_ready, f'model "{name}" is not ready; try again soon')

    async def _statistics(self, request: Request) -> Reply:
        _, name, version = request.target
        return Reply(control_codec.write_statistics(request.service.statistics(name or None, version)))

    async def _repository_index(self, request: Request) -> Reply:
        body = request.body
        entries = request.service.repository_index(only_ready=control_codec.read_index_request(body))
        return _json([{"name": e.name, "version": e.version, "state": e.state, "reason": e.reason} for e in entries])

    async def _risk(self, request: Request) -> Reply:
        if isinstance(request.service, GuardedService):
            request.service.check_entity(request.target.model)
        return Reply(await self._asked_risks().of(request.target.model))

    async def _risks(self, request: Request) -> Reply:
        asked = parse_qs(request.query.decode("latin-1")).get("most", ["20"])[-1]
        if not (asked.isascii() and asked.isdigit() and int(asked[:9]) > 0 and len(asked) < 9):
            raise BadRequest(f"most is {asked[:40]!r}, expected a number of entities, e.g. /v2/risk?most=20")
        is_wanted = request.service.wanted_entities() if isinstance(request.service, GuardedService) else None
        return Reply(await self._asked_risks().highest(int(asked), is_wanted))

    def _asked_risks(self) -> RiskAnswers:
        if self._risk_answers is None:
            raise NotFound("this server does not tell risks; VEDETTE_RISK_OVER_HTTP=true lets any client ask for them")
        return self._risk_answers

    async def _load(self, request: Request) -> Reply:
        control_codec.check_load_request(request.body)
        await request.service.load(request.target.model)
        return _json({"name": request.target.model, "load": True})

    async def _unload(self, request: Request) -> Reply:
        control_codec.check_load_request(request.body)
        await request.service.unload(request.target.model)
        return _json({"name": request.target.model, "unload": True})

    async def _models(self, request: Request) -> Reply:
        entries = request.service.repository_index(only_ready=True)
        return _json({"models": list(dict.fromkeys(entry.name for entry in entries))})

    async def _v1_model(self, request: Request) -> Reply:
        _, name, version = request.target
        is_ready = request.service.is_model_ready(name, version)
        versions = (
            (version,) if version is not None else request.service.model_metadata(name, None).versions if is_ready else ()
        )
        return _health(v1.status(name, is_ready, versions), is_ready, f'model "{name}" is not ready; try again soon')

    async def _v1_metadata(self, request: Request) -> Reply:
        _, name, version = request.target
        return _json(v1.metadata(request.service.model_metadata(name, version), version))

    async def _v1_predict(self, request: Request) -> Reply:
        asked, form = self._v1_request(request)
        return Reply(v1.write_answer(await request.service.infer(asked), form))

    async def _v1_explain(self, request: Request) -> Reply:
        asked, form = self._v1_request(request)
        return Reply(v1.write_explained(await request.service.infer(v1.explained(asked)), form))

    def _v1_request(self, request: Request) -> tuple[InferRequest, v1.Form]:
        document = json_codec.parse_object(request.body)
        envelope = request.envelope()
        form = v1.form(document)
        asked = v1.read_request(document, form, request.service.model_metadata(envelope.model, envelope.version), envelope)
        if TENANT_HEADER in request.headers:
            asked = msgspec.structs.replace(asked, tenant=request.headers[TENANT_HEADER].decode("latin-1"))
        return asked, form


def _json(document: object) -> Reply:
    return Reply(json_codec.dump(document))


def _not_allowed(method: str, target: Target, handlers: Mapping[str, Handler]) -> Reply:
    allow = ", ".join(["GET", "HEAD"] if "GET" in handlers else handlers)
    message = f"{method[:20]} is not allowed on {target.endpoint.value}; use {allow}"
    return Reply(error_body(message), 405, (JSON, (b"allow", allow.encode())))


async def _compressed(reply: Reply, accept: bytes | None) -> Reply:
    encoding = accepted_encoding(accept, len(reply.body))
    if encoding is None:
        return reply
    encoding_headers = ((b"content-encoding", encoding.encode()), (b"vary", b"accept-encoding"))
    return Reply(await deflate(reply.body, encoding), reply.status, (*reply.headers, *encoding_headers))


def _is_inference(url: bytes) -> bool:
    return url.partition(b"?")[0].rstrip(b"/").endswith(_INFERENCES)


def _health(state: dict[str, Any], is_well: bool, message: str) -> Reply:
    if is_well:
        return _json(state)
    refused = refusal(Unavailable(message))
    return Reply(json_codec.dump({**state, "error": message}), refused.status, refused.headers)


async def _other(kind: str, receive: Receive, send: Send) -> None:
    """Lifespan has nothing to start here; a WebSocket is refused."""
    if kind == "websocket":
        await send({"type": "websocket.close", "code": 1003})
        return
    while kind == "lifespan":
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
        await asyncio.sleep(0)
