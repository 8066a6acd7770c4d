"""How many workers the replicas need, within what the worker groups allow; and which of them may leave."""

from datetime import UTC, datetime, timedelta

import pytest
import yaml

from operators.backends.ray_workers import WorkerCapacity, capacity_of, resized
from operators.backends.serve_config import deployment_of, new_config, with_model
from operators.rollout.status import Target
from tests.fakes.operator.operator_world import ROOT
from tests.fakes.operator.rollouts import A
from tests.fakes.operator.serving_pods import pod, ray_cluster, worker_group
from tests.unit.operators.backends.test_serve_config import PLACE

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ONE_EACH = {"max_replicas_per_node": 1, "ray_actor_options": {"num_cpus": 1}}


def room(*groups, deployment=ONE_EACH, **config) -> WorkerCapacity:
    return capacity_of({"spec": {"rayClusterConfig": {"workerGroupSpecs": list(groups), **config}}}, deployment)


@pytest.mark.parametrize(
    ("groups", "replicas", "expected"),
    [
        pytest.param([worker_group(2, 0, 8)], 6, {"replicas": 6}, id="workers follow the replicas up"),
        pytest.param([worker_group(6, 0, 8)], 3, {"replicas": 3}, id="and down"),
        pytest.param([worker_group(2, 2, 4)], 6, {"replicas": 4}, id="not above the most"),
        pytest.param([worker_group(2, 2, 4)], 1, {"replicas": 2}, id="not below the least"),
        pytest.param(
            [worker_group(1, 1, 2, "big"), worker_group(0, 0, 9, "small")],
            5,
            {"big": 2, "small": 3},
            id="groups are filled in their order",
        ),
        pytest.param([worker_group(2, 0, 8) | {"numOfHosts": 2}], 5, {"replicas": 3}, id="a worker of two hosts holds two"),
        pytest.param([worker_group() | {"suspend": True}], 5, None, id="a group that is suspended holds nobody"),
        pytest.param([], 5, None, id="no worker groups"),
    ],
)
def test_workers(groups, replicas, expected):
    assert room(*groups).workers(replicas) == expected


@pytest.mark.parametrize(
    ("deployment", "cpus", "each"),
    [
        pytest.param(ONE_EACH, "1", 1, id="one a node by its own word"),
        pytest.param({"ray_actor_options": {"num_cpus": 2}}, "8", 4, id="by CPUs"),
        pytest.param({"max_replicas_per_node": 3, "ray_actor_options": {"num_cpus": 1}}, "8", 3, id="the tighter of both"),
        pytest.param({"ray_actor_options": {"num_cpus": 0.5}}, "1", 2, id="half a CPU each"),
        pytest.param({}, None, None, id="not known: workers are left alone"),
    ],
)
def test_replicas_on_one_worker(deployment, cpus, each):
    group = worker_group() | ({"rayStartParams": {"num-cpus": cpus}} if cpus else {})
    assert room(group, deployment=deployment).each == each


def test_what_there_is_no_room_for_is_said_with_the_way_out():
    bounded = room(worker_group(2, 2, 4))
    assert bounded.most == 4
    assert bounded.shortfall(4, "RayService soc/vedette") is None
    said = bounded.shortfall(6, "RayService soc/vedette")
    assert said is not None
    assert all(
        part in said for part in ("6 replicas", "RayService soc/vedette", "room for 4", "replicas (4)", "raise maxReplicas")
    )


def test_an_autoscaler_of_rays_keeps_the_count_and_the_bounds_still_hold():
    scaled = room(worker_group(2, 0, 4), enableInTreeAutoscaling=True)
    assert scaled.workers(3) is None
    assert scaled.most == 4


def test_without_a_most_there_is_no_bound():
    group = worker_group()
    del group["maxReplicas"]
    assert room(group).most is None
    assert room(group).workers(50) == {"replicas": 50}


def test_the_manifests_have_room_for_more_than_they_start_with():
    document = yaml.safe_load((ROOT / "manifests/base/serving/rayservice.yaml").read_text(encoding="utf-8"))
    deployment = deployment_of(document["spec"]["serveConfigV2"], PLACE)
    found = capacity_of(document, deployment)
    assert found.each == 1
    (group,) = found.groups
    assert group["minReplicas"] <= group["replicas"] == deployment["num_replicas"] < group["maxReplicas"]


