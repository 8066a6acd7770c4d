"""Counts of the answers of each model version, for the protocol's statistics extension: of one replica, since it started.

They are not sums of serving.telemetry.counts: those count once for each variant that answered rows of a request, and have neither the
time of failures nor the time of the last request. The counts of all replicas are in Prometheus (serving.telemetry.metrics)."""

import time

from serving.messages import ModelStatistics


class ModelTally:
    """Counts of one model version. Lives on the listeners' loop; two additions a request."""

    __slots__ = ("failure_ns", "failures", "last_ms", "success_ns", "successes")

    def __init__(self) -> None:
        self.successes = self.success_ns = self.failures = self.failure_ns = self.last_ms = 0

    def count(self, began_ns: int, *, is_success: bool) -> None:
        """One answer. began_ns: time.perf_counter_ns() when the request came."""
        took_ns = time.perf_counter_ns() - began_ns
        self.last_ms = time.time_ns() // 1_000_000
        if is_success:
            self.successes += 1
            self.success_ns += took_ns
        else:
            self.failures += 1
            self.failure_ns += took_ns

    def read(self, name: str, version: str) -> ModelStatistics:
        """As a value."""
        return ModelStatistics(name, version, self.successes, self.success_ns, self.failures, self.failure_ns, self.last_ms)
