"""Every group of alerts, in the order in which people read them."""

from typing import Final

from operators.observability.alerts import answers, models, records, replicas, rollouts, security, slo, streams

GROUPS: Final = (
    slo.GROUP,
    replicas.GROUP,
    answers.GROUP,
    records.GROUP,
    streams.GROUP,
    rollouts.GROUP,
    models.GROUP,
    security.GROUP,
)
