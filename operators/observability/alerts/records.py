"""Alerts about records: is every answer accounted for, durable, signed and anchored."""

from typing import Final

from operators.observability.alerts.alert import Alert, AlertGroup
from operators.telemetry import operator_names
from serving.telemetry import names

_WHO: Final = "{{ $labels.namespace }}/{{ $labels.pod }}"

GROUP: Final = AlertGroup(
    "records",
    (
        Alert(
            "VedetteRecordsLost",
            f'sum by (namespace, pod, instance) (increase({names.AUDIT.name}{{outcome="dropped"}}[10m])) > 0',
            "critical",
            f"{{{{ $value | humanize }}}} answers of {_WHO} have no record",
            "The answers were sent (mode `async`). They cannot be accounted for later.",
            team="audit",
        ),
        Alert(
            "VedetteRecordsRefused",
            f'sum by (namespace, pod, instance) (increase({names.AUDIT.name}{{outcome="refused"}}[10m])) > 0',
            "critical",
            f"{{{{ $value | humanize }}}} requests of {_WHO} were refused because their records could not be kept",
            "Mode `strict`: no answer without a record on the disk. Clients get 503.",
            team="audit",
        ),
        Alert(
            "VedetteRecordsFail",
            f"max by (namespace, pod, instance) ({names.AUDIT_FAILING.name}) == 1",
            "critical",
            f"The prediction log of {_WHO} cannot be written",
            "`async` loses records, `strict` refuses answers. The disk is full or broken, or slower than the answers.",
            lasts="1m",
            team="audit",
        ),
        Alert(
            "VedetteRecordsLate",
            f"max by (namespace, pod, instance) ({names.AUDIT_LAG.name}) > 10",
            "warning",
            f"Records of {_WHO} wait {{{{ $value | humanizeDuration }}}} for the disk",
            "A power cut would lose them; if the queue fills up, records are lost or answers refused.",
            lasts="2m",
            team="audit",
        ),
        Alert(
            "VedetteRecordsUnsigned",
            f"min by (namespace, pod, instance) ({names.AUDIT_SIGNED.name}) == 0",
            "critical",
            f"The prediction log of {_WHO} is not signed",
            "The key cannot be read. Records are chained, but not signed until the key can be read again.",
            lasts="5m",
            team="audit",
        ),
        Alert(
            "VedetteRecordsNotAnchored",
            f"max by (namespace, anchor) ({names.AUDIT_ANCHOR_LAG.name}) > 900",
            "warning",
            "Checkpoints wait {{ $value | humanizeDuration }} for the anchor {{ $labels.anchor }}",
            "Somebody with the disk and the key could rewrite records that are not anchored.",
            lasts="5m",
            team="audit",
        ),
        Alert(
            "VedetteCheckpointsGivenUp",
            f'sum by (namespace, anchor) (increase({names.AUDIT_ANCHORED.name}{{outcome="given_up"}}[1h])) > 0',
            "warning",
            "{{ $value | humanize }} checkpoints for {{ $labels.anchor }} were given up",
            "More logs waited than the queue holds. A later checkpoint of the same log covers its records, but a log that ended has none.",
            team="audit",
        ),
        Alert(
            "VedetteActsNotKept",
            f"{operator_names.GOVERNANCE_FAILING.name} == 1",
            "critical",
            "The log of governed acts cannot be read or written",
            "Approvals cannot be checked against it, so governed steps wait. Acts appear as Events only.",
            lasts="5m",
            team="audit",
        ),
    ),
)
