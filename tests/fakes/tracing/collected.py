"""Spans as a collector has them, and what a connected trace is."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

SERVER, CLIENT, PRODUCER, CONSUMER = 2, 3, 4, 5
"""Kinds of spans in OTLP."""
_ERROR: Final = 2
_VALUES: Final = {"stringValue": str, "intValue": int, "doubleValue": float, "boolValue": bool}


@dataclass(frozen=True, slots=True)
class CollectedSpan:
    """One span. parent: empty if it has none. links: (trace id, span id)."""

    trace: str
    id: str
    parent: str
    name: str
    kind: int
    start_ns: int
    end_ns: int
    attributes: dict[str, Any]
    links: tuple[tuple[str, str], ...]
    is_error: bool
    service: str


def spans_of(message: dict[str, Any]) -> Iterable[CollectedSpan]:
    """The spans of one OTLP message in its JSON form."""
    for group in message.get("resourceSpans", ()):
        service = str(_attributes(group["resource"]).get("service.name"))
        for span in (span for scope in group["scopeSpans"] for span in scope["spans"]):
            yield CollectedSpan(
                span["traceId"],
                span["spanId"],
                span.get("parentSpanId", ""),
                span["name"],
                span["kind"],
                int(span["startTimeUnixNano"]),
                int(span["endTimeUnixNano"]),
                _attributes(span),
                tuple((link["traceId"], link["spanId"]) for link in span.get("links", ())),
                span.get("status", {}).get("code") == _ERROR,
                service,
            )


def _attributes(holder: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for entry in holder.get("attributes", ()):
        ((kind, value),) = entry["value"].items()
        found[entry["key"]] = _VALUES[kind](value)
    return found


def of_trace(spans: Iterable[CollectedSpan], traceparent: str) -> list[CollectedSpan]:
    """The spans of the trace that a header names."""
    return [span for span in spans if span.trace == traceparent.split("-")[1]]


def loose_ends(spans: Sequence[CollectedSpan], caller: str) -> list[str]:
    """Names of the spans of a trace that do not lead to its caller; none: the trace is connected. caller: its traceparent."""
    known = {span.id for span in spans} | {caller.split("-")[2]}
    return [span.name for span in spans if span.parent not in known]
