"""An example alert: `vedette sinks show` prints it, `vedette sinks test` sends it."""

from typing import Final

from serving.sinks.alert import SinkAlert, sink_alert
from serving.sinks.text import rfc3339
from serving.stream.contract import ALERT_SCHEMA, VERDICT_SCHEMA, AlertMessage, Level, VerdictMessage

EXAMPLE_US: Final = 1_313_675_550_000_000
"""18 August 2011, 13:52:30 UTC."""


def example(
    *,
    title: str = "Network flows of infected hosts",
    number: int = 1829,
    now_us: int = EXAMPLE_US,
    severity: Level = "high",
) -> SinkAlert:
    """An alert as a stream worker writes it. The address is reserved for documentation (RFC 5737)."""
    verdict = VerdictMessage(
        schema=VERDICT_SCHEMA,
        id=f"vedette.events/3/{number}",
        entity={"host": "192.0.2.165"},
        verdict="alert",
        model="flows",
        version="1",
        revision="5d41402abc4b2a76",
        variant="stable",
        source="model",
        receipt="r1/20110818-135230/17",
        row=0,
        scored_at=rfc3339(now_us + 42_000),
        event_time=rfc3339(now_us),
        score=3.21,
        probability=0.97,
        operating_point="siem_alerting",
        rules=("b0f1b5f9-2e0e-4c9a-9d0c-6a7d6f1f0c11",),
        techniques=("T1498.001",),
        trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
    )
    event = {"host": "192.0.2.165", "destination": "198.51.100.69", "proto": "icmp", "packets": 12, "bytes": 12_792}
    return sink_alert(
        AlertMessage(
            schema=ALERT_SCHEMA,
            verdict=verdict,
            title=title,
            severity=severity,
            group="192.0.2.165|T1498.001",
            event=event,
        )
    )
