"""Alert groups as the PrometheusRule of Prometheus' operator, and as the plain rule file that Prometheus and promtool read. Pure."""

from typing import Any, Final

from operators.observability.alerts.alert import RUNBOOKS, Alert, AlertGroup, RecordedSeries
from operators.observability.alerts.catalogue import GROUPS

DASHBOARDS: Final = {"platform": "vedette-sre", "detection": "vedette-detection", "audit": "vedette-audit"}
"""The dashboard that a team opens first."""


def rule_file(groups: tuple[AlertGroup, ...] = GROUPS, runbooks: str = RUNBOOKS) -> dict[str, Any]:
    """What stands in a rule file: `groups`. runbooks: where the pages are, e.g. the URL of a wiki."""
    return {
        "groups": [
            {
                "name": group.name,
                "rules": [*map(_recorded, group.recorded), *(_alert(group, a, runbooks) for a in group.alerts)],
            }
            for group in groups
        ]
    }


def prometheus_rule(runbooks: str = RUNBOOKS) -> dict[str, Any]:
    """The resource."""
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {
            "name": "vedette",
            "labels": {"app.kubernetes.io/name": "vedette", "app.kubernetes.io/part-of": "vedette"},
        },
        "spec": rule_file(runbooks=runbooks),
    }


def _recorded(rule: RecordedSeries) -> dict[str, Any]:
    return {"record": rule.name, "expr": rule.expr, **({"labels": dict(rule.labels)} if rule.labels else {})}


def _alert(group: AlertGroup, alert: Alert, runbooks: str) -> dict[str, Any]:
    return {
        "alert": alert.name,
        "expr": alert.expr,
        **({"for": alert.lasts} if alert.lasts != "0s" else {}),
        "labels": {"severity": alert.severity, "team": alert.team},
        "annotations": {
            "summary": alert.summary,
            "description": alert.description,
            "runbook_url": group.runbook(alert, runbooks),
            "dashboard": DASHBOARDS[alert.team],
        },
    }
