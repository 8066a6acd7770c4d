"""The names of a stream worker's metrics, beside those of the replica that it is (serving.telemetry.names)."""

from typing import Final

from serving.telemetry.metric_doc import MetricDoc

STREAM_EVENTS: Final = MetricDoc(
    "vedette_stream_events_total",
    "counter",
    ("outcome",),
    "Records of the event topic, by outcome: scored; dead (went to the dead letters); repeated (committed before a restart or a rebalance, "
    "so left out).",
)
STREAM_LATE: Final = MetricDoc(
    "vedette_stream_late_total",
    "counter",
    ("windows",),
    "Scored events that came behind the watermark: counted in windows, or not_counted (later than VEDETTE_STREAM_LATENESS_S).",
)
STREAM_ALERTS: Final = MetricDoc("vedette_stream_alerts_total", "counter", (), "Alerts written.")
STREAM_BATCH: Final = MetricDoc("vedette_stream_batch_events", "histogram", (), "Events that are scored at once.")
STREAM_LATENCY: Final = MetricDoc(
    "vedette_stream_latency_seconds",
    "histogram",
    (),
    "Time from when an event was produced (the record's timestamp) to when its verdict was committed. Includes the time that it was held.",
)
STREAM_COMMITS: Final = MetricDoc("vedette_stream_commits_total", "counter", (), "Commits of verdicts, state and positions.")
STREAM_RETRIES: Final = MetricDoc(
    "vedette_stream_retries_total", "counter", (), "Batches that were tried again because nothing could be answered or decoded."
)
STREAM_RESTARTS: Final = MetricDoc(
    "vedette_stream_restarts_total",
    "counter",
    (),
    "How often the worker gave up what was not committed and read anew: it was fenced, lost partitions, or the broker failed.",
)
STREAM_REBALANCES: Final = MetricDoc(
    "vedette_stream_rebalances_total", "counter", (), "Changes of the partitions that the worker owns."
)
STREAM_PAUSED: Final = MetricDoc(
    "vedette_stream_paused", "gauge", (), "1 while the partitions are paused because nothing can be answered."
)
STREAM_RESTORED_SECONDS: Final = MetricDoc(
    "vedette_stream_restored_seconds_total", "counter", (), "Time spent on reading states out of the changelog."
)
STREAM_RESTORED_RECORDS: Final = MetricDoc(
    "vedette_stream_restored_records_total", "counter", (), "Records of the changelog that were read for it."
)
_PARTITION: Final = ("topic", "partition")
STREAM_LAG: Final = MetricDoc(
    "vedette_stream_lag_records", "gauge", _PARTITION, "Records of an owned partition that were not read yet."
)
STREAM_LAG_SECONDS: Final = MetricDoc(
    "vedette_stream_lag_seconds",
    "gauge",
    _PARTITION,
    "Age of the newest record that was read of a partition with unread records; 0 if all is read.",
)
STREAM_HELD: Final = MetricDoc(
    "vedette_stream_held_events", "gauge", _PARTITION, "Events that wait for the watermark (VEDETTE_STREAM_DISORDER_S)."
)
STREAM_WATERMARK: Final = MetricDoc(
    "vedette_stream_watermark_seconds",
    "gauge",
    _PARTITION,
    "The watermark in seconds since the epoch, in event time. Events before it are late.",
)
STREAM_STATE: Final = MetricDoc(
    "vedette_stream_state", "gauge", ("kind", "what"), "Size of the states of the owned partitions, by kind of state."
)
STREAM_METRICS: Final = (
    STREAM_EVENTS,
    STREAM_LATE,
    STREAM_ALERTS,
    STREAM_BATCH,
    STREAM_LATENCY,
    STREAM_COMMITS,
    STREAM_RETRIES,
    STREAM_RESTARTS,
    STREAM_REBALANCES,
    STREAM_PAUSED,
    STREAM_RESTORED_SECONDS,
    STREAM_RESTORED_RECORDS,
    STREAM_LAG,
    STREAM_LAG_SECONDS,
    STREAM_HELD,
    STREAM_WATERMARK,
    STREAM_STATE,
)
