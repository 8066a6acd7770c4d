"""The label server's Deployment, and the operator that asks it."""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request

import kubernetes.client
import pytest
import typer.main

from operators.cli.main import app
from operators.handlers.settings import OperatorSettings
from tests import quick_yaml as yaml
from tests.fakes.labelled import PredictionLog, record
from tests.manifests.conftest import LABELS, MONITOR, ROOT, rendered_with

KINDS = {
    "Deployment": kubernetes.client.V1Deployment,
    "NetworkPolicy": kubernetes.client.V1NetworkPolicy,
    "PodDisruptionBudget": kubernetes.client.V1PodDisruptionBudget,
    "Service": kubernetes.client.V1Service,
}


@pytest.fixture
def resources(rendered):
    return {r["kind"]: r for r in yaml.safe_load_all(rendered(LABELS))}


@pytest.fixture
def pod(resources):
    return resources["Deployment"]["spec"]["template"]["spec"]


def test_kubernetes_knows_every_field(resources):
    assert resources.keys() == KINDS.keys()
    for kind, resource in resources.items():
        KINDS[kind].model_validate(resource)


def test_one_pod_that_ends_before_the_next_starts(resources):
    spec = resources["Deployment"]["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_it_is_confined_and_its_labels_lie_on_the_claim_where_the_monitor_reads_them(pod, rendered):
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    (container,) = pod["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["resources"]["limits"]["memory"]
    claim = {m["subPath"]: m for m in container["volumeMounts"] if m["name"] == "log"}
    assert claim.keys() == {"audit", "labels"}
    assert claim["audit"]["readOnly"] is True
    (monitor,) = [r for r in yaml.safe_load_all(rendered(MONITOR)) if r["kind"] == "Deployment"]
    (watcher,) = monitor["spec"]["template"]["spec"]["containers"]
    read = {m["subPath"]: m["mountPath"] for m in watcher["volumeMounts"] if m["name"] == "log"}
    assert read["labels"] == claim["labels"]["mountPath"]


def test_its_arguments_are_options_of_the_verb_and_its_ports_agree(resources, pod):
    (container,) = pod["containers"]
    verb = typer.main.get_command(app).commands["label"].commands["serve"]
    options = verb.make_context("serve", list(container["args"])).params
    (port,) = container["ports"]
    assert (options["port"], options["host"]) == (port["containerPort"], "0.0.0.0")
    assert {container[f"{kind}Probe"]["httpGet"]["port"] for kind in ("startup", "readiness", "liveness")} == {port["name"]}
    (exposed,) = resources["Service"]["spec"]["ports"]
    assert (exposed["port"], exposed["targetPort"]) == (port["containerPort"], port["name"])
    mounts = {m["name"]: m["mountPath"] for m in container["volumeMounts"]}
    assert str(options["token_file"].parent) == mounts["token"]


def test_the_container_takes_labels_with_the_token_alone(pod, tmp_path):
    (container,) = pod["containers"]
    (tmp_path / "token").write_text("sesame\n", encoding="utf-8")
    PredictionLog(tmp_path / "store" / "audit").append(record(1))
    places = {"/etc/vedette-labels": str(tmp_path), "0.0.0.0": "127.0.0.1"}

    def here(word):
        for there, place in places.items():
            word = word.replace(there, place)
        return "0" if word == "8095" else word

    process = subprocess.Popen(
        [sys.executable, *map(here, [*container["command"][1:], *container["args"]])],
        env=os.environ | {"VEDETTE_STORE_DIR": str(tmp_path / "store"), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, text=True, encoding="utf-8",
    )  # fmt: skip
    try:
        address = process.stdout.readline().split()[4].rstrip(";")
        body = json.dumps({"label_id": "l-1", "event": "r-1", "verdict": "attack", "analyst": "ada"}).encode()
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(urllib.request.Request(address, body), timeout=60)
        given = urllib.request.Request(address, body, {"authorization": "Bearer sesame"})
        with urllib.request.urlopen(given, timeout=60) as answer:
            assert answer.status == 201
        assert list((tmp_path / "store" / "labels").iterdir())
    finally:
        process.terminate()
        process.wait()


def test_the_operator_is_told_where_the_label_server_is(tmp_path):
    (deployment,) = [r for r in rendered_with(tmp_path, "operator", "operator-labels") if r["kind"] == "Deployment"]
    KINDS["Deployment"].model_validate(deployment)
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    variables = {v["name"]: v for v in container["env"]}
    prefix = OperatorSettings.model_config["env_prefix"]
    assert {f"{prefix}{field}".upper() for field in ("labels_url", "labels_token_file")} <= variables.keys()
    mounts = {m["name"]: m["mountPath"] for m in container["volumeMounts"]}
    assert variables["VEDETTE_OPERATOR_LABELS_TOKEN_FILE"]["value"] == f"{mounts['labels-token']}/token"
