"""Alert rules and dashboards as the files of two components. Pure: gives texts."""

import json
from collections.abc import Mapping
from typing import Any, Final

import yaml

from operators.observability.alerts.alert import RUNBOOKS
from operators.observability.alerts.prometheus_rule import prometheus_rule
from operators.observability.dashboards.audit import AUDIT
from operators.observability.dashboards.detection import DETECTION
from operators.observability.dashboards.panel import Dashboard
from operators.observability.dashboards.sre import SRE

DASHBOARDS: Final[tuple[Dashboard, ...]] = (SRE, DETECTION, AUDIT)
RULES: Final = "prometheus-operator/rules.yaml"
_MADE: Final = "# Made by `python -m operators.observability`; change the code in operators/observability.\n"


def files(runbooks: str = RUNBOOKS) -> Mapping[str, str]:
    """Path below manifests/components -> what stands there. runbooks: where the pages of runbooks are, e.g. the URL of a wiki."""
    rule = yaml.safe_dump(prometheus_rule(runbooks), sort_keys=False, allow_unicode=True, width=140)
    made = {RULES: _MADE + rule}
    for dashboard in DASHBOARDS:
        made[f"dashboards/{dashboard.uid}.json"] = json.dumps(config_map(dashboard, runbooks), indent=1) + "\n"
    return made


def config_map(dashboard: Dashboard, runbooks: str = RUNBOOKS) -> dict[str, Any]:
    """A dashboard as Grafana's sidecar finds it: a ConfigMap with the label `grafana_dashboard`."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": dashboard.uid,
            "labels": {"app.kubernetes.io/name": "vedette", "app.kubernetes.io/part-of": "vedette", "grafana_dashboard": "1"},
            "annotations": {"grafana_folder": "Vedette"},
        },
        "data": {f"{dashboard.uid}.json": json.dumps(dashboard.as_json(runbooks), indent=1)},
    }
