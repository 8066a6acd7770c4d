"""What components promise: lists merge by name, one place for placement, topics as the command makes them, one owner of each count."""

import contextlib
import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from operators.cli.stream import topics
from serving.stream.settings import StreamSettings
from tests import quick_yaml as yaml
from tests.manifests.conftest import MANIFESTS
from tests.manifests.platform.pods import all_templates, containers
from tests.manifests.platform.rendering import composed, whole
from tests.waiting import HANG_S, until

README = (MANIFESTS / "README.md").read_text(encoding="utf-8")


def one(resources, kind, name="vedette"):
    (found,) = (r for r in resources if r["kind"] == kind and r["metadata"]["name"] == name)
    return found


def worker(resources):
    (group,) = one(resources, "RayService")["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    return group["template"]["spec"]


def patched(folder, base, **container):
    group = {"groupName": "replicas", "template": {"spec": {"containers": [{"name": "ray-worker", **container}]}}}
    patch = {
        "apiVersion": "ray.io/v1", "kind": "RayService", "metadata": {"name": "vedette"},
        "spec": {"rayClusterConfig": {"workerGroupSpecs": [group]}},
    }  # fmt: skip
    return composed(folder, [base], patches=[{"patch": yaml.safe_dump(patch)}])


def test_a_patch_by_names_changes_one_container_and_keeps_the_rest(tmp_path):
    before = whole("overlays/fronted")
    after = patched(tmp_path, "overlays/fronted", resources={"requests": {"memory": "9Gi"}}, env=[{"name": "A", "value": "1"}])
    wanted = worker(before)
    (container,) = wanted["containers"]
    container["resources"]["requests"]["memory"] = "9Gi"
    container["env"] = [{"name": "A", "value": "1"}, *container["env"]]
    assert worker(after) == wanted
    assert (
        one(after, "RayService")["spec"]["rayClusterConfig"]["headGroupSpec"]
        == (one(before, "RayService")["spec"]["rayClusterConfig"]["headGroupSpec"])
    )


def test_kinds_of_kubernetes_merge_by_name_too_beside_a_rayservice(tmp_path):
    patch = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "vedette-stream"},
        "spec": {"template": {"spec": {"containers": [{"name": "stream", "env": [{"name": "A", "value": "1"}]}]}}},
    }  # fmt: skip
    made = composed(tmp_path, ["base/serving", "base/stream"], patches=[{"patch": yaml.safe_dump(patch)}])
    (container,) = one(made, "Deployment", "vedette-stream")["spec"]["template"]["spec"]["containers"]
    assert {e["name"] for e in container["env"]} == {"A", "HOME"}
    assert container["image"].startswith("vedette-serving:")


def test_one_template_places_every_pod_of_every_kind(tmp_path):
    placement = yaml.safe_load((MANIFESTS / "examples/site/placement.yaml").read_text(encoding="utf-8"))
    bases = ["serving", "stream", "monitor", "labels", "sinks", "operator", "batch", "batch-ray"]
    made = composed(tmp_path, [*(f"base/{b}" for b in bases), "examples/site/placement.yaml"], ["redis", "placement"])
    assert not [r for r in made if r["kind"] == "PodTemplate"], "it is not applied"
    found = all_templates(made)
    assert len(found) == 11
    wanted = placement["template"]
    for where, template in found:
        assert {k: template["spec"].get(k) for k in wanted["spec"]} == wanted["spec"], where
        assert template["metadata"]["annotations"] == wanted["metadata"]["annotations"], where


def test_each_program_that_makes_spans_sends_them_to_the_collector(tmp_path):
    bases = ["serving", "stream", "sinks", "batch", "batch-once", "batch-ray"]
    made = composed(tmp_path, [f"base/{b}" for b in bases], ["otel-collector"])
    settings = {r["metadata"]["name"]: r["data"] for r in made if r["kind"] == "ConfigMap"}
    (port,) = (p["port"] for p in one(made, "Service", "vedette-otel-collector")["spec"]["ports"] if p["name"] == "otlp-http")
    found = {}
    for where, template in all_templates(made):
        (container, *_) = template["spec"]["containers"]
        named = [settings.get(e["configMapRef"]["name"], {}) for e in container.get("envFrom", ()) if "configMapRef" in e]
        own = {e["name"]: e.get("value") for e in container.get("env", ())}
        found[where] = [said["VEDETTE_OTLP_ENDPOINT"] for said in (*named, own) if "VEDETTE_OTLP_ENDPOINT" in said]
    assert found.pop("Deployment/vedette-otel-collector") == []
    assert len(found) == 9
    assert {where: urls for where, urls in found.items() if urls != [f"http://vedette-otel-collector:{port}"]} == {}


def test_zones_are_added_to_the_spread_over_nodes_and_change_nothing_else(tmp_path):
    bases = ["base/serving", "base/stream", "base/operator"]
    (tmp_path / "plain").mkdir()
    before, made = composed(tmp_path / "plain", bases, ["strimzi"]), composed(tmp_path, bases, ["strimzi", "zones"])
    spreads = [
        t["spec"]["topologySpreadConstraints"] for _, t in all_templates(made) if "topologySpreadConstraints" in t["spec"]
    ]
    spreads.append(one(made, "KafkaNodePool")["spec"]["template"]["pod"]["topologySpreadConstraints"])
    assert len(spreads) == 4
    for spread in spreads:
        zones = [s for s in spread if s["topologyKey"] == "topology.kubernetes.io/zone"]
        assert [s | {"topologyKey": "kubernetes.io/hostname"} for s in zones] == [s for s in spread if s not in zones]
        spread[:] = [s for s in spread if s not in zones]
    assert made == before


