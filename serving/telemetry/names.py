"""The names of every metric of the data plane, once, with what each says. docs/reference/metrics.md is made from this.

Core: the numbers are kept in serving.telemetry.counts and .evidence, and scraped through serving.telemetry.metrics. Every series
carries `replica`, the identity of the replica that counted it."""

from typing import Final

from serving.telemetry.access_names import ACCESS_METRICS
from serving.telemetry.door_names import DOOR_METRICS
from serving.telemetry.metric_doc import MetricDoc
from serving.telemetry.near_cache_names import NEAR_CACHE_METRICS
from serving.telemetry.stream_names import STREAM_METRICS
from serving.telemetry.tls_names import TLS_METRICS
from serving.telemetry.tracing.metric_names import TRACE_METRICS

UNKNOWN: Final = "_unknown"
"""Label of requests that name no model we have; no model can be called so."""


_MODEL: Final = ("model", "version", "variant")
_EVIDENCE: Final = ("model", "variant", "revision")
REQUESTS: Final = MetricDoc(
    "vedette_requests_total",
    "counter",
    (*_MODEL, "door", "outcome"),
    "Inference requests by outcome: ok; client_error (the request is wrong; do not retry); refused (not ready, overloaded or "
    "past its deadline; retry); failed (a defect of the server).",
)
SECONDS: Final = MetricDoc(
    "vedette_request_seconds",
    "histogram",
    (*_MODEL, "door", "stage"),
    "Time of answered requests by stage: total (in the service, without the door's decoding), features (the online read), "
    "model (the ONNX run).",
)
ROWS: Final = MetricDoc("vedette_rows_total", "counter", (*_MODEL, "door"), "Rows scored in answered requests.")
VERDICT: Final = MetricDoc(
    "vedette_verdicts_total",
    "counter",
    (*_MODEL, "door", "operating_point", "verdict"),
    "Verdicts, one for each row, by operating point: benign, investigate or alert; for a bundle that asks for it also unknown (the "
    "series appears with the first such verdict).",
)
DEGRADED: Final = MetricDoc(
    "vedette_degraded_rows_total",
    "counter",
    (*_MODEL, "door"),
    "Rows answered while at least one stored feature was missing, too old or not read in time.",
)
FEATURE_AGE: Final = MetricDoc(
    "vedette_feature_age_seconds",
    "histogram",
    (*_MODEL, "door"),
    "Age of the oldest stored feature value used in an answer.",
)
DEFAULTED: Final = MetricDoc(
    "vedette_features_defaulted_total",
    "counter",
    ("feature_service", "reason"),
    "Feature values replaced by their declared default, by reason: missing_or_old (there was no value, it was older than its TTL, or the "
    "store did not answer in time).",
)
AUDIT: Final = MetricDoc(
    "vedette_audit_records_total",
    "counter",
    ("outcome",),
    "Records of the prediction log, by outcome: written; dropped (queue full, disk full or not encodable; the answer was sent); refused "
    "(mode strict; the request was refused too).",
)
AUDIT_FAILING: Final = MetricDoc(
    "vedette_audit_failing",
    "gauge",
    (),
    "1 while records of the prediction log cannot be written or synced; 0 once a record is on the disk again.",
)
AUDIT_SIGNED: Final = MetricDoc(
    "vedette_audit_signed",
    "gauge",
    (),
    "1 while the prediction log's checkpoints are signed. 0 while the key cannot be read; the chain then continues without signatures.",
)
AUDIT_ANCHORED: Final = MetricDoc(
    "vedette_audit_anchored_total",
    "counter",
    ("anchor", "outcome"),
    "Checkpoints for an anchor, by outcome: published; failed (one failed try; the newest checkpoint waits); given_up (more logs "
    "waited than the queue holds).",
)
AUDIT_ANCHOR_LAG: Final = MetricDoc(
    "vedette_audit_anchor_lag_seconds",
    "gauge",
    ("anchor",),
    "Age of the oldest checkpoint that waits for an anchor. Normally up to VEDETTE_AUDIT_ANCHOR_EVERY_S.",
)
AUDIT_WAITING: Final = MetricDoc(
    "vedette_audit_waiting_records", "gauge", (), "Records in the queue of the prediction log that are not written yet."
)
AUDIT_LAG: Final = MetricDoc(
    "vedette_audit_lag_seconds",
    "gauge",
    (),
    "Age of the oldest record of the prediction log that is not on the disk yet, 0 if there is none. Normally up to 1 s.",
)
AUDIT_DURABLE: Final = MetricDoc(
    "vedette_audit_durable_seconds",
    "gauge",
    (),
    "When a record of the prediction log was last synced to the disk, seconds since the epoch; 0: not yet.",
)
AUDIT_ANCHORED_AT: Final = MetricDoc(
    "vedette_audit_anchored_seconds",
    "gauge",
    ("anchor",),
    "When a checkpoint was last published to an anchor, seconds since the epoch; 0: not yet.",
)
MODEL_INFO: Final = MetricDoc(
    "vedette_model_info",
    "gauge",
    (*_MODEL, "bundle", "revision"),
    "1 for each model variant that is loaded; bundle and revision are content digests.",
)
START: Final = MetricDoc(
    "vedette_start_time_seconds",
    "gauge",
    (),
    "Time at which this replica's counters started at 0, in seconds since the epoch.",
)
MODEL_FAILED: Final = MetricDoc(
    "vedette_model_failed",
    "gauge",
    (*_MODEL, "revision", "reason"),
    "1 for each model variant that should be loaded and could not be. The revision that was loaded before is still served.",
)
ONGOING: Final = MetricDoc(
    "vedette_ongoing_requests", "gauge", (), "Inference requests under way, of those that the event loop has read."
)
LOOP_LATE: Final = MetricDoc(
    "vedette_loop_late_seconds_total",
    "counter",
    (),
    "Sum of the delays of the event loop's timer. Divided by vedette_loop_looks_total: about how long a request waits before it is read.",
)
LOOP_LOOKS: Final = MetricDoc("vedette_loop_looks_total", "counter", (), "Ticks of the event loop's timer.")
THREADS: Final = MetricDoc("vedette_process_threads", "gauge", (), "Threads of the replica's process.")
MEMORY_LIMIT: Final = MetricDoc(
    "vedette_memory_limit_bytes",
    "gauge",
    (),
    "Memory that the container may use, or the machine's. What is used is process_resident_memory_bytes.",
)
RUNS_UNDER_WAY: Final = MetricDoc(
    "vedette_model_runs",
    "gauge",
    _MODEL,
    "Runs that wait for the model's own threads or occupy them. Models that run on the event loop have no such threads.",
)
MIRROR_WAITING: Final = MetricDoc("vedette_mirror_waiting", "gauge", (), "Copies of requests in the mirror's queue.")
EXPLANATIONS_UNDER_WAY: Final = MetricDoc(
    "vedette_explanations_waiting", "gauge", (), "Explanations that wait for their thread or occupy it."
)
RULES_ANSWERS: Final = MetricDoc(
    "vedette_rules_answers_total",
    "counter",
    (*_MODEL, "out"),
    "Rows that rules answered, by what was unavailable: features or model. verdict: rows that a rule beside the model matched.",
)
RULES_MATCHES: Final = MetricDoc(
    "vedette_rules_matches_total",
    "counter",
    ("model", "rule"),
    "Rows that a rule matched, if rules answered or raise verdicts. Each model has at most 200 labels; further rules count as _other.",
)
SUPPRESSED: Final = MetricDoc(
    "vedette_suppressed_verdicts_total",
    "counter",
    ("model", "suppression"),
    "Rows whose verdict a suppression lowered. Each model has at most 200 labels; further suppressions count as _other.",
)
TRIAGED: Final = MetricDoc(
    "vedette_triage_rows_total",
    "counter",
    ("model", "version", "variant", "outcome"),
    "Rows by what triage did: ended (benign without the model), passed, audited (below the bound, and the model finds it benign too), "
    "audited_lost (below the bound, and the model does not), failed or skipped (the model answered without triage).",
)
FALLBACKS: Final = MetricDoc(
    "vedette_fallbacks_total",
    "counter",
    _MODEL,
    "Requests on which this variant failed and that stable answered instead.",
)
EVIDENCE_REQUESTS: Final = MetricDoc(
    "vedette_evidence_requests_total",
    "counter",
    (*_EVIDENCE, "route"),
    "Requests that the split (route live) or the mirror (route mirror) sent to this variant's revision, including failed ones. Requests "
    "that name a variant or version and client errors do not count. A request whose rows go to several variants counts once "
    "for each.",
)
EVIDENCE_ROWS: Final = MetricDoc(
    "vedette_evidence_rows_total", "counter", (*_EVIDENCE, "route"), "Rows answered in those requests."
)
EVIDENCE_BAD: Final = MetricDoc(
    "vedette_evidence_bad_total",
    "counter",
    (*_EVIDENCE, "route", "gate"),
    "Bad events by gate. Of those requests: errors (a failure of the server) and latency (over the model's objective). Of the "
    "rows: degraded and alertRate (verdict alert).",
)
EVIDENCE_ENTITIES: Final = MetricDoc(
    "vedette_evidence_entities_total",
    "counter",
    _EVIDENCE,
    "Distinct entities that the split assigned to this variant's revision. The count restarts with each split. It runs while a variant is "
    "loaded beside stable.",
)
EVIDENCE_ENTITIES_BAD: Final = MetricDoc(
    "vedette_evidence_entities_bad_total",
    "counter",
    (*_EVIDENCE, "gate"),
    "Of those entities: those whose first live request (its first row) was bad, by gate.",
)
EVIDENCE_PAIRS: Final = MetricDoc(
    "vedette_evidence_pairs_total",
    "counter",
    (*_EVIDENCE, "against", "reference", "candidate"),
    "Mirrored rows that stable and the mirrored variant both scored, by stable's revision (against), stable's verdict (reference) and the "
    "variant's verdict (candidate). against is _other for all revisions of stable that are long gone.",
)
EVIDENCE_SCORE_BINS: Final = MetricDoc(
    "vedette_evidence_score_bins_total",
    "counter",
    (*_EVIDENCE, "le"),
    "Mirrored rows by score. The bins are not cumulative: a bin has scores below `le` and at or over the previous edge. A threshold on an "
    "edge separates the bins.",
)
EVIDENCE_SEGMENT_ROWS: Final = MetricDoc(
    "vedette_evidence_segment_rows_total",
    "counter",
    (*_EVIDENCE, "unit", "segment"),
    "With a segment mapping: rows that got a verdict, by segment of their entity (`column=value`; `_all`: every row of a named entity). "
    "unit: live or mirror (rows of that route), entity (the first row of each entity). Counted while a variant stands beside stable.",
)
EVIDENCE_SEGMENT_ALERTS: Final = MetricDoc(
    "vedette_evidence_segment_alerts_total",
    "counter",
    (*_EVIDENCE, "unit", "segment"),
    "The alerts among those rows.",
)
MIRRORED: Final = MetricDoc(
    "vedette_mirrored_total",
    "counter",
    ("model", "variant", "outcome"),
    "Copies of requests for the mirror, by outcome: scored, failed, or dropped (the queue was full or the copy was too late).",
)
BREAKER_STATE: Final = MetricDoc(
    "vedette_breaker_state",
    "gauge",
    ("dependency",),
    "Breakers by dependency (features, cache, model:NAME/VERSION/VARIANT; of the nodes of a Redis Cluster features/shard-N/master and "
    "features/shard-N/replica-N): 0 closed (calls pass), 1 half-open (a few probes pass), "
    "2 open (calls are stopped).",
)
BREAKER_CHANGES: Final = MetricDoc(
    "vedette_breaker_changes_total",
    "counter",
    ("dependency", "state"),
    "Changes of a breaker's state, by new state: closed, half-open or open.",
)
REFUSALS: Final = MetricDoc(
    "vedette_refusals_total",
    "counter",
    ("reason",),
    "Refused requests, by reason: busy (would have waited too long for the event loop), full (too many under way), queue (the queue "
    "of the model's own threads is full), late (the deadline cannot be met), breaker (the model's breaker is open and there is no "
    "fallback), record (the prediction log is strict and the answer's record was not on the disk in time).",
)
CACHE_REQUESTS: Final = MetricDoc(
    "vedette_cache_requests_total",
    "counter",
    ("model", "outcome"),
    "Model runs by outcome in the prediction cache: hit, miss, joined (used the result of a concurrent run), negative (the input was "
    "refused before), skipped (the model is faster than a look-up). Not counted while the cache is off.",
)
CACHE_SAVED: Final = MetricDoc(
    "vedette_cache_saved_seconds_total",
    "counter",
    ("model",),
    "Estimated time of the model runs that the cache saved, minus the time of the look-ups.",
)
EXPLANATIONS: Final = MetricDoc(
    "vedette_explanations_total",
    "counter",
    ("model", "method", "outcome"),
    "Requested explanations, by outcome: ok; refused (the queue is full, the deadline passed, or the explanation is not "
    "possible); abandoned (the client disconnected); failed (a defect of the server).",
)
EXPLANATION_SECONDS: Final = MetricDoc(
    "vedette_explanation_seconds_total",
    "counter",
    ("model", "method"),
    "Time of explanations, including the wait for their thread. `vedette_request_seconds` does not include it.",
)
METRICS: Final = (
    *(
        REQUESTS,
        SECONDS,
        ROWS,
        VERDICT,
        DEGRADED,
        FEATURE_AGE,
        DEFAULTED,
        AUDIT,
        AUDIT_SIGNED,
        AUDIT_FAILING,
        AUDIT_ANCHORED,
        AUDIT_ANCHOR_LAG,
        AUDIT_ANCHORED_AT,
        AUDIT_WAITING,
        AUDIT_LAG,
        AUDIT_DURABLE,
        MODEL_INFO,
        MODEL_FAILED,
        START,
        ONGOING,
        LOOP_LATE,
        LOOP_LOOKS,
    ),
    *(
        RULES_ANSWERS,
        RULES_MATCHES,
        SUPPRESSED,
        TRIAGED,
        FALLBACKS,
        EVIDENCE_REQUESTS,
        EVIDENCE_ROWS,
        EVIDENCE_BAD,
        EVIDENCE_ENTITIES,
        EVIDENCE_ENTITIES_BAD,
        EVIDENCE_PAIRS,
    ),
    *(EVIDENCE_SEGMENT_ROWS, EVIDENCE_SEGMENT_ALERTS),
    *(EVIDENCE_SCORE_BINS, MIRRORED, BREAKER_STATE, BREAKER_CHANGES, REFUSALS, CACHE_REQUESTS, CACHE_SAVED),
    *(EXPLANATIONS, EXPLANATION_SECONDS, EXPLANATIONS_UNDER_WAY, RUNS_UNDER_WAY, MIRROR_WAITING, THREADS, MEMORY_LIMIT),
    *NEAR_CACHE_METRICS,
    *DOOR_METRICS,
    *TLS_METRICS,
    *STREAM_METRICS,
    *ACCESS_METRICS,
    *TRACE_METRICS,
)
"""Every metric of our own. The standard `process_*` metrics come along."""
