"""Evidence straight from the replicas: asks `/metrics` of every address at once and folds the pages into one scrape.

Only asks over HTTP; operators.backends.evidence interprets the pages. An address that does not answer makes
the look partial, never an exception."""

import asyncio
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp

from operators.backends.evidence import SERIES, Scrape, read_samples
from operators.backends.exposition import ExpositionError, PageReader, Series
from serving.tls_trust import client_trust

_LARGEST_PAGE = 16 << 20
_FORGET_AFTER = timedelta(minutes=10)


def _utc() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class PodTls:
    """How replicas are asked over TLS. The files are read again for each look, because certificates are renewed.

    authority: PEM file of the CA that signed the replicas' certificates. name: that these are for, since pods are asked by address.
    certificate, key: PEM files of our own certificate, where replicas ask for one."""

    authority: Path
    name: str = "vedette"
    certificate: Path | None = None
    key: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Of the files as they are now. Raises OSError (ssl.SSLError is one) if they cannot be used."""
        made = client_trust(self.authority)
        if self.certificate is not None:
            made.load_cert_chain(self.certificate, self.key)
        return made


class MetricsPages:
    """Pages of replicas.

    session: the caller's, who closes it. timeout_s: how long one address may take. together: how many are asked at once. tls: how
    replicas are asked over TLS; None: plainly.

    credentials: headers that show who asks; called in a thread, once for each look. Redirects are not followed: they would carry them
    elsewhere."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        timeout_s: float = 3.0,
        together: int = 64,
        tls: PodTls | None = None,
        now: Callable[[], datetime] = _utc,
        credentials: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self._session, self._now, self._credentials, self._tls = session, now, credentials, tls
        self._how: dict[str, Any] = {}
        self._asking = asyncio.Lock()
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._places = asyncio.Semaphore(together)
        self._readers: dict[str, tuple[PageReader, datetime]] = {}
        self._swept = now()

    async def read(self, model: str, addresses: Sequence[str]) -> Scrape:
        """Read one model's counters. addresses: base URLs, e.g. `http://10.0.0.7:8080`; each may speak for several replicas."""
        at = self._now()
        if not addresses:
            return Scrape(at, problem="there is no replica to ask")
        try:
            async with self._asking:
                shown = await asyncio.to_thread(self._credentials)
        except (OSError, ValueError) as unread:
            return Scrape(at, problem=f"the credentials to ask replicas with cannot be read: {unread}")
        if self._tls is not None:
            try:
                context = await asyncio.to_thread(self._tls.context)
            except OSError as refused:
                return Scrape(at, problem=f"the certificates to ask replicas with cannot be used: {refused}")
            self._how = {"ssl": context, "server_hostname": self._tls.name}
        answers = await asyncio.gather(*(self._page(a, shown) for a in addresses))
        pages = [self._parsed(a, text) if isinstance(text, str) else text for a, text in zip(addresses, answers, strict=True)]
        self._forget(at)
        problems = [p for p in pages if isinstance(p, _Silence)]
        problem = "; ".join(p.why for p in problems[:3]) + (f"; and {len(problems) - 3} more" if len(problems) > 3 else "")
        told = [p for p in pages if not isinstance(p, _Silence)]
        found = read_samples(model, told, at, problem=problem or None)
        silent = tuple(a for a, page in zip(addresses, pages, strict=True) if isinstance(page, _Silence))
        return replace(found, silent=silent) if found.problem == problem else found

    @property
    def remembered(self) -> int:
        """Addresses whose series are remembered."""
        return len(self._readers)

    def _parsed(self, address: str, page: str) -> "list[tuple[Series, float]] | _Silence":
        reader, _ = self._readers.get(address) or (PageReader(SERIES), None)
        self._readers[address] = reader, self._now()
        try:
            return reader.read(page)
        except ExpositionError as damaged:
            return _Silence(f"{address}/metrics is not readable: {damaged}")

    def _forget(self, at: datetime) -> None:
        """Forget the series of addresses that were not asked for a while."""
        if at - self._swept > _FORGET_AFTER:
            self._readers = {a: found for a, found in self._readers.items() if at - found[1] <= _FORGET_AFTER}
            self._swept = at

    async def _page(self, address: str, shown: Mapping[str, str]) -> "str | _Silence":
        url = address.rstrip("/") + "/metrics"
        if self._how:
            url = url.replace("http://", "https://", 1)
        try:
            async with (
                self._places,
                self._session.get(url, timeout=self._timeout, headers=shown, allow_redirects=False, **self._how) as answer,
            ):
                if answer.status != 200:
                    return _Silence(f"{url} answers {answer.status}")
                body = await answer.content.read(_LARGEST_PAGE)
                while not answer.content.at_eof() and len(body) < _LARGEST_PAGE:
                    body += await answer.content.read(_LARGEST_PAGE - len(body))
                return body.decode("utf-8", "replace")
        except TimeoutError:
            return _Silence(f"{url} did not answer within {self._timeout.total:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as problem:
            return _Silence(f"{url} did not answer: {problem or type(problem).__name__}")


class _Silence:
    """An address that did not answer, and why."""

    def __init__(self, why: str) -> None:
        self.why = why
