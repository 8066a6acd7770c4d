"""Finished spans kept in memory, for tests."""

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


class MemorySpans:
    """Keeps finished spans: `Tracer(1.0, None, exporter=spans.exporter)`."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()

    def finished(self) -> tuple[ReadableSpan, ...]:
        """Every span that has ended, in the order of their ends."""
        return self.exporter.get_finished_spans()
