"""Alerts about the doors: who is refused, and why so many."""

from typing import Final

from operators.observability.alerts.alert import Alert, AlertGroup
from serving.telemetry import door_names as names
from serving.telemetry import tls_names as tls

CERTIFICATE_DAYS: Final = 14
"""cert-manager renews a certificate when a third of its time is left."""


def _refused(reasons: str, by: str, window: str = "10m") -> str:
    return f'sum by ({by}) (rate({names.DOOR_REFUSED.name}{{reason=~"{reasons}"}}[{window}]))'


GROUP: Final = AlertGroup(
    "security",
    (
        Alert(
            "VedetteStrangersRefused",
            f"{_refused('unauthenticated|forbidden', 'namespace, door, reason')} > 0.2",
            "warning",
            "{{ $value | humanize }} requests a second are {{ $labels.reason }} at the {{ $labels.door }} door of {{ $labels.namespace }}",
            "A client lost its credentials, or somebody tries. The prediction log has no such requests; the log of the replica has.",
            lasts="5m",
            team="audit",
        ),
        Alert(
            "VedetteRubbishRefused",
            f"{_refused('malformed|protocol|too_large|head_too_large|unknown|method|unsupported', 'namespace, door, reason')} > 1",
            "warning",
            "{{ $value | humanize }} requests a second are {{ $labels.reason }} at the {{ $labels.door }} door of {{ $labels.namespace }}",
            "They never reached a model. A client was changed badly, scans, or sends events that get no verdict.",
            lasts="10m",
            team="audit",
        ),
        Alert(
            "VedetteConnectionsRefused",
            f"{_refused('connections', 'namespace, door', '5m')} > 0",
            "warning",
            "The {{ $labels.door }} door of {{ $labels.namespace }} refuses connections",
            "Clients open more than VEDETTE_MAX_CONNECTIONS, or never close them.",
            lasts="2m",
        ),
        Alert(
            "VedetteSlowClients",
            f"{_refused('slow', 'namespace, door')} > 0.5",
            "info",
            "{{ $value | humanize }} connections a second are ended at the {{ $labels.door }} door because their clients do nothing",
            "A proxy that cuts off bodies, a broken network, or somebody who holds connections open.",
            lasts="10m",
        ),
        Alert(
            "VedetteCertificateEnds",
            f"min by (namespace, certificate) ({tls.TLS_EXPIRY.name}) < {CERTIFICATE_DAYS * 86_400}",
            "warning",
            "The certificate {{ $labels.certificate }} of {{ $labels.namespace }} ends in {{ $value | humanizeDuration }}",
            "Whoever renews it has not. A certificate that has ended is refused by every client.",
        ),
        Alert(
            "VedetteCertificateEnded",
            f"min by (namespace, certificate) ({tls.TLS_EXPIRY.name}) < 86400",
            "critical",
            "The certificate {{ $labels.certificate }} of {{ $labels.namespace }} ends within a day, or has ended",
            "Then no client gets a verdict over TLS; where it is the CA of clients, no client is let in.",
        ),
        Alert(
            "VedetteCertificateNotTaken",
            f'sum by (namespace, pod, instance) (increase({tls.TLS_RELOADS.name}{{outcome="refused"}}[1h])) > 0',
            "warning",
            "{{ $labels.namespace }}/{{ $labels.pod }} cannot use the new TLS files",
            "The certificates before are kept, until they end.",
        ),
        Alert(
            "VedetteHandshakesFail",
            f'sum by (namespace, door, outcome) (rate({tls.TLS_HANDSHAKES.name}{{outcome!~"ok|closed"}}[10m])) > 0.5',
            "warning",
            "{{ $value | humanize }} TLS handshakes a second fail at the {{ $labels.door }} door: {{ $labels.outcome }}",
            "Clients that do not trust the server's certificate (client_alert), have none of their own, or speak no TLS.",
            lasts="5m",
        ),
    ),
)
