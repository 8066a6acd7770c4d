"""The names of what the doors count by themselves (serving.doors.counts), beside those of serving.telemetry.names."""

from typing import Final

from serving.telemetry.metric_doc import MetricDoc

DOOR_REFUSED: Final = MetricDoc(
    "vedette_door_refused_total",
    "counter",
    ("door", "reason"),
    "Everything that a door answered with an error or broke off, whether or not a model was asked. By status: malformed (400), "
    "unauthenticated (401), forbidden (403), unknown (404: path, model or version), method (405), too_large (413), overloaded (429), "
    "head_too_large (431), internal (500), unsupported (501), unavailable (503; probes of readiness too), deadline (504), other. By the "
    "connection: protocol (bytes that are no HTTP, or break its rules; a body that did not arrive), connections (more than the limit), "
    "client (more than the share of one address), slow (a client that sends or reads nothing).",
)
DOOR_CONNECTIONS: Final = MetricDoc("vedette_door_connections", "gauge", ("door",), "Open connections.")
DOOR_CONNECTIONS_MOST: Final = MetricDoc(
    "vedette_door_connections_limit", "gauge", ("door",), "Number of connections beyond which the newest are refused."
)
DOOR_UNFINISHED: Final = MetricDoc(
    "vedette_door_unfinished_bytes", "gauge", ("door",), "Bytes of requests that have begun to arrive and are not complete."
)
DOOR_METRICS: Final = (DOOR_REFUSED, DOOR_CONNECTIONS, DOOR_CONNECTIONS_MOST, DOOR_UNFINISHED)
