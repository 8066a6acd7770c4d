"""The API server as a kubelet uses it: get, list and watch, write; over HTTP, with its own token."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import httpx

from tests import quick_yaml as yaml
from tests.fakes.apiserver.certificates import lenient

Json = dict[str, Any]
MERGE: Final = {"Content-Type": "application/merge-patch+json"}
STRATEGIC: Final = {"Content-Type": "application/strategic-merge-patch+json"}
AGAIN_S: Final = 0.5


class Api:
    """server: host and port. authority: the CA's certificate."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.authority = Path(cluster["certificate-authority"]).read_text(encoding="utf-8")
        trusted = lenient(ssl.create_default_context(cadata=self.authority))
        headers = {"Authorization": f"Bearer {user['token']}", "User-Agent": "kubelet/test"}
        limits = httpx.Limits(max_connections=64)
        self.http = httpx.AsyncClient(
            base_url=cluster["server"], headers=headers, verify=trusted, timeout=30, limits=limits, trust_env=False
        )
        self.server = (str(self.http.base_url.host), int(self.http.base_url.port or 443))

    async def get(self, path: str) -> Json | None:
        """None: there is none."""
        answer = await self.http.get(path)
        if answer.status_code == 404:
            return None
        answer.raise_for_status()
        found: Json = answer.json()
        return found

    async def post(self, path: str, document: Json) -> Json:
        """Raises httpx.HTTPStatusError, but for what exists already."""
        answer = await self.http.post(path, json=document)
        if answer.status_code != 409:
            answer.raise_for_status()
        made: Json = answer.json()
        return made

    async def patch(self, path: str, document: Json, kind: dict[str, str] = MERGE) -> Json | None:
        """None: there is none any more, or it is another of the name."""
        answer = await self.http.patch(path, json=document, headers=kind)
        if answer.status_code in (404, 409):
            return None
        if answer.is_error:
            raise RuntimeError(f"PATCH {path}: {answer.text}")
        found: Json = answer.json()
        return found

    async def delete(self, path: str, uid: str) -> None:
        """At once, and only the one with this uid."""
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}}
        answer = await self.http.request("DELETE", path, json=options)
        if answer.status_code not in (404, 409):
            answer.raise_for_status()

    async def follow(self, path: str) -> AsyncIterator[tuple[str, list[Json]]]:
        """`("ALL", everything)`, again after each break, and between these `("ADDED" | "MODIFIED" | "DELETED", [one])`."""
        while True:
            try:
                listed = await self.get(path) or {"items": [], "metadata": {"resourceVersion": "0"}}
                yield "ALL", listed["items"]
                query = {"watch": "true", "resourceVersion": listed["metadata"]["resourceVersion"], "timeoutSeconds": "300"}
                async with self.http.stream("GET", path, params=query, timeout=httpx.Timeout(30, read=None)) as lines:
                    async for line in lines.aiter_lines():
                        event = json.loads(line)
                        if event["type"] == "ERROR":
                            break
                        yield event["type"], [event["object"]]
            except (httpx.HTTPError, ValueError):
                await asyncio.sleep(AGAIN_S)