def test_a_ray_service_without_a_configuration_is_given_that_of_the_manifests():
    document = yaml.safe_load((ROOT / "manifests/base/serving/rayservice.yaml").read_text(encoding="utf-8"))
    assert yaml.safe_load(new_config(2)) == yaml.safe_load(document["spec"]["serveConfigV2"])
    assert deployment_of(with_model(new_config(0), PLACE, Target(stable=A).serving("ids"), None), PLACE)["num_replicas"] == 1


def workers(*ready: bool) -> list:
    labels = {"ray.io/cluster": "c1", "ray.io/node-type": "worker", "ray.io/group": "replicas"}
    made = [pod("soc", f"w{n}", f"127.0.0.{n + 1}", labels) for n in range(len(ready))]
    for document, is_ready in zip(made, ready, strict=True):
        document["status"]["conditions"][0]["status"] = str(is_ready)
    return made


def patch(now: int, wanted: int, *ready: bool, most: int = 9):
    group = worker_group(now, 0, most)
    cluster = ray_cluster("soc", "c1", [worker_group(5, name="others"), group])
    cluster["metadata"]["resourceVersion"] = "7"
    return resized(cluster, room(worker_group(2, 0, 9)), {"replicas": wanted}, workers(*ready), NOW)


def told(changes) -> dict:
    return {c["path"].rpartition("/")[2]: c["value"] for c in changes}


def test_more_workers_at_once_and_only_the_group_that_is_ours():
    changes = patch(2, 6, True, True)
    assert told(changes) == {"resourceVersion": "7", "replicas": 6, "scaleStrategy": {"workersToDelete": []}}
    assert all(c["path"].startswith(("/metadata/", "/spec/workerGroupSpecs/1/")) for c in changes)


def test_what_is_so_already_is_no_change():
    assert patch(6, 6) == []


def test_bounds_that_the_ray_service_has_now_reach_the_running_cluster():
    assert told(patch(2, 6, True, True, most=2))["maxReplicas"] == 9


@pytest.mark.parametrize(
    ("ready", "replicas", "leaving"),
    [
        pytest.param((True, True, True, True), None, None, id="nobody goes while each holds a replica"),
        pytest.param((True, False, True, True), 3, ["w1"], id="one whose replica has left goes"),
        pytest.param((False, True, False, True), 2, ["w0", "w2"], id="as many as are too many"),
        pytest.param((False, False, False, True), 2, ["w0", "w1"], id="and no more, though more are idle"),
    ],
)
def test_a_worker_leaves_when_its_replica_has_left_it(ready, replicas, leaving):
    changes = told(patch(4, 2, *ready))
    if replicas is None:
        assert changes == {}
    else:
        assert changes["replicas"] == replicas
        assert changes["scaleStrategy"] == {"workersToDelete": leaving}


@pytest.mark.parametrize(
    ("now", "since_s", "replicas"),
    [
        pytest.param(2, 11, 3, id="its time to end is over, so its node is lost: one more"),
        pytest.param(2, -30, None, id="it may still be ending"),
        pytest.param(2, 5, None, id="its node may be about to say so"),
        pytest.param(3, 11, None, id="the one more is asked for once"),
    ],
)
def test_a_worker_on_a_lost_node_is_made_up_for_because_kuberay_counts_it(now, since_s, replicas):
    cluster = ray_cluster("soc", "c1", [worker_group(now, 0, 9)])
    cluster["metadata"]["resourceVersion"] = "7"
    pods = workers(False, True)
    pods[0]["metadata"]["deletionTimestamp"] = (NOW - timedelta(seconds=since_s)).strftime("%Y-%m-%dT%H:%M:%SZ")
    changes = told(resized(cluster, room(worker_group(2, 0, 9)), {"replicas": 2}, pods, NOW))
    assert changes.get("replicas") == replicas


def test_once_the_lost_node_is_gone_the_worker_that_is_too_many_leaves():
    assert told(patch(3, 2, True, True, False))["scaleStrategy"] == {"workersToDelete": ["w2"]}
