"""Labels of a label server (`vedette label serve`), for an operator that cannot read the store."""

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import quote

import aiohttp
from pydantic import Field, TypeAdapter

from operators.ports import BackendError, LabelGateCounts, ServiceRef
from operators.rollout.spec import GateName
from serving.access.client_credentials import read_secret

_Counts = dict[str, dict[GateName, tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]]]]
_COUNTS: Final = TypeAdapter(_Counts)
_MOST_BYTES: Final = 4 * 1024 * 1024


class LabelServer:
    """Port LabelEvidence over HTTP. url: of the server. token_file: holds its bearer token, and is read for each question."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token_file: Path | None, *, timeout_s: float = 10.0) -> None:
        self._session, self._url, self._token_file = session, url.rstrip("/"), token_file
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)

    async def counts(self, service: ServiceRef, since: datetime) -> LabelGateCounts:
        """Ask for the counts of a model. Raises BackendError."""
        url = f"{self._url}/v1/counts/{quote(service.model, safe='')}?since_us={round(since.timestamp() * 1_000_000)}"
        try:
            token = await asyncio.to_thread(read_secret, self._token_file) if self._token_file is not None else ""
            headers = {"authorization": f"Bearer {token}"} if token else {}
            async with self._session.get(url, headers=headers, timeout=self._timeout) as answer:
                body = b""
                while len(body) < _MOST_BYTES and (block := await answer.content.read(_MOST_BYTES - len(body))):
                    body += block
                if answer.status != 200:
                    raise BackendError(f"{url} answers {answer.status}: {body[:300].decode('utf-8', 'replace')}")
            return _COUNTS.validate_json(body, strict=False)
        except TimeoutError as problem:
            raise BackendError(f"{url} did not answer within {self._timeout.total:g} s") from problem
        except (aiohttp.ClientError, OSError, ValueError) as problem:
            raise BackendError(f"{url}: {problem}; check that `vedette label serve` runs there") from problem
