"""The only client of Kubernetes' API: get, list, apply, patch, create, delete. Asynchronous, without retries.

The operator and the command line both use it. operators.backends.kube_access finds the cluster and the credentials. Requests are plain
HTTP, so five hundred services cost one connection pool and no thread. kopf watches (operators.handlers)."""

import asyncio
import json
import re
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import quote

import aiohttp

KubeObject = dict[str, Any]
_Verb = Literal["get", "list", "watch", "apply", "patch", "create", "update", "delete"]
_WRITES: Final = frozenset({"apply", "patch", "create", "update"})
_JSON: Final = "application/json"
_PAGE: Final = 100
"""Objects of one page of a list; with their statuses some megabytes."""
OnRequest = Callable[[str, str, int, float], None]
"""(verb, plural, HTTP status or 0 for no answer, seconds)."""
WatchEvent = tuple[str, KubeObject]
"""What a watch brings: ADDED, MODIFIED or DELETED, and the object."""
OnWritten = Callable[["Kind", KubeObject], None]
"""(kind, the object as the API server has it after a write of ours)."""
_METADATA: Final = "application/json;as=PartialObjectMetadata{};g=meta.k8s.io;v=v1,application/json"
_WATCH_S: Final = 300
"""After so long the API server ends a watch."""


class KubeError(Exception):
    """The API server did not do what was asked.

    `NotFound`, `Conflict` (somebody changed it meanwhile: read again), others by status; 0: no answer.
    can_retry: whether the same request may go through later. server_message: the API server's own words; empty: there are none."""

    def __init__(self, message: str, status: int = 0, server_message: str = "") -> None:
        super().__init__(message)
        self.status, self.server_message = status, server_message

    @property
    def can_retry(self) -> bool:
        """No answer, 409, 429 and 5xx may pass by themselves; other errors need a person."""
        return self.status in {0, 408, 409, 429} or self.status >= 500


class NotFound(KubeError):
    """404: there is no such object, or no such kind."""


class Conflict(KubeError):
    """409: the object is not as it was read, exists already, or another manager owns a field."""


