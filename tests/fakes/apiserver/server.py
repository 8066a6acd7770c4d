"""The HTTP side: an aiohttp server on loopback, in a thread of its own, over TLS as a cluster's is.

Understands requests, streams watches, obeys faults, keeps a log of all calls. What is answered is answers.py's.
"""

import asyncio
import ssl
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import orjson
import yaml
from aiohttp import web

from tests.fakes.apiserver.admitting.access import ADMIN, Access, bootstrap_objects
from tests.fakes.apiserver.admitting.admission import Webhooks
from tests.fakes.apiserver.answering import discovery, forms, protobuf
from tests.fakes.apiserver.answering.answers import Answers
from tests.fakes.apiserver.answering.routes import understood
from tests.fakes.apiserver.answering.texts import read_apply, read_yaml
from tests.fakes.apiserver.certificates import issue
from tests.fakes.apiserver.failures import Refused, bad_request, no_such_path, unsupported_media
from tests.fakes.apiserver.faults import Fault, Faults
from tests.fakes.apiserver.handle import Handle
from tests.fakes.apiserver.storing.controllers import Controllers, start_with
from tests.fakes.apiserver.storing.kinds import RBAC, Registry
from tests.fakes.apiserver.storing.objects import Call, User
from tests.fakes.apiserver.storing.reads import Reader
from tests.fakes.apiserver.storing.store import Store
from tests.fakes.apiserver.storing.writes import APPLY, Writer

Json = dict[str, Any]
T = TypeVar("T")
NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")


@dataclass(frozen=True)
class Logged:
    """One answered call, for tests that count them. `at_s` is monotonic."""

    at_s: float
    user: str
    verb: str
    plural: str
    subresource: str
    namespace: str
    name: str
    code: int

    @property
    def is_write(self) -> bool:
        return self.verb in ("create", "update", "patch", "delete", "deletecollection")


