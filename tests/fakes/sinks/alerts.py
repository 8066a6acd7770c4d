"""Alerts for tests."""

import msgspec

from serving.sinks.alert import SinkAlert, sink_alert
from serving.sinks.forms.example import example


def an_alert(
    number=1, *, host="192.0.2.1", group=None, severity="high", title="Flood", event=None, techniques=("T1498",), **of_verdict
):
    message = example(number=number).message
    verdict = msgspec.structs.replace(message.verdict, entity={"host": host}, techniques=techniques, **of_verdict)
    return sink_alert(
        msgspec.structs.replace(
            message,
            verdict=verdict,
            title=title,
            severity=severity,
            group=group or f"host={host}",
            event=event if event is not None else {},
        )
    )


def record(alert: SinkAlert) -> bytes:
    """As the alerts topic has it."""
    return msgspec.json.encode(alert.message)