class Kind(NamedTuple):
    """A kind of resource and where it lives."""

    api_version: str
    kind: str
    plural: str

    def path(self, namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
        """The URL's path. namespace None: of the whole cluster."""
        root = f"/api/{self.api_version}" if "/" not in self.api_version else f"/apis/{self.api_version}"
        parts = [root, *(("namespaces", quote(namespace)) if namespace else ()), self.plural]
        return "/".join([*parts, *((quote(name),) if name else ()), *((subresource,) if subresource else ())])


PODS: Final = Kind("v1", "Pod", "pods")
EVENTS: Final = Kind("v1", "Event", "events")
LEASES: Final = Kind("coordination.k8s.io/v1", "Lease", "leases")
MODEL_SERVICES: Final = Kind("vedette.dev/v1alpha1", "ModelService", "modelservices")
ROLLOUT_POLICIES: Final = Kind("vedette.dev/v1alpha1", "RolloutPolicy", "rolloutpolicies")
RAY_CLUSTERS: Final = Kind("ray.io/v1", "RayCluster", "rayclusters")
RAY_SERVICES: Final = Kind("ray.io/v1", "RayService", "rayservices")
INFERENCE_SERVICES: Final = Kind("serving.kserve.io/v1beta1", "InferenceService", "inferenceservices")

_SELF_REVIEWS: Final = Kind("authentication.k8s.io/v1", "SelfSubjectReview", "selfsubjectreviews")


class Access(NamedTuple):
    """How the API server is reached. header: gives the Authorization header's value; asked for each request, tokens change.

    official: the official client's configuration that it was made of. namespace: of the context, or of the pod. proxy: URL of an HTTP
    proxy. tls_server_name: the name that the server's certificate has, if it is not the server's."""

    server: str
    tls: ssl.SSLContext | None
    header: Callable[[], str | None]
    official: Any
    namespace: str
    proxy: str | None = None
    tls_server_name: str | None = None


class KubeUser(NamedTuple):
    """A user as the API server authenticates them."""

    name: str
    groups: tuple[str, ...] = ()


class Kube:
    """A client. Use as `async with`. on_request: told of every request, for metrics."""

    def __init__(
        self,
        reached: Access,
        *,
        manager: str,
        timeout_s: float = 15.0,
        on_request: OnRequest = lambda *_: None,
        on_written: OnWritten = lambda *_: None,
    ) -> None:
        self._reached, self._manager, self._told, self._written = reached, manager, on_request, on_written
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._watch_timeout = aiohttp.ClientTimeout(total=None, sock_connect=timeout_s, sock_read=_WATCH_S + timeout_s)
        self._session: aiohttp.ClientSession | None = None
        self._watches: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Kube":
        connector = aiohttp.TCPConnector(limit=32, ssl=self._reached.tls or True)
        self._session = aiohttp.ClientSession(connector=connector, timeout=self._timeout)
        unbounded = aiohttp.TCPConnector(limit=0, ssl=self._reached.tls or True)  # a watch keeps its connection
        self._watches = aiohttp.ClientSession(connector=unbounded, timeout=self._watch_timeout)
        return self

    async def __aexit__(self, *_: object) -> None:
        for session in (self._session, self._watches):
            if session is not None:
                await session.close()

    async def get(self, kind: Kind, namespace: str | None, name: str) -> KubeObject:
        """One object. Raises NotFound, KubeError."""
        return await self._ask("get", kind, kind.path(namespace, name))

    async def list(self, kind: Kind, namespace: str | None, labels: str = "", limit: int = 0) -> Sequence[KubeObject]:
        """Objects of one namespace or of all. labels: a label selector. limit: at most so many; 0: all. Raises KubeError."""
        query = {"labelSelector": labels} if labels else {}
        answer = await self._ask("list", kind, kind.path(namespace), query=query | ({"limit": str(limit)} if limit else {}))
        items: list[KubeObject] = answer.get("items") or []
        return items

    async def list_all(
        self, kind: Kind, namespace: str | None, *, only_metadata: bool = False
    ) -> tuple[Sequence[KubeObject], str]:
        """All objects, read in pages, and the resourceVersion that they are of. Raises NotFound (no such kind), KubeError."""
        found: list[KubeObject] = []
        accept = _METADATA.format("List") if only_metadata else _JSON
        query = {"limit": str(_PAGE)}
        while True:
            answer = await self._ask("list", kind, kind.path(namespace), query=query, accept=accept)
            found += [{"apiVersion": kind.api_version, "kind": kind.kind, **item} for item in answer.get("items") or ()]
            metadata = answer.get("metadata") or {}
            if not metadata.get("continue"):
                return found, str(metadata.get("resourceVersion", ""))
            query = {"limit": str(_PAGE), "continue": metadata["continue"]}

    async def may_watch(self, kind: Kind, namespace: str | None, version: str) -> None:
        """Begin a watch at this resourceVersion and leave it. Raises KubeError if it is refused."""
        query = {"watch": "true", "resourceVersion": version, "timeoutSeconds": "1"}
        async with self._request("watch", kind, kind.path(namespace), query) as answer:
            if answer.status >= 300:
                raise _refused(f"watch {kind.path(namespace)}", answer.status, await answer.text(errors="replace"))

    @asynccontextmanager
    async def watching(self, kind: Kind, namespace: str | None, version: str) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        """Watch from this resourceVersion on, until the API server ends it: (ADDED, MODIFIED or DELETED, the object's metadata).
        Raises KubeError, at the beginning if it is refused; 410: the version is too old, list again."""
        query = {"watch": "true", "resourceVersion": version, "timeoutSeconds": str(_WATCH_S)}
        what = f"watch {kind.path(namespace)}"
        async with self._request("watch", kind, kind.path(namespace), query, accept=_METADATA.format("")) as answer:
            if answer.status >= 300:
                raise _refused(what, answer.status, await answer.text(errors="replace"))
            yield _events(what, answer)

    async def apply(
        self, kind: Kind, namespace: str | None, name: str, fields: Mapping[str, Any], *, subresource: str | None = None
    ) -> KubeObject:
        """Server-side apply of the fields that are ours, by our field manager, over others' claims.

        fields: without apiVersion and kind; a metadata.resourceVersion in it is a precondition. Raises Conflict, KubeError."""
        metadata = {"name": name, **({"namespace": namespace} if namespace else {}), **fields.get("metadata", {})}
        body = {"apiVersion": kind.api_version, "kind": kind.kind, **fields, "metadata": metadata}
        return await self._ask(
            "apply",
            kind,
            kind.path(namespace, name, subresource),
            query={"fieldManager": self._manager, "force": "true"},
            body=body,
            content="application/apply-patch+yaml",
        )

    async def patch(
        self, kind: Kind, namespace: str | None, name: str, patch: Mapping[str, Any] | Sequence[Mapping[str, Any]]
    ) -> KubeObject:
        """A merge patch (mapping) or a JSON patch (list). Raises NotFound, Conflict, KubeError."""
        content = "application/merge-patch+json" if isinstance(patch, Mapping) else "application/json-patch+json"
        query = {"fieldManager": self._manager}
        return await self._ask("patch", kind, kind.path(namespace, name), query=query, body=patch, content=content)

    async def create(self, kind: Kind, namespace: str | None, body: Mapping[str, Any]) -> KubeObject:
        """A new object. Raises Conflict if the name is taken, KubeError."""
        whole = {"apiVersion": kind.api_version, "kind": kind.kind, **body}
        query = {"fieldManager": self._manager}
        return await self._ask("create", kind, kind.path(namespace), query=query, body=whole)

    async def replace(self, kind: Kind, namespace: str | None, name: str, body: Mapping[str, Any]) -> KubeObject:
        """A whole object; its metadata.resourceVersion is a precondition. Raises Conflict, KubeError."""
        query = {"fieldManager": self._manager}
        return await self._ask("update", kind, kind.path(namespace, name), query=query, body=body)

    async def who(self) -> KubeUser:
        """Who we are, as the API server authenticates us. Raises KubeError."""
        found = (await self.create(_SELF_REVIEWS, None, {}))["status"]["userInfo"]
        return KubeUser(str(found.get("username") or "unknown"), tuple(found.get("groups") or ()))

    async def pod_text(self, namespace: str, name: str, port: int, path: str) -> str:
        """What a pod answers to GET http://POD:port/path, through the API server. Raises NotFound, KubeError."""
        place = PODS.path(namespace, f"{name}:{port}", f"proxy/{path}")
        async with self._request("get", PODS, place, {}, accept="text/plain") as answer:
            text = await answer.text(errors="replace")
        if answer.status >= 300:
            raise _refused(f"get {place}", answer.status, text)
        return text

    async def delete(self, kind: Kind, namespace: str | None, name: str) -> None:
        """Delete one object; that it is gone already is not an error. Raises KubeError."""
        try:
            await self._ask("delete", kind, kind.path(namespace, name))
        except NotFound:
            return

    async def _ask(
        self,
        verb: _Verb,
        kind: Kind,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        content: str = _JSON,
        accept: str = _JSON,
    ) -> KubeObject:
        async with self._request(verb, kind, path, query or {}, body, content, accept) as answer:
            status, text = answer.status, await answer.text(errors="replace")
        if status < 300:
            found = _document(f"{verb} {path}", text)
            if verb in _WRITES:
                self._written(kind, found)
            return found
        raise _refused(f"{verb} {path}", status, text)

    @asynccontextmanager
    async def _request(
        self,
        verb: _Verb,
        kind: Kind,
        path: str,
        query: Mapping[str, str],
        body: object = None,
        content: str = _JSON,
        accept: str = _JSON,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer to one request, of any status. Raises KubeError if there is none."""
        session = self._watches if verb == "watch" else self._session
        if session is None:
            raise RuntimeError("use the client as `async with Kube(...)`")
        headers = {"Accept": accept, **({"Content-Type": content} if body is not None else {})}
        authorization = await asyncio.to_thread(self._reached.header) if _may_block(self._reached) else self._reached.header()
        if authorization:
            headers["Authorization"] = authorization
        started, status = time.monotonic(), 0
        try:
            async with session.request(
                _METHODS[verb],
                self._reached.server + path,
                params=dict(query),
                data=None if body is None else encoded(body),
                headers=headers,
                proxy=self._reached.proxy,
                server_hostname=self._reached.tls_server_name,
            ) as answer:
                status = answer.status
                yield answer
        except (aiohttp.ClientError, TimeoutError, OSError) as problem:
            status, why = 0, str(problem) or type(problem).__name__
            raise KubeError(f"{verb} {path}: the API server did not answer: {why}") from problem
        finally:
            self._told(verb, kind.plural, status, time.monotonic() - started)


_METHODS: Final = {
    "get": "GET",
    "list": "GET",
    "watch": "GET",
    "apply": "PATCH",
    "patch": "PATCH",
    "create": "POST",
    "update": "PUT",
    "delete": "DELETE",
}


_ODD: Final = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")


def encoded(body: object) -> bytes:
    """A body that reads the same as JSON and as YAML 1.1, which is how the API server reads what is applied.

    YAML knows no surrogate escapes (an emoji is written as it is), and no bare control characters or foreign line breaks (they are
    escaped). Half a surrogate pair is not a character and becomes the replacement character."""
    return _ODD.sub(_escaped, json.dumps(body, ensure_ascii=False)).encode()


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return "\ufffd" if 0xD800 <= code <= 0xDFFF else f"\\u{code:04x}"


async def _events(what: str, answer: aiohttp.ClientResponse) -> AsyncIterator[WatchEvent]:
    rest = b""
    async for chunk in answer.content.iter_any():  # a line may be longer than aiohttp's readline takes
        *lines, rest = (rest + chunk).split(b"\n")
        for line in filter(None, lines):
            event = _document(what, line.decode(errors="replace"))
            found = event.get("object") or {}
            if event.get("type") == "ERROR":
                raise KubeError(f"{what}: {found.get('message')}", int(found.get("code") or 0))
            yield str(event.get("type")), found


def _may_block(reached: Access) -> bool:
    """Refreshing a token may run a program or ask a server."""
    return getattr(reached.official, "refresh_api_key_hook", None) is not None


def _document(what: str, text: str) -> KubeObject:
    """An answer's body. Raises KubeError if it is not the API server's: something between us answered in its place."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise KubeError(
            f"{what}: the answer is not a JSON object but {text[:100]!r}; look for a proxy in front of the API server"
        )
    return found


def _refused(what: str, status: int, text: str) -> KubeError:
    try:
        message = json.loads(text).get("message") or text
    except (ValueError, AttributeError):
        message = text
    kind = {404: NotFound, 409: Conflict}.get(status, KubeError)
    hint = "; see `kubectl auth can-i` and the operator's ClusterRole" if status == 403 else ""
    words = str(message)[:500]
    return kind(f"{what}: {status} {words}{hint}", status, words)
