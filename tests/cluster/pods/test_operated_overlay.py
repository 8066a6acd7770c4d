"""manifests/overlays/operated on a cluster whose pods run: KubeRay makes Ray's pods, our operator rolls out, clients use the Service.

Ray takes minutes to start where a machine is busy, so these are soak tests: `make soak`. The longest is `make demo ARGS=--cluster`."""

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from operators.cli.demo.scenes import DARK_FIRST
from operators.cli.demo.traffic import DemoTraffic, TrafficCounts, TrafficEvent
from tests.cluster.pods.stage import RAY, Stage, is_ready
from tests.waiting import until_so

if TYPE_CHECKING:
    from operators.cli.demo.world import World

pytestmark = pytest.mark.soak
Json = dict[str, Any]
Detectors = tuple[Path, "World"]


def under_load(stage: Stage, world: "World", act: Callable[[], None]) -> TrafficCounts:
    """Clients ask over both doors while something is done; what they saw."""

    async def run() -> TrafficCounts:
        events = itertools.cycle([TrafficEvent(event) for event in world.events])
        address = stage.address
        async with DemoTraffic(f"http://{address}:8080", f"{address}:8081", "flows", events, 60).running() as traffic:
            await asyncio.to_thread(act)
            before = traffic.total.answered + traffic.total.failed
            await until_so(lambda: traffic.total.answered + traffic.total.failed >= before + 100, "clients ask on")
            return traffic.total

    return asyncio.run(run())


def ready(stage: Stage, count: int, without: str = "") -> bool:
    found = [p["metadata"]["name"] for p in stage.workers if is_ready(p)]
    return len(found) == count == len(stage.workers) and without not in found


def test_a_canary_is_promoted_and_each_field_has_one_owner(stage: Stage, detectors: Detectors):
    _, world = detectors

    def canary() -> None:
        asked = stage.want(world.good.digest, world.good.manifest.version, DARK_FIRST)
        ended = stage.until(lambda: stage.ended(world.good.digest, asked), "the rollout is over", 600)
        assert ended["outcome"] == "promoted", ended["reason"]

    counts = under_load(stage, world, canary)
    assert counts.answered
    assert counts.failed == 0, counts.failures
    assert stage.owners("serveConfigV2") == {"vedette-operator"}
    assert stage.owners("rayClusterConfig") == {"kubectl"}


def test_more_replicas_bring_a_worker_and_fewer_take_it_away_without_a_failed_request(stage: Stage, detectors: Detectors):
    def scale() -> None:
        stage.patch({"spec": {"replicas": 3}})
        stage.until(lambda: ready(stage, 3), "three workers are ready", 600)
        stage.patch({"spec": {"replicas": 2}})
        stage.until(lambda: ready(stage, 2), "two workers are left", 600)

    counts = under_load(stage, detectors[1], scale)
    assert counts.answered
    assert counts.failed == 0, counts.failures


def test_a_drained_worker_is_replaced_without_a_failed_request(stage: Stage, detectors: Detectors):
    name = stage.workers[0]["metadata"]["name"]

    def drain() -> None:
        stage.kubectl("delete", "pod", name, "-n", "soc", "--wait=false")
        stage.until(lambda: ready(stage, 2, without=name), "another worker is ready", 600)

    counts = under_load(stage, detectors[1], drain)
    assert counts.answered
    assert counts.failed == 0, counts.failures


def test_a_new_ray_cluster_takes_over_without_a_failed_request(stage: Stage, detectors: Detectors):
    """An edit of the pods: KubeRay starts a second cluster beside the first, and ends the first when the second serves."""
    before = {p["metadata"]["name"] for p in stage.workers}
    at = f"{RAY}/rayservices/vedette"
    env = "/spec/rayClusterConfig/workerGroupSpecs/0/template/spec/containers/0/env/-"
    patch = [{"op": "add", "path": env, "value": {"name": "EDITED", "value": "1"}}]

    def upgrade() -> None:
        stage.http.patch(at, json=patch, headers={"Content-Type": "application/json-patch+json"}).raise_for_status()
        stage.until(
            lambda: ready(stage, 2) and not before & {p["metadata"]["name"] for p in stage.workers}, "all pods are new", 900
        )

    counts = under_load(stage, detectors[1], upgrade)
    assert counts.answered
    assert counts.failed == 0, counts.failures
