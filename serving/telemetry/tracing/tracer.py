"""Decides which requests are traced: at the start by the caller's header or by sampling, at the end by their outcome (tail).

A request that is not sampled touches nothing of OpenTelemetry. Spans are given with their times after the fact, so the core only keeps
clock readings. How spans travel is the business of `delivery`."""

import random
import time
from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import Final

from opentelemetry.sdk.resources import Resource

from serving.telemetry.metric_doc import Figures
from serving.telemetry.tracing import metric_names
from serving.telemetry.tracing.delivery import SpanDelivery
from serving.telemetry.tracing.names import TraceKind
from serving.telemetry.tracing.span_bytes import encode_resource
from serving.telemetry.tracing.tail import KEEP_NONE, KEEP_REASONS, KeepPolicy, KeepReason
from serving.telemetry.tracing.trace import Ship, Trace, read_ids, read_links
from serving.telemetry.tracing.traceparent import is_plainly_unsampled, parse_traceparent

MOST_STATE: Final = 512
"""Characters of a tracestate that goes on; the W3C asks for as many."""
SAMPLED: Final = "sampled"
UNKEPT: Final = "unkept"


class Tracer:
    """Decides which requests are traced, and ships their spans.

    endpoint: base URL of an OTLP/HTTP collector (`/v1/traces` is added), or None: nothing is ever traced. tail: what is kept though it
    was not sampled. exporter: takes encoded spans in the endpoint's place, at once and in this thread."""

    def __init__(
        self,
        ratio: float,
        endpoint: str | None,
        service_name: str = "vedette",
        *,
        tail: KeepPolicy = KEEP_NONE,
        exporter: Callable[[Iterable[bytes], Resource], None] | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.tail, self._now_s = tail, now_s
        # what it asks the platform is asked once, where a span needs it
        resource = cache(partial(Resource.create, {"service.name": service_name}))
        self._delivery: SpanDelivery | None = None
        self._ship: Ship | None = None
        if exporter is not None:
            self._ship = lambda spans: exporter(spans.encode(), resource())
        elif endpoint is not None:
            self._delivery = SpanDelivery(endpoint, encode_resource(resource().attributes))
            self._ship = self._delivery.take
        self._ratio = ratio if self._ship is not None else 0.0
        self._counts = dict.fromkeys((SAMPLED, *KEEP_REASONS, UNKEPT), 0)

    @property
    def is_on(self) -> bool:
        """Whether any request may be traced."""
        return self._ship is not None

    def begin(
        self,
        traceparent: str | None,
        name: str,
        *,
        kind: TraceKind = "server",
        start_ns: int | None = None,
        tracestate: str | None = None,
        links: Iterable[str] = (),
    ) -> Trace | None:
        """Start a span if it is sampled, else None. traceparent: the caller's header, if any; its decision wins, else the coin's.
        tracestate: the caller's, which goes on. links: traceparents of what it also comes from; they decide nothing."""
        if not self.throw(traceparent):
            return None
        return self.start(traceparent, name, kind=kind, start_ns=start_ns, tracestate=tracestate, links=links)

    def throw(self, traceparent: str | None) -> bool:
        """Whether what comes with this header is sampled. Asked once a request: the coin is thrown each time."""
        if traceparent is not None and self._ship is not None:
            if is_plainly_unsampled(traceparent):
                return False
            caller = parse_traceparent(traceparent)
            if caller is not None:
                return caller[2]
        return random.random() < self._ratio  # noqa: S311  # nosec B311  # a sampling coin, not a secret

    def start(
        self,
        traceparent: str | None,
        name: str,
        *,
        kind: TraceKind = "server",
        start_ns: int | None = None,
        tracestate: str | None = None,
        links: Iterable[str] = (),
    ) -> Trace:
        """Start the span of what is sampled. Raises ValueError while tracing is off."""
        self._counts[SAMPLED] += 1
        return self._open(traceparent, name, kind, start_ns, tracestate, links)

    def keep(
        self, reason: KeepReason, traceparent: str | None, name: str, *, kind: TraceKind = "server", start_ns: int | None = None
    ) -> Trace | None:
        """Start the span of a request that was not sampled and is worth a trace; None if its reason had its share of this second. One that
        its caller does sample is a part of the caller's trace, but no more of them are made."""
        if self._ship is None or not self.tail.may_keep(reason, self._now_s()):
            self._counts[UNKEPT] += 1
            return None
        self._counts[reason] += 1
        caller = None if traceparent is None else parse_traceparent(traceparent)
        return self._open(traceparent, name, kind, start_ns, None, (), is_kept=caller is None or not caller[2])

    def metrics(self) -> Figures:
        """Traces by reason and spans by outcome, as a source of ServingMetrics."""
        yield metric_names.TRACES, {(reason,): float(n) for reason, n in self._counts.items()}
        if self._delivery is not None:
            yield metric_names.SPANS, {(outcome,): float(n) for outcome, n in self._delivery.counts().items()}

    def close(self) -> None:
        """Export what is waiting, within delivery.EXPORT_TIMEOUT_S, and stop."""
        if self._delivery is not None:
            self._delivery.close()

    def _open(
        self,
        traceparent: str | None,
        name: str,
        kind: TraceKind,
        start_ns: int | None,
        tracestate: str | None,
        links: Iterable[str],
        *,
        is_kept: bool = False,
    ) -> Trace:
        if self._ship is None:
            raise ValueError("nothing is traced: this tracer has neither a collector nor an exporter")
        caller = None if traceparent is None else read_ids(traceparent)
        state = tracestate if tracestate is not None and caller is not None and len(tracestate) <= MOST_STATE else ""
        if caller is None:
            return Trace(self._ship, name, kind, None, start_ns, links=read_links(links))
        if is_kept:  # the caller said no, so its own span never arrives, and a backend would wait for it
            return Trace(self._ship, name, kind, caller, start_ns, is_root=True, links=(caller,))
        return Trace(self._ship, name, kind, caller, start_ns, is_remote=True, tracestate=state, links=read_links(links))
