"""Stored features from an HTTP feature server that speaks Feast's `/get-online-features`: for a store without an adapter here.

Only stored features are requested; the plan computes views, ages and defaults. If the server fails, rows get defaults and `degraded`,
not an error. JSON has no bytes, so keys and features of raw bytes cannot be read."""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import aiohttp
import orjson

from serving.features.plan.feature_plan import Group, Row
from serving.features.plan.keys import decode_key
from serving.features.stores.addresses import without_login
from serving.ports import ReadOutcome
from serving.tls_trust import client_trust

log = logging.getLogger(__name__)

_QUIET_S: Final = 10


@dataclass(frozen=True, slots=True)
class ServerRequest:
    """One group: the features to ask for (`view:feature`), and of each view the places of its features."""

    features: tuple[str, ...]
    views: tuple[tuple[int, int], ...]


class HttpStore:
    """Implements plan.Store."""

    decodes = True

    def __init__(self, url: str) -> None:
        """Ask the feature server at `url`, e.g. `http://127.0.0.1:6566`."""
        self._url = f"{url.rstrip('/')}/get-online-features"
        self._session: aiohttp.ClientSession | None = None
        self._quiet_until_s = 0.0

    def prepare(self, project: str, groups: Sequence[Group]) -> tuple[ServerRequest, ...]:
        """Name the features."""
        return tuple(
            ServerRequest(
                tuple(f"{p.view.storage}:{feature.name}" for p in group.views for feature in p.view.features),
                tuple((p.first, p.first + len(p.view.features)) for p in group.views),
            )
            for group in groups
        )

    async def fetch(
        self, prepared: tuple[ServerRequest, ...], keys: Sequence[Sequence[bytes]], timeout_s: float
    ) -> list[list[Row]] | ReadOutcome:
        """Ask for every group at once; one answer that fails or is late is all of them."""
        try:
            async with asyncio.timeout(timeout_s):
                asking = (self._group(group, asked) for group, asked in zip(prepared, keys, strict=True))
                return list(await asyncio.gather(*asking))
        except TimeoutError:
            return ReadOutcome.TIMED_OUT
        except aiohttp.ClientConnectionError as error:
            self._log_failure(error)
            return ReadOutcome.NO_CONNECTION
        except (aiohttp.ClientError, OSError, ValueError, KeyError, TypeError, IndexError) as error:
            self._log_failure(error)
            return ReadOutcome.FAILED

    def _log_failure(self, error: Exception) -> None:
        """Log a failure, at most every _QUIET_S: every request may have it."""
        now_s = time.monotonic()
        if now_s >= self._quiet_until_s:
            self._quiet_until_s = now_s + _QUIET_S
            log.warning(
                "features: a read from %s failed (logged at most once in %d s): %r", without_login(self._url), _QUIET_S, error
            )

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def _group(self, group: ServerRequest, keys: Sequence[bytes]) -> list[Row]:
        nobody: Row = ([None] * len(group.features), [0] * len(group.views))
        decoded = [decode_key(key) for key in keys]
        sent = [place for place, key in enumerate(decoded) if not any(isinstance(value, bytes) for value in key.values())]
        rows = [nobody] * len(keys)
        if sent:
            entities = {name: [decoded[place][name] for place in sent] for name in decoded[sent[0]]}
            found = _rows(group, await self._ask(group, entities), len(sent))
            for place, row in zip(sent, found, strict=True):
                rows[place] = row
        return rows

    async def _ask(self, group: ServerRequest, entities: Mapping[str, Sequence[object]]) -> Any:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=client_trust()), headers={"content-type": "application/json"}
            )
        body = orjson.dumps({"features": group.features, "entities": entities, "full_feature_names": True})
        async with self._session.post(self._url, data=body) as answer:
            answer.raise_for_status()
            return orjson.loads(await answer.read())


def _rows(group: ServerRequest, answer: Any, count: int) -> list[Row]:
    """The answer, a column a feature, as a row a key. Raises KeyError or ValueError if it is not of that form."""
    names = answer["metadata"]["feature_names"]
    names = names["val"] if isinstance(names, dict) else names
    vectors = dict(zip(names, answer["results"], strict=True))
    wanted = [vectors[feature.replace(":", "__", 1)] for feature in group.features]
    rows: list[Row] = []
    for place in range(count):
        cells = [vector["values"][place] for vector in wanted]
        stamps = [_microseconds(vector["event_timestamps"][place]) for vector in wanted]
        rows.append((cells, [min(stamps[first:end], default=0) for first, end in group.views]))
    return rows


def _microseconds(text: str) -> int:
    """A time as protobuf writes it in JSON; the epoch means none."""
    return round(datetime.fromisoformat(text).timestamp() * 1e6) if text else 0
