"""Alerts about streams and sinks: do events become verdicts, and do alerts arrive."""

from typing import Final

from operators.observability.alerts.alert import Alert, AlertGroup
from operators.telemetry import sink_names
from serving.telemetry import stream_names as names

_WHO: Final = "{{ $labels.namespace }}/{{ $labels.pod }}"
_SINK: Final = "namespace, sink"

GROUP: Final = AlertGroup(
    "streams",
    (
        Alert(
            "VedetteStreamBehind",
            f"max by (namespace, topic) ({names.STREAM_LAG_SECONDS.name}) > 60",
            "warning",
            "The events of {{ $labels.topic }} are read {{ $value | humanizeDuration }} late",
            "Verdicts come that much later. Nothing is lost while the topic keeps its events.",
            lasts="5m",
        ),
        Alert(
            "VedetteStreamLagGrows",
            f"sum by (namespace, topic) (deriv({names.STREAM_LAG.name}[15m])) > 0 "
            f"and sum by (namespace, topic) ({names.STREAM_LAG.name}) > 10000",
            "warning",
            "{{ $labels.topic }}: more events come than are read, by {{ $value | humanize }} a second",
            "Workers do not keep up. Beyond the topic's retention events are lost.",
            lasts="10m",
        ),
        Alert(
            "VedetteStreamPaused",
            f"max by (namespace, pod, instance) ({names.STREAM_PAUSED.name}) == 1",
            "critical",
            f"The stream worker {_WHO} is paused",
            "It cannot score events: the model is not loaded, or a dependency is out. It continues by itself.",
            lasts="2m",
        ),
        Alert(
            "VedetteDeadLetters",
            f'sum by (namespace) (increase({names.STREAM_EVENTS.name}{{outcome="dead"}}[15m])) > 10',
            "warning",
            "{{ $value | humanize }} events became dead letters in 15 minutes",
            "They cannot be decoded or do not fit the model. They have no verdict. A producer has changed, or sends invalid events.",
            team="detection",
        ),
        Alert(
            "VedetteStreamRestarts",
            f"sum by (namespace, pod, instance) (increase({names.STREAM_RESTARTS.name}[15m])) > 3",
            "warning",
            f"The stream worker {_WHO} began anew {{{{ $value | humanize }}}} times in 15 minutes",
            "It is fenced, loses its partitions, or the broker fails. What it had not committed is scored again.",
        ),
        Alert(
            "VedetteStreamForgets",
            f'sum by (namespace, kind) (delta({names.STREAM_STATE.name}{{what="forgotten"}}[15m])) > 0',
            "warning",
            "Correlations forgot {{ $value | humanize }} events to keep within their bound",
            "A correlation may miss a hit, or report a partial one. Something makes far more groups than before: look for a flood.",
            team="detection",
        ),
        Alert(
            "VedetteWindowsNotPushed",
            f'sum by (namespace) (delta({names.STREAM_STATE.name}{{what="push_failures"}}[15m])) > 0',
            "warning",
            "Windows of the stream did not reach the online store {{ $value | humanize }} times",
            "Requests over HTTP and gRPC get older features than the stream has.",
        ),
        Alert(
            "VedetteSinkDown",
            f"min by ({_SINK}) ({sink_names.UP.name}) == 0",
            "warning",
            "The sink {{ $labels.sink }} does not take alerts",
            "They wait in its spool on the disk and are sent when it is back.",
            lasts="5m",
        ),
        Alert(
            "VedetteSinkSpoolGrows",
            f"max by ({_SINK}) ({sink_names.AGE.name}) > 600 and max by ({_SINK}) (deriv({sink_names.WAITING.name}[15m])) >= 0",
            "warning",
            "The oldest alert for {{ $labels.sink }} has waited {{ $value | humanizeDuration }}",
            "The SOC sees alerts late. When the spool is full, the oldest are dropped or nothing more is read, as the sink says.",
            lasts="5m",
        ),
        Alert(
            "VedetteSinkLosesAlerts",
            f'sum by ({_SINK}) (increase({sink_names.ALERTS.name}{{outcome=~"dropped|dead|removed"}}[15m])) > 0',
            "critical",
            "{{ $value | humanize }} alerts did not reach {{ $labels.sink }} and are not sent again",
            "dropped: the spool was full. dead: the far end refused them for good; they lie in a file. removed: from that file.",
        ),
        Alert(
            "VedetteSinksHeld",
            f"max by (namespace, pod, instance) ({sink_names.HELD.name}) == 1",
            "critical",
            f"The sinks {_WHO} read nothing more",
            "A spool is full or cannot be written. Alerts wait in their topic.",
            lasts="2m",
        ),
    ),
)
