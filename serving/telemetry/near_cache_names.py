"""The names of what the near cache of feature rows counts (serving.features.near), beside those of serving.telemetry.names."""

from typing import Final

from serving.telemetry.metric_doc import MetricDoc

FLUSH_REASONS: Final = ("lost", "emptied", "changed", "plan")

NEAR_ROWS: Final = MetricDoc(
    "vedette_near_cache_rows_total",
    "counter",
    ("outcome",),
    "Rows of features that were asked for, by outcome: hit (in memory); miss (read from the store); unproven (read from the store, "
    "because it had not proven lately that it told every change); joined (waited for the read of another request, and counts as a miss or "
    "as unproven too).",
)
NEAR_INVALIDATED: Final = MetricDoc(
    "vedette_near_cache_invalidations_total", "counter", (), "Changes of single entities that the store told."
)
NEAR_FLUSHES: Final = MetricDoc(
    "vedette_near_cache_flushes_total",
    "counter",
    ("reason",),
    "Times when all rows in memory were dropped, by reason: lost (the connection to Redis), emptied (FLUSHDB or FLUSHALL), changed (the "
    "SQLite file), plan (a feature service was compiled again).",
)
NEAR_EVICTED: Final = MetricDoc("vedette_near_cache_evictions_total", "counter", (), "Entities that left to make room.")
NEAR_BYTES: Final = MetricDoc("vedette_near_cache_bytes", "gauge", (), "Memory of the rows that are kept, as estimated.")
NEAR_ENTITIES: Final = MetricDoc("vedette_near_cache_entities", "gauge", (), "Entities whose rows are kept.")
NEAR_LAG: Final = MetricDoc(
    "vedette_near_cache_lag_seconds",
    "gauge",
    (),
    "Time from the last command to Redis until its answer was here. A change that Redis told was here at most so much later.",
)
NEAR_ON: Final = MetricDoc(
    "vedette_near_cache_on", "gauge", (), "1 while the store tells its changes; 0 while it does not, and every row is read."
)
NEAR_CACHE_METRICS: Final = (
    NEAR_ROWS, NEAR_INVALIDATED, NEAR_FLUSHES, NEAR_EVICTED, NEAR_BYTES, NEAR_ENTITIES, NEAR_LAG, NEAR_ON
)  # fmt: skip
