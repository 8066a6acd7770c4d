"""The sinks' Deployment: one pod a spool, on a claim, with the example's configuration."""

import re
import shutil
import subprocess

import kubernetes.client
import pytest
import typer.main

from operators.cli.main import app
from operators.cli.sinks.examples import CONFIG
from operators.cli.sinks.sink_metrics import METRICS
from serving.sinks.config import SinksConfig
from tests import quick_yaml as yaml
from tests.manifests.conftest import MANIFESTS, SINKS

RULES = MANIFESTS / "components" / "sinks-alerts" / "alerts.yaml"
KINDS = {
    "Deployment": kubernetes.client.V1Deployment,
    "NetworkPolicy": kubernetes.client.V1NetworkPolicy,
    "Service": kubernetes.client.V1Service,
}


@pytest.fixture
def resources(rendered):
    return {r["kind"]: r for r in yaml.safe_load_all(rendered(SINKS))}


@pytest.fixture
def pod(resources):
    return resources["Deployment"]["spec"]["template"]["spec"]


def test_kubernetes_knows_every_field(resources):
    assert resources.keys() == KINDS.keys()
    for kind, resource in resources.items():
        KINDS[kind].model_validate(resource)


def test_one_pod_that_ends_before_the_next_starts_and_may_end_a_request(resources, pod):
    spec = resources["Deployment"]["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    slowest = max(sink.batch.timeout_s for sink in SinksConfig.model_validate(yaml.safe_load(CONFIG)).sinks)
    assert pod["terminationGracePeriodSeconds"] > slowest


def test_it_is_confined_and_spools_on_a_claim(pod):
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    (container,) = pod["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["resources"]["limits"]["memory"]
    mounts = {m["name"]: m for m in container["volumeMounts"]}
    volumes = {v["name"]: v for v in pod["volumes"]}
    assert volumes["spool"]["persistentVolumeClaim"] == {"claimName": "vedette-sinks"}
    assert not mounts["spool"].get("readOnly")
    assert mounts["secrets"]["readOnly"] is True
    assert mounts["config"]["readOnly"] is True


def test_its_arguments_are_options_of_the_verb_and_its_ports_agree(resources, pod):
    (container,) = pod["containers"]
    verb = typer.main.get_command(app).commands["sinks"].commands["run"]
    options = verb.make_context("run", list(container["args"])).params
    (port,) = container["ports"]
    assert (options["metrics_port"], options["metrics_host"]) == (port["containerPort"], "0.0.0.0")
    assert {container[f"{kind}Probe"]["httpGet"]["port"] for kind in ("startup", "readiness", "liveness")} == {port["name"]}
    (exposed,) = resources["Service"]["spec"]["ports"]
    assert (exposed["port"], exposed["targetPort"]) == (port["containerPort"], port["name"])
    mounts = {m["name"]: m["mountPath"] for m in container["volumeMounts"]}
    assert str(options["config"].parent) == mounts["config"]
    (policy,) = resources["NetworkPolicy"]["spec"]["ingress"]
    assert policy["ports"] == [{"protocol": "TCP", "port": port["containerPort"]}]


def test_the_files_of_the_example_are_where_the_secret_is_mounted(pod):
    (container,) = pod["containers"]
    mounts = {m["name"]: m["mountPath"] for m in container["volumeMounts"]}
    for sink in SinksConfig.model_validate(yaml.safe_load(CONFIG)).sinks:
        sources = [getattr(sink.to, name, None) for name in ("token", "api_key", "secret", "password")]
        named = [source.file for source in sources if source is not None] + (
            [sink.to.tls.ca] if sink.to.tls and sink.to.tls.ca else []
        )
        assert named
        assert all(str(file.parent) == mounts["secrets"] for file in named)


def rules():
    return yaml.safe_load(RULES.read_text(encoding="utf-8"))


def test_alert_rules_ask_for_metrics_that_there_are():
    for group in rules()["spec"]["groups"]:
        for rule in group["rules"]:
            asked = set(re.findall(r"vedette_\w+", rule["expr"]))
            assert asked
            assert asked <= {metric.name for metric in METRICS}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (it comes with Prometheus)")
def test_promtool_takes_the_rules_and_they_fire_when_they_should(tmp_path):
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules()["spec"]), encoding="utf-8")
    series = [
        {"series": 'vedette_sink_oldest_seconds{sink="siem"}', "values": "0x5 60+60x40"},
        {"series": "vedette_sinks_held", "values": "0x20 1x30"},
        {"series": 'vedette_sink_alerts_total{sink="siem",outcome="dead"}', "values": "0x10 3x60"},
        {"series": 'vedette_sink_alerts_total{sink="siem",outcome="dropped"}', "values": "0x60"},
    ]

    asked = [
        (3, "VedetteAlertsWait", 0),
        (15, "VedetteAlertsWait", 1),
        (10, "VedetteSpoolFull", 0),
        (30, "VedetteSpoolFull", 1),
        (5, "VedetteAlertsRefused", 0),
        (14, "VedetteAlertsRefused", 1),
        (40, "VedetteAlertsLost", 0),
        (40, "VedetteSinksGone", 0),
    ]
    tests = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": series,
                "promql_expr_test": [
                    {
                        "expr": f'count(ALERTS{{alertname="{name}",alertstate="firing"}}) or vector(0)',
                        "eval_time": f"{minute}m",
                        "exp_samples": [{"labels": "{}", "value": fires}],
                    }
                    for minute, name, fires in asked
                ],
            }
        ],
    }
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(tests), encoding="utf-8")
    done = subprocess.run(
        ["promtool", "test", "rules", "tests.yaml"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