class ApiServer(Handle):
    """The server. `start` answers when it listens; `stop` ends it. `with` and `async with` do both."""

    real = False

    collects_garbage = True

    def __init__(self) -> None:
        self.store, self.kinds = Store(), Registry()
        self.access = Access(self.store)
        self.reader = Reader(self.store)
        self.webhooks = Webhooks(self.store)
        self.writer = Writer(self.store, self.kinds, self.webhooks)
        self.answers = Answers(self.kinds, self.reader, self.writer, self.access)
        self.faults = Faults(self)
        self.log: list[Logged] = []
        self._ready = threading.Event()
        self._failed: BaseException | None = None
        self._folder = tempfile.TemporaryDirectory()
        self.folder = Path(self._folder.name)
        self.token = self.access.issue(ADMIN)

    # life

    def start(self) -> "ApiServer":
        certificates = issue(self.folder)
        self.authority = certificates.authority
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(certificates.certificate, certificates.key)
        self._thread = threading.Thread(target=self._run, name="fake-apiserver", daemon=True)
        self._thread.start()
        self._ready.wait(30)
        if self._failed or not self._ready.is_set():
            raise RuntimeError("the fake API server did not start within 30 s") from self._failed
        return self

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(10)
        self._folder.cleanup()

    def _run(self) -> None:
        with suppress(asyncio.CancelledError):
            asyncio.run(self._serve())

    async def _serve(self) -> None:
        try:
            self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
            self.controllers = Controllers(self.writer)
            self._populate()
            app = web.Application(client_max_size=16 << 20)
            app.router.add_route("*", "/{path:.*}", self._handle)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self._tls)
            await site.start()
            self.port = runner.addresses[0][1]
            self.url = f"https://127.0.0.1:{self.port}"
        except BaseException as error:
            self._failed = error
            self._ready.set()
            raise
        self._ready.set()
        await self._stopping.wait()
        self.store.drop_watches()
        await runner.cleanup()

    def _populate(self) -> None:
        for name in NAMESPACES:
            meta = {"name": name, "labels": {"kubernetes.io/metadata.name": name}}
            body = {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": meta,
                "spec": {"finalizers": ["kubernetes"]},
                "status": {"phase": "Active"},
            }
            start_with(self.store, ("", "namespaces"), body, str(uuid.uuid4()))
        for plural, obj in bootstrap_objects():
            start_with(self.store, (RBAC, plural), obj, str(uuid.uuid4()))

    def run(self, function: Callable[..., T], *args: Any) -> T:
        """Run a function in the server's event loop, from the test's thread."""

        async def call() -> T:
            return function(*args)

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(30)

    # requests

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            user = self.access.user_of(request.headers, request.headers.getall("Impersonate-Group", []))
            static = self._static(request, user)
            if static is not None:
                return static
            route = understood(self.kinds, request.method, request.path, request.query)
            query, agent = dict(request.query), request.headers.get("User-Agent", "")
            call = Call(
                route.verb,
                route.kind,
                route.namespace,
                route.name,
                route.subresource,
                user,
                query,
                agent,
                request.headers.get("Accept", ""),
            )
            if not call.kind.namespaced and call.kind.resource == ("", "namespaces") and call.name:
                self.access.check(replace(call, namespace=call.name))
            else:
                self.access.check(call)
            return await self._answer(request, call)
        except Refused as refused:
            return _json(refused.code, refused.as_json())

    async def _answer(self, request: web.Request, call: Call) -> web.StreamResponse:
        code = 500
        try:
            faults = self.faults.take(call)
            if (early := next((f for f in faults if f.status and not f.after), None)) is not None:
                raise early.refusal()
            if call.verb == "watch":
                code = 200
                self._note(call, code)
                return await self._stream(request, call)
            code, body = await self.answers.answer(call, *await _body(request, call))
            if (late := next((f for f in faults if f.after), None)) is not None:
                return self._lost(request, late)
            if call.verb in ("get", "list") and not call.subresource:
                body = forms.formed(call.kind, forms.wanted(call.accept), body)
            return _json(code, body, call)
        except Refused as refused:
            code = refused.code
            raise
        finally:
            if call.verb != "watch":
                self._note(call, code)

    def _note(self, call: Call, code: int) -> None:
        self.log.append(
            Logged(
                time.monotonic(), call.user.name, call.verb, call.kind.plural, call.subresource, call.namespace, call.name, code
            )
        )

    def _lost(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        if fault.status:
            raise fault.refusal()
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=500)

    async def _stream(self, request: web.Request, call: Call) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        events, form = self.reader.watch(call), forms.wanted(call.accept)
        try:
            first = True
            async for event in events:
                if first:
                    await response.prepare(request)
                    first = False
                if event is not None:
                    if form and event["type"] != "ERROR":
                        event = event | {"object": forms.formed(call.kind, form, event["object"])}
                    await response.write(orjson.dumps(event) + b"\n")
                elif request.transport is None or request.transport.is_closing():
                    break
            if first:
                await response.prepare(request)
        except (ConnectionResetError, asyncio.CancelledError):
            pass
        finally:
            await events.aclose()  # type: ignore[attr-defined]
        return response

    def _static(self, request: web.Request, user: User) -> web.Response | None:
        """Discovery, health and OpenAPI; None for a path of resources."""
        path, accept = request.path.rstrip("/") or "/", request.headers.get("Accept", "")
        parts = path.split("/")[1:]
        is_static = path in ("/", "/api", "/apis", "/version", "/healthz", "/livez", "/readyz") or parts[0] == "openapi"
        is_static = is_static or (parts[0] == "api" and len(parts) == 2) or (parts[0] == "apis" and len(parts) in (2, 3))
        if not is_static and parts[0] in ("api", "apis"):
            return None
        if request.method not in ("GET", "HEAD"):
            raise Refused(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
        self.access.check_path(user, "get", path)
        if path in ("/healthz", "/livez", "/readyz"):
            return web.Response(text="ok")
        if "apidiscovery.k8s.io" in accept and path in ("/api", "/apis"):
            return _json(
                200,
                discovery.aggregated(self.kinds, path == "/api"),
                media="application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
            )
        body = self._described(path, parts)
        if body is None:
            return web.Response(status=404, text="404 page not found\n")
        return _json(200, body)

    def _described(self, path: str, parts: list[str]) -> Json | None:
        if path == "/version":
            return discovery.VERSION
        if path == "/api":
            return discovery.core_versions(f"127.0.0.1:{self.port}")
        if path == "/apis":
            return discovery.group_list(self.kinds)
        if path == "/openapi/v3":
            return discovery.openapi_index(self.kinds)
        if parts[:2] == ["openapi", "v3"]:
            return discovery.openapi_v3(self.kinds, parts[3] if parts[2] == "apis" else "", parts[-1])
        if parts[0] == "api":
            return discovery.resource_list(self.kinds, "", parts[1])
        if parts[0] == "apis" and len(parts) == 3:
            return discovery.resource_list(self.kinds, parts[1], parts[2])
        versions = discovery.groups(self.kinds).get(parts[1]) if parts[0] == "apis" and len(parts) == 2 else None
        return {"kind": "APIGroup", "apiVersion": "v1"} | discovery.group(parts[1], versions) if versions else None


async def _body(request: web.Request, call: Call) -> tuple[str, Any]:
    """(media type, parsed body); raises Refused for what is neither JSON nor YAML."""
    raw, media = await request.read(), request.content_type
    if call.verb in ("get", "list") or not raw:
        return media, None
    if media == protobuf.MEDIA:
        body = protobuf.decoded(raw)
        if body is None:
            raise unsupported_media(["application/json", "application/yaml"])
        return media, body
    if media == APPLY:
        try:
            return media, read_apply(raw)
        except ValueError as error:
            raise bad_request(f"error decoding YAML: {error}") from error
    try:
        is_json = "yaml" not in media or raw.lstrip()[:1] == b"{"  # all JSON is YAML, and read faster as what it is
        return media, orjson.loads(raw) if is_json else read_yaml(raw)
    except (orjson.JSONDecodeError, yaml.YAMLError):
        try:
            return media, read_yaml(raw)
        except yaml.YAMLError as error:
            raise bad_request(f"error decoding the body: {error}") from error


def _json(code: int, body: Json, call: Call | None = None, media: str = "application/json") -> web.Response:
    if code == 404 and body.get("message") == no_such_path().message and not body.get("details"):
        return web.Response(status=404, text="404 page not found\n")
    response = web.Response(status=code, body=orjson.dumps(body), headers={"Content-Type": media})
    for warning in call.warnings if call else ():
        quoted = warning.replace("\\", "\\\\").replace('"', '\\"')
        response.headers.add("Warning", f'299 - "{quoted}"')
    return response
