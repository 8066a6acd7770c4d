"""What tests of traces share."""

from collections.abc import Iterator

import pytest

from tests.fakes.tracing.otel_collector import OtelCollector


@pytest.fixture
def collector() -> Iterator[OtelCollector]:
    """A collector of the test's own, to be killed."""
    collector = OtelCollector()
    yield collector
    collector.stop()
