"""What no schema knows: that the manifests fit each other, the settings and the pods' own rules."""

import pytest

from serving.settings import ServingSettings
from tests import quick_yaml as yaml
from tests.manifests.conftest import FRONTED, KUSTOMIZATIONS, OPERATED


def _one(resources, kind):
    (found,) = (r for r in resources if r["kind"] == kind)
    return found


def _templates(resources):
    cluster = _one(resources, "RayService")["spec"]["rayClusterConfig"]
    return [cluster["headGroupSpec"]["template"], *(g["template"] for g in cluster["workerGroupSpecs"])]


def _containers(resources):
    return [c for t in _templates(resources) for c in (*t["spec"]["initContainers"], *t["spec"]["containers"])]


def _settings(resources):
    return _one(resources, "ConfigMap")["data"]


def test_every_setting_named_exists_and_parses(resources, monkeypatch):
    fields = {f"VEDETTE_{name.upper()}" for name in ServingSettings.model_fields}
    assert set(_settings(resources)) <= fields
    for name, value in _settings(resources).items():
        monkeypatch.setenv(name, value)
    assert ServingSettings().host == "0.0.0.0"


def test_doors_in_settings_pods_and_service_agree(resources):
    settings, service = _settings(resources), _one(resources, "Service")
    (worker,) = _templates(resources)[1]["spec"]["containers"]
    ports = {p["name"]: p["containerPort"] for p in worker["ports"]}
    assert (ports["serve"], ports["serve-grpc"]) == (int(settings["VEDETTE_HTTP_PORT"]), int(settings["VEDETTE_GRPC_PORT"]))
    assert {(p["name"], p["targetPort"]) for p in service["spec"]["ports"]} == {("http", "serve"), ("grpc", "serve-grpc")}
    assert worker["readinessProbe"]["httpGet"] == {"path": "/v2/health/ready", "port": "serve"}


def test_ray_takes_no_port_of_ours(resources):
    cluster = _one(resources, "RayService")["spec"]["rayClusterConfig"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        (container,) = group["template"]["spec"]["containers"]
        ports = [p["containerPort"] for p in container["ports"]]
        assert len(ports) == len(set(ports))
        assert int(group["rayStartParams"]["metrics-export-port"]) == next(
            p["containerPort"] for p in container["ports"] if p["name"] == "metrics"
        )


def test_selectors_find_the_replicas_and_not_the_head(resources):
    head, worker = (t["metadata"]["labels"] for t in _templates(resources))
    selectors = [_one(resources, "Service")["spec"]["selector"]]
    selectors += [r["spec"]["selector"]["matchLabels"] for r in resources if r["kind"] == "PodDisruptionBudget"]
    for selector in selectors:
        assert selector.items() <= worker.items()
        assert not selector.items() <= head.items()


def test_there_is_a_worker_for_each_replica(resources):
    spec = _one(resources, "RayService")["spec"]
    (group,) = spec["rayClusterConfig"]["workerGroupSpecs"]
    (application,) = yaml.safe_load(spec["serveConfigV2"])["applications"]
    (deployment,) = application["deployments"]
    assert group["minReplicas"] <= group["replicas"] == deployment["num_replicas"] <= group["maxReplicas"]
    assert deployment["ray_actor_options"]["num_cpus"] <= int(group["rayStartParams"]["num-cpus"])
    assert spec["rayClusterConfig"]["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    budgets = [r["spec"]["minAvailable"] for r in resources if r["kind"] == "PodDisruptionBudget"]
    assert all(b < group["replicas"] for b in budgets)


def test_every_pod_names_the_generated_settings(resources):
    name = _one(resources, "ConfigMap")["metadata"]["name"]
    for template in _templates(resources):
        (container,) = template["spec"]["containers"]
        assert container["envFrom"][0]["configMapRef"]["name"] == name


def test_pods_are_confined(resources):
    for template in _templates(resources):
        assert template["spec"]["automountServiceAccountToken"] is False
        assert template["spec"]["securityContext"]["runAsNonRoot"] is True
    for container in _containers(resources):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"]["memory"]
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}


def test_what_is_written_lies_on_a_volume(resources):
    store = _settings(resources)["VEDETTE_STORE_DIR"]
    for template in _templates(resources):
        volumes = {v["name"] for v in template["spec"]["volumes"]}
        (container,) = template["spec"]["containers"]
        mounts = {m["mountPath"]: m["name"] for m in container["volumeMounts"]}
        assert {store, "/tmp"} <= mounts.keys()
        assert set(mounts.values()) <= volumes


def test_nothing_names_a_namespace_or_a_floating_tag(resources):
    assert all("namespace" not in r["metadata"] for r in resources)
    for container in _containers(resources):
        _, _, tag = container["image"].partition(":")
        assert tag not in {"", "latest"}


def test_no_password_travels_in_the_open(resources):
    assert not {"VEDETTE_REDIS_URL"} & _settings(resources).keys()


def test_nobody_joins_or_commands_the_ray_cluster_without_its_token(resources):
    assert _one(resources, "RayService")["spec"]["rayClusterConfig"]["authOptions"] == {"mode": "token"}


@pytest.mark.parametrize("name", [*KUSTOMIZATIONS, OPERATED, FRONTED])
def test_worker_groups_say_what_kuberay_writes_by_itself(rendered, name):
    """KubeRay 1.7 puts its finalizer on a RayService by an update of the whole, which writes every struct of its Go types, empty ones too.
    The list of worker groups is one value to Kubernetes: what differs makes it KubeRay's, and each later apply conflicts."""
    ray_service = _one(list(yaml.safe_load_all(rendered(name))), "RayService")
    for group in ray_service["spec"]["rayClusterConfig"]["workerGroupSpecs"]:
        assert {"scaleStrategy", "numOfHosts", "priority", "rayStartParams", "template"} <= group.keys()
        pod = group["template"]["spec"]
        assert [c["name"] for c in (*pod["initContainers"], *pod["containers"]) if "resources" not in c] == []
