"""Evidence from Prometheus: two instant queries at one moment, for the counters and for how old their samples are.

For clusters where the operator may not reach the pods. Speaks Prometheus' HTTP API (also Thanos', Mimir's, VictoriaMetrics');
operators.backends.evidence interprets the counters. Counters are taken raw, never as `rate()`: the rollout core differences
them itself, by replica, so that restarts and missed scrapes lose nothing."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import aiohttp

from operators.backends.evidence import SERIES, Scrape, ScrapedSample, read_samples
from operators.ports import ServiceRef
from serving.access.client_credentials import read_secret
from serving.telemetry.names import START

_AGE: Final = START.name
_OF_MODEL: Final = tuple(name for name, labels in SERIES.items() if "model" in labels)
_OF_REPLICA: Final = tuple(name for name, labels in SERIES.items() if "model" not in labels)


def _utc() -> datetime:
    return datetime.now(UTC)


class PrometheusEvidence:
    """A Prometheus server.

    url: of its API, without `/api/v1`. matchers: PromQL label matchers that tell this service's replicas from others, with
    {namespace} and {name} filled in, e.g. `namespace="{namespace}"`. max_age: samples older than this do not count: the replica
    is gone or no longer scraped. token_file: holds a bearer token; read for each look, as such tokens are renewed."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        *,
        matchers: str = 'namespace="{namespace}"',
        timeout_s: float = 10.0,
        max_age: timedelta = timedelta(seconds=60),
        token_file: Path | None = None,
        now: Callable[[], datetime] = _utc,
    ) -> None:
        self._session, self._url, self._matchers = session, url.rstrip("/"), matchers
        self._timeout, self._max_age, self._now = aiohttp.ClientTimeout(total=timeout_s), max_age, now
        self._token_file = token_file

    async def read(self, service: ServiceRef) -> Scrape:
        """Read one service's counters. Scrape.at is when the oldest sample that counts was scraped."""
        asked = self._now()
        try:
            return await self._look(service, asked)
        except (_QueryError, TimeoutError, aiohttp.ClientError, OSError, ValueError) as problem:
            why = str(problem) or type(problem).__name__
        except (LookupError, TypeError, AttributeError, OverflowError) as problem:
            why = f"its answer does not follow Prometheus' API: {problem!r}"
        return Scrape(asked, problem=f"Prometheus at {self._url}: {why}")

    async def _look(self, service: ServiceRef, asked: datetime) -> Scrape:
        headers = await asyncio.to_thread(self._authorization)
        ages = await self._query(f"timestamp({_selector((_AGE,), self._where(service))})", asked, headers)
        vector = await self._query(
            f"{_selector(_OF_MODEL, [*self._where(service), _equal('model', service.model)])}"
            f" or {_selector(_OF_REPLICA, self._where(service))}",
            asked,
            headers,
        )
        scraped = _newest(ages)
        fresh = {replica: at for replica, at in scraped.items() if asked - at <= self._max_age}
        if not fresh:
            return Scrape(asked, problem=self._none(service, scraped, asked))
        pages = _pages(_fresh(vector, fresh))
        return read_samples(service.model, pages, min(fresh.values()), problem=_late(scraped, fresh, asked))

    def _where(self, service: ServiceRef) -> list[str]:
        filled = self._matchers.replace("{namespace}", _quoted(service.namespace)).replace("{name}", _quoted(service.name))
        return [filled] if filled else []

    def _none(self, service: ServiceRef, scraped: Mapping[str, datetime], asked: datetime) -> str:
        where = ", ".join(self._where(service))
        if not scraped:
            return f"Prometheus at {self._url} has no series {_AGE}{{{where}}}; check its scrape configuration and the matchers"
        age_s = (asked - max(scraped.values())).total_seconds()
        return f"Prometheus at {self._url} last scraped {{{where}}} {age_s:.0f} s ago; check that its targets are up"

    def _authorization(self) -> dict[str, str]:
        if self._token_file is None:
            return {}
        return {"Authorization": f"Bearer {read_secret(self._token_file)}"}

    async def _query(self, promql: str, at: datetime, headers: Mapping[str, str]) -> list[Mapping[str, Any]]:
        form = {"query": promql, "time": f"{at.timestamp():.3f}"}
        url = f"{self._url}/api/v1/query"
        async with self._session.post(url, data=form, timeout=self._timeout, headers=headers) as answer:
            if "json" not in answer.content_type:
                raise _QueryError(f"answers {answer.status} {answer.content_type}, not JSON; is that the API's address?")
            body = await answer.json()
        if body.get("status") != "success":
            raise _QueryError(f"{body.get('errorType', 'error')}: {body.get('error', 'no reason given')}")
        if body["data"]["resultType"] != "vector":
            raise _QueryError(f"returned a {body['data']['resultType']}, expected a vector")
        found: list[Mapping[str, Any]] = body["data"]["result"]
        return found


class _QueryError(Exception):
    """Prometheus answered, but not with what was asked."""


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _equal(label: str, value: str) -> str:
    return f'{label}="{_quoted(value)}"'


def _selector(names: tuple[str, ...], where: list[str]) -> str:
    return "{" + ",".join([f'__name__=~"{"|".join(names)}"', *where]) + "}"


def _newest(vector: list[Mapping[str, Any]]) -> dict[str, datetime]:
    """When each replica was last scraped."""
    newest: dict[str, datetime] = {}
    for found in vector:
        replica, at = found["metric"].get("replica", "only"), datetime.fromtimestamp(float(found["value"][1]), UTC)
        newest[replica] = max(at, newest.get(replica, at))
    return newest


def _late(scraped: Mapping[str, datetime], fresh: Mapping[str, datetime], asked: datetime) -> str | None:
    late = sorted(set(scraped) - set(fresh))
    if not late:
        return None
    age_s = (asked - scraped[late[0]]).total_seconds()
    return f"replica {late[0]} was last scraped {age_s:.0f} s ago" + (f", and {len(late) - 1} more" if len(late) > 1 else "")


def _pages(samples: Iterable[ScrapedSample]) -> Iterable[list[ScrapedSample]]:
    """The samples of each target that was scraped: they have its labels (`instance`, `pod`) beside their own."""
    pages: dict[frozenset[tuple[str, str]], list[ScrapedSample]] = {}
    for (name, labels), value in samples:
        own = ("__name__", "replica", *SERIES.get(name, ()))
        target = frozenset((label, of) for label, of in labels.items() if label not in own)
        pages.setdefault(target, []).append(((name, labels), value))
    return pages.values()


def _fresh(vector: list[Mapping[str, Any]], fresh: Mapping[str, datetime]) -> Iterator[ScrapedSample]:
    for found in vector:
        metric: Mapping[str, str] = found["metric"]
        if metric.get("replica", "only") in fresh:
            yield (metric["__name__"], metric), float(found["value"][1])
