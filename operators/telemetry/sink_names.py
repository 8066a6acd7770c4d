"""The names of the sinks' metrics: each once. docs/reference/sinks.md is made from this."""

from typing import Final

from serving.telemetry.metric_doc import MetricDoc

_SINK: Final = ("sink",)
READ: Final = MetricDoc(
    "vedette_sinks_read_total",
    "counter",
    ("outcome",),
    "Records of the alerts topic: alert; dead (no alert, set aside in a file).",
)
BEHIND: Final = MetricDoc(
    "vedette_sinks_behind", "gauge", (), "Records of the topic that were not read yet, as the broker last said."
)
HELD: Final = MetricDoc(
    "vedette_sinks_held", "gauge", (), "1 while nothing is read, because a spool is full or cannot be written."
)
ALERTS: Final = MetricDoc(
    "vedette_sink_alerts_total",
    "counter",
    (*_SINK, "outcome"),
    "Alerts by outcome: spooled (to be sent); sent (the far end has it); dead (refused for good, set aside in a file); removed (of these, "
    "to make room for others); filtered (not "
    "severe enough for the sink); repeated; grouped and throttled (counted in another alert); dropped (the spool was full).",
)
RETRIED: Final = MetricDoc("vedette_sink_retries_total", "counter", _SINK, "Alerts that had to be sent again.")
FAILED: Final = MetricDoc(
    "vedette_sink_failures_total", "counter", _SINK, "Attempts without a connection, or without a complete answer."
)
UP: Final = MetricDoc("vedette_sink_up", "gauge", _SINK, "1 if the last try was taken, 0 if it failed.")
WAITING: Final = MetricDoc("vedette_sink_waiting", "gauge", _SINK, "Alerts in the spool that are not delivered.")
BYTES: Final = MetricDoc("vedette_sink_spool_bytes", "gauge", _SINK, "Bytes of the spool on disk.")
AGE: Final = MetricDoc(
    "vedette_sink_oldest_seconds", "gauge", _SINK, "Age of the oldest alert that is not delivered, 0 if there is none."
)
SENT_AT: Final = MetricDoc(
    "vedette_sink_last_sent_seconds", "gauge", _SINK, "When an alert was taken last, seconds since the epoch; 0: not yet."
)
SINK_METRICS: Final = (READ, BEHIND, HELD, ALERTS, RETRIED, FAILED, UP, WAITING, BYTES, AGE, SENT_AT)
