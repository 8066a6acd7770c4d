"""Collectors of spans for the tests: the OpenTelemetry Collector itself, and what it was sent."""
