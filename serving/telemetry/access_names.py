"""Names and docs of the metrics of access to the doors. They are shown only where `VEDETTE_ACCESS` names a policy."""

from typing import Final

from serving.telemetry.metric_doc import MetricDoc

ADMITTED: Final = MetricDoc(
    "vedette_access_requests_total",
    "counter",
    ("tenant", "verb"),
    "Requests that the access policy let in, by the caller's tenant (empty: none) and verb. Verbs that are open are not counted.",
)
ROWS: Final = MetricDoc(
    "vedette_access_rows_total", "counter", ("tenant",), "Rows of inference requests that the access policy let in, by tenant."
)
REFUSED: Final = MetricDoc(
    "vedette_access_refused_total",
    "counter",
    ("reason", "verb"),
    "Requests that the access policy refused, by reason (docs/reference/access.md) and verb.",
)
LIMITED: Final = MetricDoc(
    "vedette_access_limited_total",
    "counter",
    ("tenant",),
    "Requests that were refused because their caller was over its limit, by the caller's tenant (empty: none).",
)
VERIFICATIONS: Final = MetricDoc(
    "vedette_access_verifications_total",
    "counter",
    ("method", "outcome"),
    "Credentials that were verified, by method (token, key, certificate) and outcome (accepted, refused). Remembered credentials are "
    "not verified again.",
)
REMEMBERED: Final = MetricDoc(
    "vedette_access_remembered", "gauge", ("what",), "What is remembered: credentials, wrong (credentials), clients."
)
KEYS_AGE: Final = MetricDoc(
    "vedette_access_keys_age_seconds", "gauge", ("issuer",), "Seconds since the keys of a token issuer were read. +Inf: never."
)
KEYS_FAILURES: Final = MetricDoc(
    "vedette_access_keys_failures_total", "counter", ("issuer",), "Failed attempts to read the keys of a token issuer."
)
FAILING: Final = MetricDoc(
    "vedette_access_file_failing",
    "gauge",
    ("file",),
    "1 while the file (policy, keys) cannot be used as it is now. What it said before counts on.",
)
RELOADS: Final = MetricDoc(
    "vedette_access_file_reads_total",
    "counter",
    ("file", "outcome"),
    "Reads of a changed file (policy, keys), by outcome (used, refused).",
)
FORWARDED_HEADERS: Final = MetricDoc(
    "vedette_access_forwarded_total",
    "counter",
    ("outcome",),
    "Requests with the header of VEDETTE_PROXY_HEADER, where VEDETTE_TRUSTED_PROXIES names proxies, by outcome: used, stranger (it did not "
    "come from a trusted proxy), malformed. The last two are ignored.",
)
ACCESS_METRICS: Final = (
    *(ADMITTED, ROWS, REFUSED, LIMITED, VERIFICATIONS, REMEMBERED, KEYS_AGE, KEYS_FAILURES, FAILING, RELOADS),
    FORWARDED_HEADERS,
)
"""All of them, for the reference page."""
