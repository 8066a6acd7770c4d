"""The dashboard of auditors: is every answer accounted for; what was refused; what people did."""

from typing import Final

from operators.observability.dashboards import callers
from operators.observability.dashboards.panel import Dashboard, Panel, PanelRow, Query
from operators.telemetry import monitor_names as monitor
from operators.telemetry import operator_names as operator
from operators.telemetry import sink_names as sinks
from serving.telemetry import door_names as doors
from serving.telemetry import names
from serving.telemetry import stream_names as stream

_HERE: Final = 'namespace=~"$namespace"'
_MODEL: Final = f'{_HERE},model=~"$model"'

_RECORDS: Final = PanelRow(
    "Records of answers",
    (
        Panel(
            "Records",
            "A second, by outcome: written; dropped (the answer was sent); refused (the answer was not).",
            (Query(f"sum by (outcome) (rate({names.AUDIT.name}{{{_HERE}}}[5m]))", "{{outcome}}"),),
            unit="ops",
            runbook="records.md#vedetterecordslost",
        ),
        Panel(
            "Answers without a record",
            "In the time shown.",
            (Query(f'sum(increase({names.AUDIT.name}{{{_HERE},outcome="dropped"}}[$__range]))', "lost"),),
            kind="stat",
            red_from=1,
            runbook="records.md#vedetterecordslost",
        ),
        Panel(
            "Answers",
            "Answers a second, to compare with the records.",
            (Query(f'sum by (model) (rate({names.REQUESTS.name}{{{_MODEL},outcome="ok"}}[5m]))', "{{model}}"),),
            unit="ops",
        ),
        Panel(
            "Behind the answers",
            "Age of the oldest record that is not on the disk.",
            (Query(f"{names.AUDIT_LAG.name}{{{_HERE}}}", "{{pod}}"),),
            unit="s",
            red_from=10,
            runbook="records.md#vedetterecordslate",
        ),
        Panel(
            "Waiting",
            "Records in the queue.",
            (Query(f"{names.AUDIT_WAITING.name}{{{_HERE}}}", "{{pod}}"),),
        ),
        Panel(
            "Last on the disk",
            "How long ago a record was synced.",
            (Query(f"time() - ({names.AUDIT_DURABLE.name}{{{_HERE}}} > 0)", "{{pod}}"),),
            unit="s",
        ),
        Panel(
            "Fails",
            "1 while the log cannot be written.",
            (Query(f"{names.AUDIT_FAILING.name}{{{_HERE}}}", "{{pod}}"),),
            red_from=1,
            runbook="records.md#vedetterecordsfail",
        ),
        Panel(
            "Signed",
            "1 while checkpoints are signed.",
            (Query(f"{names.AUDIT_SIGNED.name}{{{_HERE}}}", "{{pod}}"),),
            runbook="records.md#vedetterecordsunsigned",
        ),
    ),
)
_ANCHORS: Final = PanelRow(
    "Anchors",
    (
        Panel(
            "Last anchored",
            "How long ago a checkpoint was published.",
            (Query(f"time() - ({names.AUDIT_ANCHORED_AT.name}{{{_HERE}}} > 0)", "{{pod}} {{anchor}}"),),
            unit="s",
            runbook="records.md#vedetterecordsnotanchored",
        ),
        Panel(
            "Waits for an anchor",
            "Age of the oldest checkpoint that waits.",
            (Query(f"max by (anchor) ({names.AUDIT_ANCHOR_LAG.name}{{{_HERE}}})", "{{anchor}}"),),
            unit="s",
            red_from=900,
            runbook="records.md#vedetterecordsnotanchored",
        ),
        Panel(
            "Tries",
            "In an hour, by outcome.",
            (
                Query(
                    f"sum by (anchor, outcome) (increase({names.AUDIT_ANCHORED.name}{{{_HERE}}}[1h]))", "{{anchor}} {{outcome}}"
                ),
            ),
            runbook="records.md#vedettecheckpointsgivenup",
        ),
    ),
)
_REFUSED: Final = PanelRow(
    "Refused",
    (
        Panel(
            "At the doors",
            "A second, by reason. Such requests have no record.",
            (Query(f"sum by (door, reason) (rate({doors.DOOR_REFUSED.name}{{{_HERE}}}[5m])) > 0", "{{door}} {{reason}}"),),
            unit="reqps",
            runbook="security.md#vedetterubbishrefused",
        ),
        Panel(
            "Strangers",
            "Without valid credentials, or without the right.",
            (
                Query(
                    f'sum by (door, reason) (rate({doors.DOOR_REFUSED.name}{{{_HERE},reason=~"unauthenticated|forbidden"}}[5m]))',
                    "{{door}} {{reason}}",
                ),
            ),
            unit="reqps",
            red_from=0.2,
            runbook="security.md#vedettestrangersrefused",
        ),
        *callers.REFUSED,
        Panel(
            "Events without a verdict",
            "Dead letters of streams, alerts that no sink has, in an hour.",
            (
                Query(f'sum(increase({stream.STREAM_EVENTS.name}{{{_HERE},outcome="dead"}}[1h]))', "dead letters"),
                Query(
                    f'sum by (sink, outcome) (increase({sinks.ALERTS.name}{{outcome=~"dropped|dead|removed"}}[1h]))',
                    "{{sink}} {{outcome}}",
                ),
            ),
            runbook="streams.md#vedettesinklosesalerts",
        ),
    ),
)
_ACTS: Final = PanelRow(
    "Acts",
    (
        Panel(
            "Moves of rollouts",
            "In an hour, by name.",
            (Query(f"sum by (name, move) (increase({operator.MOVES.name}{{{_HERE}}}[1h])) > 0", "{{name}} {{move}}"),),
        ),
        Panel(
            "Passed in an emergency",
            "Approvals that one person passed alone and that nobody has reviewed.",
            (Query(f"{operator.GLASS.name}{{{_HERE}}}", "{{name}}"),),
            kind="stat",
            red_from=1,
            runbook="rollouts.md#vedetteglassbroken",
        ),
        Panel(
            "Log of governed acts",
            "1 if it is kept and readable.",
            (Query(f"max({operator.GOVERNANCE.name})", "kept"),),
            kind="stat",
            runbook="records.md#vedetteactsnotkept",
        ),
        Panel(
            "Admission reviews",
            "In an hour, by outcome.",
            (Query(f"sum by (kind, outcome) (increase({operator.ADMISSIONS.name}[1h]))", "{{kind}} {{outcome}}"),),
        ),
        Panel(
            "Major alarms",
            "In a day; each is an act too.",
            (
                Query(
                    f'sum by (model, kind) (increase({monitor.ALARMS.name}{{model=~"$model",severity="major"}}[1d]))',
                    "{{model}} {{kind}}",
                ),
            ),
        ),
        Panel(
            "Alarms that no receiver accepted",
            "By receiver.",
            (Query(f"{monitor.UNDELIVERED.name}", "{{receiver}}"),),
            red_from=1,
            runbook="models.md#vedettealarmsnottaken",
        ),
    ),
)
AUDIT: Final = Dashboard(
    "vedette-audit",
    "Vedette: audit",
    "Records of answers, their lag and loss; signatures and anchors; what was refused; acts of people.",
    (_RECORDS, _ANCHORS, _REFUSED, _ACTS),
)
