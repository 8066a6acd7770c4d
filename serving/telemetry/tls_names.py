"""The names of the metrics of TLS at the doors (serving.doors.tls)."""

from typing import Final

from serving.telemetry.metric_doc import MetricDoc

TLS_HANDSHAKES: Final = MetricDoc(
    "vedette_tls_handshakes_total",
    "counter",
    ("door", "outcome"),
    "TLS handshakes, by outcome: ok; or why they failed: timeout; closed (the client left); crowded (too many were unfinished); not_tls; "
    "old_version (below TLS 1.2); no_cipher (none in common); no_certificate (one is required); bad_certificate (not valid or not signed "
    "by a client CA); client_alert (the client refused the server's certificate, most often); other.",
)
TLS_RESUMED: Final = MetricDoc(
    "vedette_tls_resumed_total",
    "counter",
    ("door",),
    "Finished handshakes that resumed an earlier session, which spares the signature.",
)
TLS_UNFINISHED: Final = MetricDoc("vedette_tls_unfinished_handshakes", "gauge", ("door",), "TLS handshakes under way.")
TLS_EXPIRY: Final = MetricDoc(
    "vedette_tls_certificate_expiry_seconds",
    "gauge",
    ("certificate",),
    "Seconds until a certificate in use ends; below 0 it has ended. certificate: server (the first to end of its chain) or client_ca (the "
    "first to end of the CAs of clients).",
)
TLS_RELOADS: Final = MetricDoc(
    "vedette_tls_reloads_total",
    "counter",
    ("outcome",),
    "Changes of the TLS files, by outcome: loaded; refused (the files cannot be used; the certificates before are kept).",
)
TLS_METRICS: Final = (
    TLS_HANDSHAKES,
    TLS_RESUMED,
    TLS_UNFINISHED,
    TLS_EXPIRY,
    TLS_RELOADS,
)
