"""Counters of one door: connections and refusals, also of requests that reached no model.

Only the listeners' loop counts; a scrape reads in another thread. An answer of 200 costs nothing here. Core: plain numbers, whose names
are in serving.telemetry.door_names."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from serving.doors.oip.errors import http_status
from serving.errors import ServingError
from serving.telemetry import door_names as names
from serving.telemetry.metric_doc import MetricDoc

PROTOCOL, CONNECTIONS, CLIENT, SLOW = "protocol", "connections", "client", "slow"
OTHER: Final = "other"
REASONS: Final[Mapping[int, str]] = MappingProxyType(
    {
        400: "malformed",
        401: "unauthenticated",
        403: "forbidden",
        404: "unknown",
        405: "method",
        413: "too_large",
        429: "overloaded",
        431: "head_too_large",
        500: "internal",
        501: "unsupported",
        503: "unavailable",
        504: "deadline",
        505: PROTOCOL,
    }
)
"""Why, by the HTTP status of the answer; a gRPC call that is refused has the status that HTTP would give it."""
ALL_REASONS: Final = tuple(dict.fromkeys((*REASONS.values(), CONNECTIONS, CLIENT, SLOW, OTHER)))


class DoorCounts:
    """Of one door. most: gives the number of connections that it takes."""

    __slots__ = ("door", "most", "open", "refused", "unfinished_bytes")

    def __init__(self, door: str) -> None:
        self.door = door
        self.refused: dict[str, int] = dict.fromkeys(ALL_REASONS, 0)
        self.open = 0
        """Connections."""
        self.most = 0
        self.unfinished_bytes: Callable[[], int] = int
        """Gives the bytes of requests that have begun to arrive."""

    def status(self, status: int, reason: str | None = None) -> None:
        """Count an answer that is an error. reason: what it is if its status does not say it."""
        self.refused[reason or REASONS.get(status, OTHER)] += 1

    def error(self, error: ServingError) -> None:
        """Count a call that gets this error."""
        self.status(http_status(error))

    def broken(self, reason: str) -> None:
        """Count a connection, or a request on one, that got no answer of its own: PROTOCOL, CONNECTIONS, CLIENT or SLOW."""
        self.refused[reason] += 1


class AllDoorCounts:
    """Both doors of a replica."""

    def __init__(self) -> None:
        self.http, self.grpc = DoorCounts("http"), DoorCounts("grpc")

    def metrics(self) -> Iterator[tuple[MetricDoc, Mapping[tuple[str, ...], float]]]:
        """A telemetry.metrics.MetricSource."""
        doors: Sequence[DoorCounts] = (self.http, self.grpc)
        yield names.DOOR_REFUSED, {(door.door, why): float(n) for door in doors for why, n in dict(door.refused).items()}
        yield names.DOOR_CONNECTIONS, {(door.door,): float(door.open) for door in doors}
        yield names.DOOR_CONNECTIONS_MOST, {(door.door,): float(door.most) for door in doors if door.most}
        yield names.DOOR_UNFINISHED, {(door.door,): float(door.unfinished_bytes()) for door in doors}
