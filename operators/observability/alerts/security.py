"""Alerts about the doors: who is refused, and why so many."""

from typing import Final

from operators.observability.alerts.alert import Alert, AlertGroup
from serving.telemetry import door_names as names


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
    ),
)
