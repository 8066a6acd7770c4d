"""What every pod of the manifests has: confinement, room to write, a memory limit, a place to fail over to; and what overlays say of it."""

import re

import pytest

from serving.settings import ServingSettings
from serving.stream.settings import StreamSettings
from tests.manifests.conftest import MANIFESTS
from tests.manifests.platform.pods import all_templates, containers
from tests.manifests.platform.rendering import COMPOSED, WHOLE, composed, whole

OVERLAYS = tuple(n for n in WHOLE if n.startswith("overlays/"))
KUBERAYS = ("head", "batch-head", "batch-scorer")
"""Pods that KubeRay replaces, or that end by themselves: no budget can be kept for them."""


@pytest.fixture(scope="module", params=[*OVERLAYS, *COMPOSED])
def resources(request, tmp_path_factory):
    if request.param in COMPOSED:
        return composed(tmp_path_factory.mktemp("composed"), *COMPOSED[request.param])
    return whole(request.param)


def test_every_container_is_confined(resources):
    for where, template in all_templates(resources):
        for container in containers(template):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False, where
            assert context["readOnlyRootFilesystem"] is True, where
            assert context["capabilities"] == {"drop": ["ALL"]}, where
            assert container["resources"]["requests"].keys() >= {"cpu", "memory"}, where
            assert container["resources"]["limits"]["memory"], where
            assert "cpu" not in container["resources"]["limits"], f"{where}: throttling would be read as latency"


def test_no_pod_has_the_variables_of_services(resources):
    """A Service `vedette-labels` would give every pod beside it VEDETTE_LABELS_PORT=tcp://..., which has the prefix of our settings."""
    for where, template in all_templates(resources):
        if not where.startswith("ServingRuntime"):  # of its pods the InferenceService says it, which the operator makes
            assert template["spec"]["enableServiceLinks"] is False, where


@pytest.mark.parametrize("name", ["chart/operator/templates/operator", "chart/serving/templates/serving", "verify/conform"])
def test_no_pod_of_a_chart_or_of_the_verification_has_them(name):
    text = (MANIFESTS / f"{name}.yaml").read_text(encoding="utf-8")
    pods = re.findall(r"^ +containers:$", text, re.MULTILINE)
    assert len(re.findall(r"^ +enableServiceLinks: false\b", text, re.MULTILINE)) == len(pods) > 0


def test_what_is_mounted_is_there_and_nothing_is_of_the_node(resources):
    for where, template in all_templates(resources):
        volumes = {v["name"]: v for v in template["spec"].get("volumes", ())}
        mounted = {m["name"] for c in containers(template) for m in c.get("volumeMounts", ())}
        assert mounted <= volumes.keys(), where
        assert not [v for v in volumes.values() if "hostPath" in v], where
        assert all("sizeLimit" in v["emptyDir"] for v in volumes.values() if "emptyDir" in v), where


