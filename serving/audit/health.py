"""The state of the prediction log for readiness and metrics."""

from collections.abc import Iterator, Mapping, Sequence

from serving.audit.anchors.publisher import AnchorPublisher
from serving.audit.keys.keyring import Keyring
from serving.telemetry import names
from serving.telemetry.metric_doc import MetricDoc


class AuditHealth:
    """The state of one replica's prediction log beside its counts of records."""

    def __init__(self, keyring: Keyring, anchors: Sequence[AnchorPublisher] = ()) -> None:
        self._keyring, self._anchors = keyring, anchors

    def problems(self) -> tuple[str, ...]:
        """What is wrong now, and what happens instead, a line each; for readiness."""
        return tuple(filter(None, (self._keyring.problem, *(anchor.problem for anchor in self._anchors))))

    def metrics(self) -> Iterator[tuple[MetricDoc, Mapping[tuple[str, ...], float]]]:
        """A telemetry.metrics.MetricSource."""
        yield names.AUDIT_SIGNED, {(): float(not self._keyring.problem)}
        anchored: dict[tuple[str, ...], float] = {}
        outcomes = ("published", "failed", "given_up")
        for anchor in self._anchors:
            anchored.update({(anchor.label, what): float(n) for what, n in zip(outcomes, anchor.counts, strict=True)})
        yield names.AUDIT_ANCHORED, anchored
        yield names.AUDIT_ANCHOR_LAG, {(anchor.label,): anchor.lag_s() for anchor in self._anchors}
        yield names.AUDIT_ANCHORED_AT, {(anchor.label,): anchor.published_s for anchor in self._anchors}
