"""Alerts about the doors: who is refused, and why so many; whether what callers are judged by (policy, keys) is up to date."""

from typing import Final

from operators.observability.alerts.alert import Alert, AlertGroup
from serving.telemetry import access_names as access
from serving.telemetry import door_names as names
from serving.telemetry import tls_names as tls

CERTIFICATE_DAYS: Final = 14
"""cert-manager renews a certificate when a third of its time is left."""
KEYS_S: Final = 3600
"""Keys of issuers are read every 5 minutes and count for a day, unless the policy says otherwise."""
LIMITED_RATIO: Final = 0.05
"""Requests over the limit for each that was let in. Below, a client that waits and asks again loses nothing."""


def _refused(reasons: str, by: str, window: str = "10m") -> str:
    return f'sum by ({by}) (rate({names.DOOR_REFUSED.name}{{reason=~"{reasons}"}}[{window}]))'


def _by_policy(reason: str, window: str) -> str:
    return f'sum by (namespace) (increase({access.REFUSED.name}{{reason="{reason}"}}[{window}]))'


GROUP: Final = AlertGroup(
    "security",
    (
        Alert(
            "VedetteStrangersRefused",
            f"{_refused('unauthenticated|forbidden', 'namespace, door, reason')} > 0.2",
            "warning",
            "{{ $value | humanize }} requests a second are {{ $labels.reason }} at the {{ $labels.door }} door of {{ $labels.namespace }}",
            "A client lost its credentials, or somebody tries to get in. They are in the replica's log, not in the prediction log.",
            lasts="5m",
            team="audit",
        ),
        Alert(
            "VedetteCredentialsGuessed",
            f"{_by_policy('flood', '10m')} > 0",
            "warning",
            "{{ $labels.namespace }} keeps getting wrong credentials: {{ $value | humanize }} in 10 minutes were refused unchecked",
            "An address, or many together, sent more wrong tokens or keys than are checked: somebody guesses, or a client has old ones.",
            team="audit",
        ),
        Alert(
            "VedetteTenantsCrossed",
            f"{_by_policy('tenant', '15m')} > 3",
            "warning",
            "{{ $value | humanize }} requests to {{ $labels.namespace }} in 15 minutes named a tenant that is not their caller's",
            "All were refused. A client confuses its customers, or tries to read another tenant's models, features or risks.",
            team="audit",
        ),
        Alert(
            "VedetteTenantLimited",
            f"sum by (namespace, tenant) (rate({access.LIMITED.name}[10m])) "
            f"> {LIMITED_RATIO} * sum by (namespace, tenant) (rate({access.ADMITTED.name}[10m]))",
            "warning",
            "{{ $value | humanize }} requests a second of the tenant {{ $labels.tenant }} of {{ $labels.namespace }} are over its limit",
            f"Its refused requests are more than {LIMITED_RATIO:.0%} of its admitted ones. Events get no verdict unless its clients retry.",
            lasts="10m",
        ),
        Alert(
            "VedetteTokensNotJudged",
            f"{_by_policy('keys_away', '5m')} > 0",
            "critical",
            "Clients of {{ $labels.namespace }} with good tokens get 503: the keys of their issuer cannot be had",
            "No token of this issuer can be judged: its keys were never read, or are older than stale_s of the policy.",
            lasts="2m",
        ),
        Alert(
            "VedetteIssuerKeysOld",
            f"max by (namespace, issuer) ({access.KEYS_AGE.name}) > {KEYS_S} "
            f"and max by (namespace, issuer) (increase({access.KEYS_FAILURES.name}[15m])) > 0",
            "warning",
            "Keys of the issuer {{ $labels.issuer }} ({{ $labels.namespace }}) are {{ $value | humanizeDuration }} old; +Inf: never read",
            "The last keys count until they are as old as stale_s of the policy (a day). Until then a revoked key counts too.",
        ),
        Alert(
            "VedetteAccessFileNotTaken",
            f"max by (namespace, pod, instance, file) ({access.FAILING.name}) == 1",
            "warning",
            "{{ $labels.namespace }}/{{ $labels.pod }} cannot use the {{ $labels.file }} of its access policy",
            "The previous version stays in force: rights that were taken away and keys that were revoked may still count.",
            lasts="2m",
            team="audit",
        ),
        Alert(
            "VedetteRubbishRefused",
            f"{_refused('malformed|protocol|too_large|head_too_large|unknown|method|unsupported', 'namespace, door, reason')} > 1",
            "warning",
            "{{ $value | humanize }} requests a second are {{ $labels.reason }} at the {{ $labels.door }} door of {{ $labels.namespace }}",
            "They never reached a model. A client has a fault or scans the door. Its events get no verdict.",
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
            "It has not been renewed. Every client refuses an expired certificate.",
        ),
        Alert(
            "VedetteCertificateEnded",
            f"min by (namespace, certificate) ({tls.TLS_EXPIRY.name}) < 86400",
            "critical",
            "The certificate {{ $labels.certificate }} of {{ $labels.namespace }} ends within a day, or has ended",
            "Then no client gets a verdict over TLS. If it is the CA of clients, no client is admitted.",
        ),
        Alert(
            "VedetteCertificateNotTaken",
            f'sum by (namespace, pod, instance) (increase({tls.TLS_RELOADS.name}{{outcome="refused"}}[1h])) > 0',
            "warning",
            "{{ $labels.namespace }}/{{ $labels.pod }} cannot use the new TLS files",
            "The previous certificates stay in use until they expire.",
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
