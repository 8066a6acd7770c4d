"""Cases of alerts as tests that promtool runs."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from operators.observability.alerts.alert import AlertGroup
from operators.observability.alerts.prometheus_rule import rule_file
from tests.manifests.observability.cases import Case

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed; `make services` installs it with Prometheus"
)


def promtool(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *words], cwd=cwd, capture_output=True, text=True, timeout=300)


def _looked_at(name: str, series: dict[str, str], at_min: int, alerts: int, every_min: int) -> dict[str, Any]:
    firing = f'count(ALERTS{{alertname="{name}",alertstate="firing"}})'
    samples = [{"labels": "{}", "value": alerts}] if alerts else []
    return {
        "name": f"{name} {'fires' if alerts else 'is quiet'}",
        "interval": f"{every_min}m",
        "input_series": [{"series": s, "values": values} for s, values in series.items()],
        "promql_expr_test": [{"expr": firing, "eval_time": f"{at_min}m", "exp_samples": samples}],
    }


def judge(folder: Path, group: AlertGroup, cases: dict[str, Case], every_min: int) -> subprocess.CompletedProcess[str]:
    """Whether every alert fires with its first series and does not with its second."""
    (folder / "rules.yaml").write_text(yaml.safe_dump(rule_file((group,)), sort_keys=False), encoding="utf-8")
    tests = []
    for name, case in cases.items():
        tests.append(_looked_at(name, case.fires, case.at_min, case.alerts, every_min))
        tests.append(_looked_at(name, case.quiet, case.quiet_at_min or case.at_min, 0, every_min))
    document = {"rule_files": ["rules.yaml"], "evaluation_interval": f"{every_min}m", "tests": tests}
    (folder / "tests.yaml").write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return promtool("test", "rules", "tests.yaml", cwd=folder)
