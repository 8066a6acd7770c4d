"""An HTTP application that forwards only a few paths to another one: those that may be reached without TLS.

Probes of the kubelet have no client certificate, and replicas read each other's metrics over loopback. Neither port serves models."""

from collections.abc import Mapping
from typing import Final

from serving.doors.http.application import HttpApplication
from serving.doors.http.reply import Reply, error_reply
from serving.doors.requester import DoorConnection
from serving.errors import ServingError

HEALTH: Final = frozenset({b"/v2/health/live", b"/v2/health/ready"})
METRICS: Final = frozenset({b"/metrics"})
MAX_BODY_BYTES: Final = 4096


class NarrowDoor:
    """door: answers the paths; every other path is answered 404."""

    max_body_bytes = MAX_BODY_BYTES

    def __init__(self, door: HttpApplication, paths: frozenset[bytes]) -> None:
        self._door, self._paths = door, paths
        self.body_timeout_s = door.body_timeout_s
        self._words = ", ".join(sorted(path.decode() for path in paths))

    async def respond(
        self,
        method: str,
        raw_path: bytes,
        query: bytes,
        headers: Mapping[bytes, bytes],
        body: bytes,
        connection: DoorConnection | None = None,
    ) -> Reply:
        """Answer one request. Never raises."""
        if raw_path in self._paths:
            return await self._door.respond(method, raw_path, query, headers, body, connection)
        return error_reply(404, f"this port answers {self._words} only; everything else is at the HTTP port")

    def admit_head(self, _method: str, _url: bytes, _headers: Mapping[bytes, bytes]) -> ServingError | None:
        """Nothing here is an inference."""
        return None
