"""Counts of what each model version has answered, for the protocol's statistics extension.

One replica's own, since it started; what a fleet did is Prometheus' to say (serving.telemetry.metrics)."""

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
