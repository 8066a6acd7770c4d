"""A node loses its power while clients ask and a rollout is under way, on manifests/overlays/operated. A soak test, as its siblings are."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from operators.cli.demo.scenes import DARK_FIRST
from tests.cluster.pods.clients import Asked, Clients, wrong
from tests.cluster.pods.stage import SPACE, Stage, is_ready

if TYPE_CHECKING:
    from operators.cli.demo.world import World

pytestmark = pytest.mark.soak
PICKING_PER_S, SERVICE_PER_S, EVENTS = 30.0, 15.0, 100


class Watch:
    """What the nodes know of the Service's endpoints, and when things happened after the cut, in seconds of `time.monotonic`."""

    def __init__(self, stage: Stage, lost: str) -> None:
        self._stage, self._lost = stage, lost
        self.endpoints = stage.cluster.behind(SPACE, "vedette")
        self.cut_s = self.gone_s = float("inf")

    @contextlib.asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._follow())
        try:
            yield
        finally:
            task.cancel()

    async def _follow(self) -> None:
        while True:
            self.endpoints = await asyncio.to_thread(self._stage.cluster.behind, SPACE, "vedette")
            if self.gone_s == float("inf") and self._lost not in self.endpoints:
                self.gone_s = time.monotonic()
            await asyncio.sleep(0.1)

    def may_fail(self, one: Asked) -> bool:
        """It was under way when the power went, or was sent before the nodes knew."""
        return one.ended_s >= self.cut_s and one.began_s <= self.gone_s


def test_a_lost_node_costs_a_client_that_tries_another_endpoint_once_no_request(stage: Stage, detectors: "tuple[Path, World]"):
    """Clients that know only the Service lose what they sent to the lost node until it leaves the Service, and nothing afterwards."""
    _, world = detectors
    head = stage.pods(labels="app.kubernetes.io/component=head")[0]["spec"]["nodeName"]
    lost = next(p for p in stage.workers if p["spec"]["nodeName"] != head)
    name, node, address = lost["metadata"]["name"], lost["spec"]["nodeName"], lost["status"]["podIP"]
    watch, service = Watch(stage, address), stage.address
    rows = world.events[:EVENTS]
    picking = Clients(rows, PICKING_PER_S, lambda: watch.endpoints, tries=2, keeps=True)
    through_service = Clients(rows, SERVICE_PER_S, lambda: [service], tries=1, keeps=False)
    times: dict[str, float] = {}

    def timed(what: str, holds: Callable[[], Any], seconds: float) -> Any:
        found = stage.until(holds, what, seconds)
        times[what] = time.monotonic() - watch.cut_s
        return found

    def play() -> None:
        """replicas: the operator keeps as many workers as they need, also when KubeRay counts one that is lost."""
        is_good = stage.is_healthy(world.good.manifest.version)
        wanted = world.stable if is_good else world.good
        asked = stage.want(wanted.digest, wanted.manifest.version, DARK_FIRST, replicas=2)
        stage.until(lambda: stage.status.get("phase") == "Progressing", "the rollout is under way")
        watch.cut_s = time.monotonic()
        stage.cluster.lose(node)
        timed("the endpoint is gone", lambda: watch.gone_s < float("inf"), 120)
        timed("its pod is told to end", lambda: name not in [p["metadata"]["name"] for p in stage.workers], 120)
        timed("two workers are ready", lambda: len([p for p in stage.workers if is_ready(p)]) == 2, 600)
        ended = timed("the rollout is over", lambda: stage.ended(wanted.digest, asked), 900)
        assert ended["outcome"] == "promoted", ended["reason"]
        stage.until(lambda: stage.is_healthy(wanted.manifest.version), "the new version is served by all")

    async def run() -> None:
        async with watch.following(), picking.running(), through_service.running():
            await asyncio.to_thread(play)

    try:
        asyncio.run(run())
    finally:
        for what, after_s in times.items():
            print(f"{after_s:6.1f} s after the cut: {what}")
        for kind, clients in (
            ("know the endpoints, try another once", picking),
            ("know the Service, try once", through_service),
        ):
            print(f"clients that {kind}: {summary(clients.asked, watch)}")
    everything = [*picking.asked, *through_service.asked]
    assert not [one for one in picking.asked if one.told is None]
    assert not [one for one in everything if one.errors and not watch.may_fail(one)]
    assert [one for one in everything if one.errors], "the node was lost while clients asked it"
    assert not wrong(everything)
    assert node not in {p["spec"]["nodeName"] for p in stage.workers}


def summary(asked: list[Asked], watch: Watch) -> str:
    """Counts, for people."""
    within = [one for one in asked if watch.may_fail(one)]
    failed = [one for one in asked if one.told is None]
    again = [one for one in asked if one.errors and one.told]
    degraded = [one for one in asked if one.told and one.told.is_degraded]
    longest_s = max((one.ended_s - one.began_s for one in again), default=0.0)
    late = [one for one in asked if one.errors and not watch.may_fail(one)]
    kinds = sorted({error.partition(": ")[2][:60] for one in asked for error in one.errors})
    return (
        f"{len(asked)} requests; {len(within)} between the cut and the endpoint's end; {len(failed)} failed, {len(again)} were answered "
        f"at the second try (the longest after {longest_s:.1f} s), {len(late)} of both at another time; {len(degraded)} degraded; {kinds}"
    )
