"""Spans of requests: which requests are traced (tracer, tail), names of spans (names), and how a trace crosses a hop (traceparent).

Imported by name, module by module: only trace, tracer and otlp_http load OpenTelemetry, and nothing outside this room does."""
