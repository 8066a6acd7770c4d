"""The monitor's Deployment, and the alert rules about it."""

import shutil
import subprocess
import sys

import kubernetes.client
import pytest
import typer.main

from operators.cli.main import app
from operators.telemetry.monitor_names import MONITOR_METRICS as METRICS
from tests import quick_yaml as yaml
from tests.manifests.conftest import MANIFESTS, MONITOR, rendered_with
from tests.manifests.test_images import ROOT, _site_packages, _sources

KINDS = {
    "Deployment": kubernetes.client.V1Deployment,
    "NetworkPolicy": kubernetes.client.V1NetworkPolicy,
    "Service": kubernetes.client.V1Service,
}
RULES = MANIFESTS / "components" / "monitor-alerts" / "alerts.yaml"
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (it comes with Prometheus)"
)


@pytest.fixture
def resources(rendered):
    return {r["kind"]: r for r in yaml.safe_load_all(rendered(MONITOR))}


def test_kubernetes_knows_every_field(resources):
    assert resources.keys() == KINDS.keys()
    for kind, resource in resources.items():
        KINDS[kind].model_validate(resource)


def test_one_pod_that_ends_before_the_next_starts(resources):
    spec = resources["Deployment"]["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_it_is_confined_and_what_it_writes_lies_on_the_claim(resources):
    pod = resources["Deployment"]["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    for container in (*pod["initContainers"], *pod["containers"]):
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["resources"]["limits"]["memory"]
    (container,) = pod["containers"]
    claim = {m["subPath"]: m for m in container["volumeMounts"] if m["name"] == "log"}
    assert claim.keys() == {"audit", "labels", "monitoring", "governance"}
    assert all(claim[read]["readOnly"] for read in ("audit", "labels"))
    (volume,) = [v for v in pod["volumes"] if v["name"] == "log"]
    assert volume["persistentVolumeClaim"] == {"claimName": "vedette-log"}


def test_its_arguments_are_options_of_the_verb_and_its_ports_agree(resources):
    (container,) = resources["Deployment"]["spec"]["template"]["spec"]["containers"]
    verb = typer.main.get_command(app).commands["monitor"]
    options = verb.make_context("monitor", list(container["args"])).params
    (port,) = container["ports"]
    assert (options["metrics_port"], options["metrics_host"]) == (port["containerPort"], "0.0.0.0")
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": port["name"]}
    assert [p["targetPort"] for p in resources["Service"]["spec"]["ports"]] == [port["name"]]


def test_the_replicas_write_where_the_monitor_reads(tmp_path):
    (service,) = [r for r in rendered_with(tmp_path, "production", "shared-log") if r["kind"] == "RayService"]
    (group,) = service["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    (mount,) = [m for m in group["template"]["spec"]["containers"][0]["volumeMounts"] if m["name"] == "log"]
    assert (mount["mountPath"], mount["subPath"]) == ("/var/lib/vedette/audit", "audit")


def test_the_verb_runs_on_what_the_image_holds(tmp_path):
    for source in _sources("lifecycle.Dockerfile"):
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, tmp_path / source, ignore=shutil.ignore_patterns("__pycache__"))
    _site_packages("operators.txt", tmp_path / "site")
    program = "import operators.cli.monitoring.monitor_run, operators.cli.main as m; print(m.__file__)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", program], cwd=tmp_path, capture_output=True, text=True,
        env={"PATH": "", "PYTHONPATH": f"{tmp_path}:{tmp_path / 'site'}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "operators" / "cli" / "main.py")


def rules():
    return yaml.safe_load(RULES.read_text(encoding="utf-8"))


def test_alert_rules_ask_for_metrics_that_there_are():
    expressions = [rule["expr"] for group in rules()["spec"]["groups"] for rule in group["rules"]]
    names = {m.name for m in METRICS}
    for expression in expressions:
        asked = {
            word
            for word in expression.replace("(", " ").replace("{", " ").replace(")", " ").split()
            if word.startswith("vedette")
        }
        assert asked <= names
        assert asked


@needs_promtool
def test_promtool_takes_the_rules_and_they_fire_when_they_should(tmp_path):
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules()["spec"]), encoding="utf-8")
    series = [
        {"series": 'vedette_monitor_open{model="flows",severity="major"}', "values": "0x9 2x50"},
        {"series": 'vedette_monitor_open{model="flows",severity="minor"}', "values": "3x60"},
        {"series": 'vedette_monitor_last_look_seconds{model="flows"}', "values": "0+60x20 1200x40"},
        {"series": 'vedette_monitor_undelivered{receiver="webhook"}', "values": "0x5 4x55"},
    ]

    def fires(minute, name):
        return {"eval_time": f"{minute}m", "alertname": name}

    drift = {"exp_labels": {"model": "flows", "severity": "warning"}}
    tests = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": series,
                "alert_rule_test": [
                    fires(5, "VedetteModelDrift") | {"exp_alerts": []},
                    fires(12, "VedetteModelDrift")
                    | {"exp_alerts": [drift | {"exp_annotations": _words("VedetteModelDrift", value="2")}]},
                    fires(20, "VedetteMonitorStandsStill") | {"exp_alerts": []},
                    fires(15, "VedetteAlarmsNotTaken") | {"exp_alerts": []},
                    fires(30, "VedetteMonitorGone") | {"exp_alerts": []},
                ],
            }
        ],
    }
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(tests), encoding="utf-8")
    for words in (["check", "rules", "rules.yaml"], ["test", "rules", "tests.yaml"]):
        done = subprocess.run(["promtool", *words], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
@pytest.mark.parametrize(("minute", "name"), [(40, "VedetteMonitorStandsStill"), (40, "VedetteAlarmsNotTaken")])
def test_promtool_sees_alerts_that_are_due(tmp_path, minute, name):
    """A test of promtool that expects no alert fails where one fires."""
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules()["spec"]), encoding="utf-8")
    series = [
        {"series": 'vedette_monitor_last_look_seconds{model="flows"}', "values": "0+60x20 1200x40"},
        {"series": 'vedette_monitor_undelivered{receiver="webhook"}', "values": "0x5 4x55"},
    ]
    tests = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": series,
                "alert_rule_test": [{"eval_time": f"{minute}m", "alertname": name, "exp_alerts": []}],
            }
        ],
    }
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(tests), encoding="utf-8")
    done = subprocess.run(["promtool", "test", "rules", "tests.yaml"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert name in done.stdout + done.stderr


def _words(name, value):
    (rule,) = [r for group in rules()["spec"]["groups"] for r in group["rules"] if r["alert"] == name]
    return {
        key: text.replace("{{ $labels.model }}", "flows").replace("{{ $value }}", value)
        for key, text in rule["annotations"].items()
    }
