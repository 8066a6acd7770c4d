"""The description of a metric. Names are in serving.telemetry.names and serving.telemetry.stream_names."""

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple


class MetricDoc(NamedTuple):
    """One metric: its full name as scraped (without `_bucket`, `_sum`, `_count`), kind, labels, and what it says."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    says: str

    @property
    def exposed(self) -> dict[str, tuple[str, ...]]:
        """Its series as scraped, and their labels beside `replica`.

        >>> MetricDoc("x_seconds", "histogram", ("model",), "...").exposed
        {'x_seconds_bucket': ('model', 'le'), 'x_seconds_sum': ('model',), 'x_seconds_count': ('model',)}
        """
        if self.kind != "histogram":
            return {self.name: self.labels}
        return {f"{self.name}_bucket": (*self.labels, "le"), f"{self.name}_sum": self.labels, f"{self.name}_count": self.labels}


Figures = Iterator[tuple[MetricDoc, Mapping[tuple[str, ...], float]]]
"""Current values of some metrics by labels, as a source of telemetry.metrics.ServingMetrics gives them."""
