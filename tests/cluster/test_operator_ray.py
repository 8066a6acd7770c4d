"""What others do to a RayService while the operator looks after it, and several ModelServices on one."""

from typing import Any

from tests import quick_yaml as yaml
from tests.cluster.test_operator_rollouts import begin, is_healthy
from tests.fakes.operator.operator_world import API, MERGE, SSA, World, digest
from tests.fakes.operator.serving_pods import ray_service, serving_spec
from tests.waiting import until


def where(namespace: str, name: str = "ids") -> str:
    return f"/apis/ray.io/v1/namespaces/{namespace}/rayservices/{name}"


def ray(world: World, namespace: str) -> dict[str, Any]:
    found: dict[str, Any] = world.http.get(where(namespace)).json()
    return found


def bundles(world: World, namespace: str) -> dict[str, str]:
    """What the RayService says is stable, by model."""
    return {m.name: m.revision.bundle for m in serving_spec(ray(world, namespace)).models}


def condition(status: dict[str, Any], name: str) -> tuple[str, str]:
    return next(((c["status"], c["message"]) for c in status.get("conditions", ()) if c["type"] == name), ("", ""))


def test_an_overwritten_ray_service_is_put_back_at_the_next_look(world, namespace, operators):
    begin(world, namespace, operators)
    fields = {"apiVersion": "ray.io/v1", "kind": "RayService", "metadata": {"name": "ids"}}
    config = yaml.safe_load(ray(world, namespace)["spec"]["serveConfigV2"])
    del config["applications"][0]["deployments"][0]["user_config"]
    answer = world.http.patch(
        where(namespace),
        json={**fields, "spec": {"serveConfigV2": yaml.safe_dump(config)}},
        params={"fieldManager": "argocd-controller", "force": "true"},
        headers=SSA,
    )
    assert answer.is_success, answer.text
    until(lambda: bundles(world, namespace) == {"ids": digest("a")})


def test_who_leaves_the_configuration_to_the_operator_can_apply_again_and_again(world, namespace, operators):
    world.namespace(namespace)
    manifest: dict[str, Any] = {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": {"name": "ids", "namespace": namespace},
        "spec": {"excludeHeadPodFromServeSvc": True},
    }

    def apply() -> None:
        answer = world.http.patch(where(namespace), json=manifest, params={"fieldManager": "kubectl"}, headers=SSA)
        assert answer.is_success, answer.text

    apply()
    world.ray(namespace, "ids")
    world.service(namespace, "ids")
    operators.start(world.api.kubeconfig(), NAMESPACES=namespace)
    world.until(namespace, "ids", is_healthy("1"), 180)
    manifest["spec"]["deploymentUnhealthySecondThreshold"] = 300
    apply()
    assert bundles(world, namespace) == {"ids": digest("a")}
    owners = [
        e["manager"]
        for e in ray(world, namespace)["metadata"]["managedFields"]
        if "f:serveConfigV2" in e["fieldsV1"].get("f:spec", {})
    ]
    assert owners == ["vedette-operator"]


def valid(status: dict[str, Any]) -> tuple[str, str]:
    return next(((c["status"], c["message"]) for c in status.get("conditions", ()) if c["type"] == "Valid"), ("", ""))


def delete(world: World, namespace: str, name: str) -> None:
    path = f"{API}/namespaces/{namespace}/modelservices/{name}"
    world.http.delete(path).raise_for_status()
    until(lambda: world.http.get(path).status_code == 404)


def test_of_two_services_of_one_model_the_older_serves_and_the_younger_says_so(world, namespace, operators):
    begin(world, namespace, operators)
    world.service(namespace, "usurper", letter="b", ray="ids", model="ids", revision={"version": "2", "bundle": digest("b")})
    status = world.until(namespace, "usurper", lambda s: valid(s)[0] == "False", 60)
    assert f"ModelService {namespace}/ids" in valid(status)[1]
    assert "model ids on RayService" in valid(status)[1]
    delete(world, namespace, "usurper")
    assert bundles(world, namespace) == {"ids": digest("a")}
    assert is_healthy("1")(world.status(namespace, "ids"))


