"""The sinks' Deployment: one pod a spool, on a claim, with the example's configuration."""

import kubernetes.client
import pytest
import typer.main

from operators.cli.main import app
from operators.cli.sinks.examples import CONFIG
from serving.sinks.config import SinksConfig
from tests import quick_yaml as yaml
from tests.manifests.conftest import SINKS

KINDS = {
    "Deployment": kubernetes.client.V1Deployment,
    "NetworkPolicy": kubernetes.client.V1NetworkPolicy,
    "PodDisruptionBudget": kubernetes.client.V1PodDisruptionBudget,
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
