"""How the accounting for answers is doing: what readiness says about it, and its metrics."""

from collections.abc import Iterator, Mapping

from serving.audit.keys.keyring import Keyring
from serving.telemetry import names
from serving.telemetry.names import MetricDoc


class AuditHealth:
    """The state of one replica's prediction log beside its counts of records."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def problems(self) -> tuple[str, ...]:
        """What is wrong now, and what happens instead, a line each; for readiness."""
        return (self._keyring.problem,) if self._keyring.problem else ()

    def metrics(self) -> Iterator[tuple[MetricDoc, Mapping[tuple[str, ...], float]]]:
        """A telemetry.metrics.MetricSource."""
        yield names.AUDIT_SIGNED, {(): float(not self._keyring.problem)}