def test_a_budget_for_every_pod_that_must_not_all_go_at_once(resources):
    budgets = [r["spec"] for r in resources if r["kind"] == "PodDisruptionBudget"]
    assert all(b["unhealthyPodEvictionPolicy"] == "AlwaysAllow" for b in budgets)
    for where, template in all_templates(resources):
        labels = template["metadata"].get("labels", {})
        if where.startswith(("CronJob", "ServingRuntime")) or labels.get("app.kubernetes.io/component") in KUBERAYS:
            continue
        if any(
            r["kind"] == "RayService" and r["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["maxReplicas"] == 1
            for r in resources
        ):
            continue  # of one replica a budget would forbid every drain
        assert [b for b in budgets if b["selector"]["matchLabels"].items() <= labels.items()], where


def several(resources):
    """Templates of pods of which there are, or can be, more than one."""
    return [
        t
        for r in resources
        for _, t in all_templates([r])
        if (r["kind"] == "Deployment" and r["spec"].get("replicas", 2) > 1)
        or (r["kind"] == "RayService" and t["metadata"]["labels"]["app.kubernetes.io/component"] == "replica")
    ]


def test_pods_of_which_there_are_several_are_spread_over_nodes(resources):
    for template in several(resources):
        spread = template["spec"]["topologySpreadConstraints"]
        assert "kubernetes.io/hostname" in {s["topologyKey"] for s in spread}
        for constraint in spread:
            assert constraint["labelSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
            assert constraint["whenUnsatisfiable"] == "ScheduleAnyway", "a replica more must not wait for a node more"


@pytest.mark.parametrize("name", WHOLE)
def test_nodes_without_a_zone_are_not_left_out_of_the_spread(name):
    """The scheduler leaves out a node that lacks the label of any one constraint of a pod. A kubelet sets the host's name by itself."""
    spreads = [t["spec"]["topologySpreadConstraints"] for t in several(whole(name))]
    spreads += [r["spec"]["template"]["pod"]["topologySpreadConstraints"] for r in whole(name) if r["kind"] == "KafkaNodePool"]
    assert [[s["topologyKey"] for s in spread] for spread in spreads] == [["kubernetes.io/hostname"]] * len(spreads)
    assert spreads or name not in {"overlays/production", "overlays/staging", "overlays/stream", "overlays/operator"}


def test_every_class_of_priority_that_is_named_is_made_by_the_cluster_s_part():
    made = {r["metadata"]["name"] for r in whole("cluster") if r["kind"] == "PriorityClass"}
    named = {t["spec"].get("priorityClassName") for n in OVERLAYS for _, t in all_templates(whole(n))} - {None}
    assert named
    assert named <= made


def test_production_gives_way_last():
    classes = {r["metadata"]["name"]: r for r in whole("cluster") if r["kind"] == "PriorityClass"}
    serving = {t["spec"]["priorityClassName"] for _, t in all_templates(whole("overlays/production"))}
    assert serving == {max(classes, key=lambda name: classes[name]["value"])}
    assert classes["vedette-batch"]["preemptionPolicy"] == "Never"


def test_namespaces_enforce_audit_and_warn_of_the_restricted_standard():
    for resource in (r for r in whole("cluster") if r["kind"] == "Namespace"):
        labels = resource["metadata"]["labels"]
        assert [labels[f"pod-security.kubernetes.io/{mode}"] for mode in ("enforce", "audit", "warn")] == ["restricted"] * 3


@pytest.mark.parametrize("name", ["overlays/production", "overlays/staging", "overlays/fronted"])
def test_a_replica_is_ready_when_its_bundles_are_probed(name):
    """Readiness is /v2/health/ready, which is false until the first specification is loaded (each bundle probed) and a model answers."""
    (service,) = [r for r in whole(name) if r["kind"] == "RayService"]
    (worker,) = service["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["template"]["spec"]["containers"]
    assert worker["readinessProbe"]["httpGet"]["path"] == "/v2/health/ready"


def test_every_setting_of_a_stream_worker_exists_and_parses(monkeypatch):
    (settings,) = [r["data"] for r in whole("base/stream") if r["kind"] == "ConfigMap"]
    known = {f"VEDETTE_STREAM_{n.upper()}" for n in StreamSettings.model_fields}
    known |= {f"VEDETTE_{n.upper()}" for n in ServingSettings.model_fields}
    assert set(settings) <= known
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    stream = StreamSettings()
    (deployment,) = [r for r in whole("base/stream") if r["kind"] == "Deployment"]
    pod = deployment["spec"]["template"]["spec"]
    (worker,) = pod["containers"]
    assert [p["containerPort"] for p in worker["ports"]] == [stream.http_port]
    assert pod["terminationGracePeriodSeconds"] > stream.deadline_s + stream.transaction_s, "a batch and its commit may end"
    assert worker["command"] == ["python", "-m", "serving.launch.stream"]
    assert worker["readinessProbe"]["httpGet"]["path"] == "/v2/health/ready"
    ends = {worker[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe")}
    assert ends == {"/v2/health/live"}, "readiness waits for the broker, and a broker that is away must not end a worker"
