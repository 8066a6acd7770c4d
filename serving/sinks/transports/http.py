"""HTTP for the sinks: keep-alive, a bound on the time of each request, bodies compressed where the far end takes it.

aiohttp's client on a loop of the sink's own thread. Redirects are not followed: they would carry secrets elsewhere."""

import asyncio
import contextlib
import gzip
import ssl
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit, urlunsplit

import aiohttp

from serving.sinks.config import url_label
from serving.sinks.errors import FarEndDown, SinkConfigError
from serving.sinks.ports import SendAnswer

_MOST_ANSWER_BYTES: Final = 8 * 1024 * 1024
_SMALL: Final = 1024
"""Smaller bodies are not compressed."""
_LARGE: Final = 256 * 1024
"""Larger ones are compressed in a thread."""
_UNSUPPORTED: Final = 415
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What the far end answered. headers: names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def after_s(self) -> float | None:
        """Retry-After, in seconds from now: a number or a date (RFC 9110 section 10.2.3)."""
        text = self.headers.get("retry-after", "").strip()
        if text.isascii() and text.isdigit():
            return float(text[:9])
        with contextlib.suppress(ValueError, TypeError):
            at = parsedate_to_datetime(text)
            return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
        return None

    def words(self) -> str:
        """The status and the beginning of the body, for people."""
        text = " ".join(self.body[:300].decode("utf-8", "replace").split())
        return f"HTTP {self.status}" + (f": {text}" if text else "")


class HttpClient:
    """One far end. url: gives the whole address when it is asked, so that a secret one may be rotated."""

    def __init__(
        self,
        url: Callable[[], str],
        *,
        tls: ssl.SSLContext,
        timeout_s: float,
        is_compressed: bool,
        lanes: int = 1,
        proxy: str | None = None,
    ) -> None:
        self._proxy = proxy
        self._url, self._tls, self._timeout_s, self._is_compressed, self._lanes = url, tls, timeout_s, is_compressed, lanes
        self.label = url_label(url())
        self._loop: asyncio.AbstractEventLoop | None = None
        self._session: aiohttp.ClientSession | None = None

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run to its end on the sink's own loop."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        return self._loop.run_until_complete(work)

    async def post(self, body: bytes, headers: Mapping[str, str], *, path: str = "", query: str = "") -> HttpAnswer:
        """One POST. path: below that of the URL. Raises FarEndDown where no whole answer came.

        A far end that does not take compressed bodies (415) gets this one and all others plain."""
        sent = {"user-agent": "vedette", **headers}
        url = self._address(path, query)
        if not self._is_compressed or len(body) < _SMALL:
            return await self._tried(url, body, sent)
        packed = await asyncio.to_thread(gzip.compress, body, 5) if len(body) > _LARGE else gzip.compress(body, 5)
        answer = await self._tried(url, packed, {**sent, "content-encoding": "gzip"})
        if answer.status == _UNSUPPORTED:
            self._is_compressed = False
            return await self._tried(url, body, sent)
        return answer

    def _address(self, path: str, query: str) -> str:
        try:
            parts = urlsplit(self._url())
        except SinkConfigError as problem:
            raise FarEndDown(str(problem)) from problem
        whole = parts.path.rstrip("/") + path if path else parts.path
        return urlunsplit(parts._replace(path=whole, query="&".join(filter(None, [parts.query, query]))))

    async def _tried(self, url: str, body: bytes, headers: Mapping[str, str]) -> HttpAnswer:
        for attempt in (1, 2):
            try:
                return await self._posted(url, body, headers)
            except aiohttp.ServerDisconnectedError as problem:  # an idle connection that the far end closed just now
                if attempt == 2:
                    raise FarEndDown(f"{self.label}: it closed the connection without an answer") from problem
            except TimeoutError as problem:
                raise FarEndDown(f"{self.label}: no answer within {self._timeout_s:g} s") from problem
            except aiohttp.ClientConnectorCertificateError as problem:
                raise FarEndDown(f"{self.label}: its certificate is not accepted: {problem.certificate_error}") from None
            except (aiohttp.ClientError, OSError, ValueError) as problem:
                raise FarEndDown(f"{self.label}: {_words(problem)}") from None
        raise AssertionError

    async def _posted(self, url: str, body: bytes, headers: Mapping[str, str]) -> HttpAnswer:
        session = self._session
        if session is None:
            connector = aiohttp.TCPConnector(ssl=self._tls, limit=self._lanes, keepalive_timeout=30)
            session = self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=self._timeout_s),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=True,
            )
        async with session.post(url, data=body, headers=headers, allow_redirects=False, proxy=self._proxy) as response:
            answer = await response.content.read(_MOST_ANSWER_BYTES)
            while more := await response.content.read(_MOST_ANSWER_BYTES):
                answer += more
                if len(answer) > _MOST_ANSWER_BYTES:
                    raise ValueError("its answer is longer than 8 MiB")
            if secret := headers.get("authorization", "").partition(" ")[2].encode():
                answer = answer.replace(secret, b"...")  # answers are quoted in logs and dead letters
            return HttpAnswer(response.status, {name.lower(): value for name, value in response.headers.items()}, answer)

    def close(self) -> None:
        """Close connections."""
        loop, session = self._loop, self._session
        self._loop = self._session = None
        if loop is not None:
            if session is not None:
                loop.run_until_complete(session.close())
            loop.close()


_ALERT_AT_FAULT: Final = frozenset({400, 422})
"""Statuses that say that this request never will be taken. 401, 403, 404 and the like say that the sink is set up wrongly: alerts wait."""

_PASSING: Final = frozenset({408, 409, 425, 429})


def answer_for_all(answer: HttpAnswer) -> SendAnswer:
    """What a status says of all alerts of a request, unless the body says more: 2xx, 4xx, 429, 5xx."""
    if 200 <= answer.status < 300:
        return SendAnswer("taken")
    if answer.status == 413 or answer.status in _ALERT_AT_FAULT:
        return SendAnswer("split", answer.words())  # halved until it fits, or the one at fault is alone
    hint = ""
    if 300 <= answer.status < 400:
        hint = "; redirects are not followed, write the final URL"
    elif 400 <= answer.status < 500 and answer.status not in _PASSING:
        hint = "; check url, token and index of the sink"
    return SendAnswer("later", answer.words() + hint, answer.after_s)


def _words(problem: Exception) -> str:
    """Without the URL, which may be a secret."""
    if isinstance(problem, aiohttp.ClientConnectorError):
        return problem.os_error.strerror or str(problem.os_error) or "it cannot be reached"
    if isinstance(problem, aiohttp.ClientPayloadError):
        return "it hung up in the middle of its answer"
    if isinstance(problem, aiohttp.ClientError | OSError):
        return f"{type(problem).__name__}"
    return str(problem)
