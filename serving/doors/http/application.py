"""The protocol of an application that answers the requests of HTTP connections. Vedette's is serving.doors.http.door.HttpDoor."""

from collections.abc import Coroutine, Mapping
from typing import Any, Protocol

from serving.doors.http.reply import Reply
from serving.doors.requester import DoorConnection
from serving.errors import ServingError


class HttpApplication(Protocol):
    """What answers: serving.doors.http.door.HttpDoor."""

    max_body_bytes: int
    body_timeout_s: float

    def respond(
        self,
        method: str,
        raw_path: bytes,
        query: bytes,
        headers: Mapping[bytes, bytes],
        body: bytes,
        connection: DoorConnection | None = None,
    ) -> Coroutine[Any, Any, Reply]:
        """Answer one request. Begun at once, cancelled if its client leaves. connection: where it came from."""
        ...

    def admit_head(self, method: str, url: bytes, headers: Mapping[bytes, bytes]) -> ServingError | None:
        """Called when a request's head has arrived. Returns the refusal if the request is refused before its body; None: go on."""
        ...
