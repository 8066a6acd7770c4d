"""The monitor's Deployment."""

import kubernetes.client
import pytest
import typer.main

from operators.cli.main import app
from tests import quick_yaml as yaml
from tests.manifests.conftest import MONITOR, rendered_with

KINDS = {
    "Deployment": kubernetes.client.V1Deployment,
    "NetworkPolicy": kubernetes.client.V1NetworkPolicy,
    "PodDisruptionBudget": kubernetes.client.V1PodDisruptionBudget,
    "Service": kubernetes.client.V1Service,
}


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
