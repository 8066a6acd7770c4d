"""What every request passes first, and the headers that every answer has: an ASGI wrapper around the whole console.

Refused here, before any page is chosen: names that this console does not have (DNS rebinding), methods other than GET, HEAD and POST,
acts that come from another origin, bodies that are too large or too slow."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BODY_BYTES: Final = 64 * 1024
"""Of a form."""
BODY_WITHIN_S: Final = 10.0
MOST_PATH_BYTES: Final = 4096
"""Of path and query together."""
CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS: Final = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    "x-robots-tag": "noindex",
}
HSTS: Final = "max-age=31536000"
_log = logging.getLogger("vedette.console")


@dataclass(frozen=True, slots=True)
class OwnOrigins:
    """Names under which people reach this console: `HOST` or `HOST:PORT` as browsers write them, lower case. is_tls: https."""

    hosts: frozenset[str]
    is_tls: bool = False

    @classmethod
    def of(cls, names: Iterable[str], port: int, *, is_tls: bool = False) -> "OwnOrigins":
        """The names with this port. A name that holds a port stays as it is. Browsers leave out the port that is the scheme's own, so such
        a name counts without it too; over TLS every name does, because the port of a proxy is not known here.

        >>> sorted(OwnOrigins.of(["localhost", "::1"], 8090).hosts)
        ['[::1]:8090', 'localhost:8090']
        >>> sorted(OwnOrigins.of(["soc.example:443"], 8090, is_tls=True).hosts)
        ['soc.example', 'soc.example:443']
        """
        own = 443 if is_tls else 80
        found = set()
        for name in names:
            host = f"[{name}]" if name.count(":") > 1 and not name.startswith("[") else name
            if ":" in host.rpartition("]")[2]:
                found |= {host.lower(), host.lower().removesuffix(f":{own}")}
                continue
            found.add(f"{host}:{port}".lower())
            if port == own or is_tls:
                found.add(host.lower())
        return cls(frozenset(found), is_tls)

    def is_own(self, host: str) -> bool:
        """Whether the header Host names this console."""
        return host.lower() in self.hosts

    def is_origin(self, origin: str) -> bool:
        """Whether the header Origin names a page of this console."""
        scheme, separator, host = origin.partition("://")
        return bool(separator) and scheme in ("https", "http") and (scheme == "https" or not self.is_tls) and self.is_own(host)


class FrontDoor:
    """See the module. refusal: makes the page that says why (status, words). tell: of acts that came from elsewhere."""

    def __init__(
        self,
        app: ASGIApp,
        origins: OwnOrigins,
        refusal: Callable[[int, str], Response],
        tell: Callable[[Request, str], Awaitable[None]],
        *,
        open_paths: Iterable[str] = (),
    ) -> None:
        self._app, self._origins, self._refusal, self._open = app, origins, refusal, frozenset(open_paths)
        self._tell = tell

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # no websockets here
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._add_headers(MutableHeaders(scope=message), message["status"])
            await send(message)

        refused = self._why_refused(scope)
        if refused is not None:
            _log.warning("refused %s: %s", scope["method"], refused[1])
            if refused[0] == 403:
                await self._tell(Request(scope), refused[1])
            await self._refusal(*refused)(scope, receive, with_headers)
            return
        await self._app(scope, _Bounded(receive).receive, with_headers)

    def _why_refused(self, scope: Scope) -> tuple[int, str] | None:
        headers = Headers(scope=scope)
        if len(headers.getlist("host")) != 1 or not self._origins.is_own(headers["host"]):
            if scope["path"] in self._open:  # probes know the pod's address only
                return None
            return 421, "This console is not served under the name that the request used."
        if scope["method"] not in ("GET", "HEAD", "POST"):
            return 405, "The console answers GET, HEAD and POST only."
        if len(scope["raw_path"]) + len(scope["query_string"]) > MOST_PATH_BYTES:
            return 414, "The address is too long."
        if scope["method"] == "POST":
            return self._why_not_from_here(headers)
        return None

    def _why_not_from_here(self, headers: Headers) -> tuple[int, str] | None:
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        is_from_here = (
            site == "same-origin" if origin is None else self._origins.is_origin(origin) and site in (None, "same-origin")
        )
        if not is_from_here:
            return 403, "This act did not come from a page of this console, so nothing was done."
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit() and int(length[:12]) <= MOST_BODY_BYTES):
            return 413, f"The form is larger than {MOST_BODY_BYTES:,} bytes."
        return None

    def _add_headers(self, headers: MutableHeaders, status: int) -> None:
        for name, value in HEADERS.items():
            headers[name] = value
        headers.setdefault("cache-control", "no-store")
        if status in (408, 413):  # the rest of the body is not waited for
            headers["connection"] = "close"
        if self._origins.is_tls:
            headers["strict-transport-security"] = HSTS


class _Bounded:
    """The body as it comes, until it is too large or takes too long."""

    __slots__ = ("_is_whole", "_receive", "_size", "_until_s")

    def __init__(self, receive: Receive) -> None:
        self._receive, self._size, self._is_whole = receive, 0, False
        self._until_s = asyncio.get_running_loop().time() + BODY_WITHIN_S

    async def receive(self) -> Message:
        """The next part of the body. Raises HTTPException."""
        if self._is_whole:  # what comes now is the end of the connection
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._until_s):
                message: dict[str, Any] = dict(await self._receive())
        except TimeoutError:
            raise HTTPException(408, f"The form did not arrive within {BODY_WITHIN_S:.0f} s.") from None
        self._size += len(message.get("body", b""))
        if self._size > MOST_BODY_BYTES:
            raise HTTPException(413, f"The form is larger than {MOST_BODY_BYTES:,} bytes.")
        self._is_whole = not message.get("more_body", False)
        return message