def test_a_site_s_registry_and_digest_reach_every_container():
    images = {c["image"] for _, t in all_templates(whole("examples/site")) for c in containers(t)}
    assert images == {
        "registry.example/detection/vedette-bundles:flows-7",
        f"registry.example/detection/vedette-serving@sha256:{'0' * 64}",
    }


def test_topics_are_those_of_the_command(monkeypatch):
    planned = {}

    class Broker:
        """Takes the plans as a broker without topics would."""

        def __init__(self, _):
            self._made = {}

        def partitions(self):
            return self._made

        def create(self, plans):
            planned.update({p.name: (p.partitions, p.replicas, dict(p.config or {})) for p in plans})
            self._made = {p.name: p.partitions for p in plans}
            return [p.name for p in plans]

    monkeypatch.setattr("serving.stream.kafka.topics.KafkaTopics", Broker)
    topics.make_topics(StreamSettings(servers="broker:9092"), 12, 3)
    made = {r["spec"]["topicName"]: r["spec"] for r in whole("overlays/staging") if r["kind"] == "KafkaTopic"}
    assert made.keys() == planned.keys()
    for name, (partitions, replicas, config) in planned.items():
        assert (made[name]["partitions"], made[name]["replicas"]) == (partitions, replicas)
        assert config.items() <= {k: str(v) for k, v in made[name]["config"].items()}.items(), name
        assert ("cleanup.policy" in made[name]["config"]) == ("cleanup.policy" in config), name


def test_a_topic_of_dead_letters_takes_larger_messages_than_the_events():
    sizes = {r["spec"]["topicName"]: r["spec"]["config"] for r in whole("overlays/staging") if r["kind"] == "KafkaTopic"}
    assert sizes["vedette.dead-letters"]["max.message.bytes"] > sizes["vedette.events"]["max.message.bytes"]


@pytest.mark.parametrize(
    ("component", "kind", "field"),
    [("keda", "ScaledObject", "maxReplicaCount"), ("stream-hpa", "HorizontalPodAutoscaler", "maxReplicas")],
)
def test_no_more_workers_than_partitions_and_one_owner_of_their_count(tmp_path, component, kind, field):
    made = composed(tmp_path, ["base/stream"], ["strimzi", component])
    (events,) = [r for r in made if r["kind"] == "KafkaTopic" and r["spec"]["topicName"] == "vedette.events"]
    scaled, deployment = one(made, kind, "vedette-stream")["spec"], one(made, "Deployment", "vedette-stream")
    assert scaled[field] == events["spec"]["partitions"]
    assert scaled["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert "replicas" not in deployment["spec"]


def test_who_archives_the_log_finds_it_and_ends_after_the_replica(tmp_path):
    spec = worker(composed(tmp_path, ["overlays/production"], ["log-archive"]))
    (archiver,) = [c for c in spec["initContainers"] if c["name"] == "archiver"]
    (replica,) = spec["containers"]
    assert archiver["restartPolicy"] == "Always"
    store = {(m["name"], m["mountPath"]) for m in replica["volumeMounts"]} & {
        (m["name"], m["mountPath"]) for m in archiver["volumeMounts"]
    }
    assert {("store", "/var/lib/vedette"), ("audit-key", "/etc/vedette-audit")} <= store


@pytest.mark.integration
@pytest.mark.parametrize("moment", ["while it archives", "while it waits"])
def test_who_archives_the_log_archives_once_more_when_told_to_end(tmp_path, moment):
    """The rendered script at a shell. `python` is one that says when it is called, and ends when it is let."""
    component = yaml.safe_load((MANIFESTS / "components/log-archive/archiver.yaml").read_text(encoding="utf-8"))
    (archiver,) = component["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["template"]["spec"]["initContainers"]
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho archives\nread -r _ < "{gate}"\n', encoding="utf-8")
    python.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOSTNAME": "pod"}
    process = subprocess.Popen(
        ["sh", "-c", *archiver["args"]], stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )
    watchdog = threading.Timer(HANG_S, os.killpg, (process.pid, signal.SIGKILL))
    watchdog.daemon = True
    watchdog.start()
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "archives\n"
        if moment == "while it archives":
            process.send_signal(signal.SIGTERM)
            gate.write_text("go\n")
        else:
            gate.write_text("go\n")
            until(lambda: _has_child(process.pid, "sleep"), "it waits")
            process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "archives\n", "what the replica wrote last is archived too"
        gate.write_text("go\n")
        assert process.wait(30) == 0
    finally:
        watchdog.cancel()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def _has_child(pid: int, name: str) -> bool:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return any(Path(f"/proc/{c}/comm").read_text().strip() == name for c in children)


def test_a_component_labels_nothing_but_its_own(tmp_path):
    plain = {(r["kind"], r["metadata"]["name"]): r["metadata"].get("labels") for r in whole("base/stream")}
    made = composed(tmp_path, ["base/stream"], ["keda", "strimzi", "network-policy", "redis", "mlflow", "gateway-api"])
    for resource in made:
        key = resource["kind"], resource["metadata"]["name"]
        assert resource["metadata"]["labels"] == plain.get(key, resource["metadata"]["labels"])


@pytest.mark.parametrize("folder", ["components", "overlays"])
def test_the_readme_names_every_one(folder):
    names = {p.parent.name for p in (MANIFESTS / folder).glob("*/kustomization.yaml")}
    programs = {p.parent.name for p in (MANIFESTS / "base").glob("*/kustomization.yaml")}
    left = {
        n for n in names - programs if f"`{n}`" not in README and not (n.startswith("operator-") and "`operator-*`" in README)
    }
    assert left - {"settings"} == set()