def test_the_younger_takes_over_when_the_older_is_deleted_without_a_moment_without_the_model(world, namespace, operators):
    group = begin(world, namespace, operators)
    world.service(namespace, "heir", ray="ids", model="ids")
    world.until(namespace, "heir", lambda s: valid(s)[0] == "False", 60)
    delete(world, namespace, "ids")
    world.until(namespace, "heir", lambda s: valid(s)[0] == "True" and is_healthy("1")(s), 60)
    assert bundles(world, namespace) == {"ids": digest("a")}
    assert group.spec.models, "it was never taken away"


def test_the_count_of_a_deployment_has_one_owner_also_over_services(world, namespace, operators):
    begin(world, namespace, operators, replicas=3)
    world.service(namespace, "dns", ray="ids", replicas=2)
    status = world.until(namespace, "dns", lambda s: valid(s)[0] == "False", 60)
    assert "replica count" in valid(status)[1]
    world.patch(namespace, "dns", {"spec": {"replicas": None}})
    world.until(namespace, "dns", is_healthy("1"), 60)
    assert set(bundles(world, namespace)) == {"ids", "dns"}


def test_more_replicas_than_workers_are_said_hold_up_no_rollout_and_come_with_the_room(world, namespace, operators):
    world.namespace(namespace)
    world.ray(namespace, "ids", most=2)
    world.service(namespace, "ids", replicas=6)
    operators.start(world.api.kubeconfig(), NAMESPACES=namespace)

    status = world.until(namespace, "ids", lambda s: condition(s, "Degraded")[0] == "True", 60)
    assert "room for 2" in condition(status, "Degraded")[1]
    world.want(namespace, "ids", "b")
    world.until(namespace, "ids", is_healthy("2"), 180)
    groups = [{"groupName": "replicas", "replicas": 2, "minReplicas": 1, "maxReplicas": 8}]
    patch = {"spec": {"rayClusterConfig": {"workerGroupSpecs": groups}}}
    world.http.patch(where(namespace), json=patch, headers=MERGE).raise_for_status()
    cluster = where(namespace, "ids-c1").replace("rayservices", "rayclusters")
    until(lambda: world.http.get(cluster).json()["spec"]["workerGroupSpecs"][0]["replicas"] == 6)
    wanted = ("False", "2 of 6 replicas serve the stable revision")
    world.until(namespace, "ids", lambda s: condition(s, "Degraded")[0] == "False" and condition(s, "Ready") == wanted, 60)


NEVER = {"REST_INTERVAL_S": "3600", "ACTIVE_INTERVAL_S": "3600"}
"""Only an event brings a look."""


def test_a_ray_service_that_comes_is_overwritten_or_goes_is_noticed_by_the_event(world, namespace, operators):
    world.namespace(namespace)
    operators.start(world.api.kubeconfig(), NAMESPACES=namespace, **NEVER)
    until(lambda: f"rayservices of {namespace} are watched" in operators.said)
    world.service(namespace, "ids")
    world.until(namespace, "ids", lambda s: s["phase"] == "Waiting" and "RayService" in s["waitingFor"], 60)

    world.ray(namespace, "ids")
    until(lambda: bundles(world, namespace) == {"ids": digest("a")})

    config = ray_service(namespace, "ids")["spec"]["serveConfigV2"]
    assert "user_config" not in config
    world.http.patch(where(namespace), json={"spec": {"serveConfigV2": config}}, headers=MERGE).raise_for_status()
    until(lambda: bundles(world, namespace) == {"ids": digest("a")})

    world.http.delete(where(namespace)).raise_for_status()
    world.until(namespace, "ids", lambda s: "RayService" in str(s["conditions"]) and condition(s, "Degraded")[0] == "True", 60)
