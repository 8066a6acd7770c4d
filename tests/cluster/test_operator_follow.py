"""What makes the operator list anew, and what does not: the watch is a stand-in that ends when the test says so."""

import asyncio
import random
from contextlib import asynccontextmanager

from operators.backends import kube as kube_module
from operators.backends.kube import MODEL_SERVICES, Kube
from operators.backends.kube_access import access
from operators.handlers.watching.follow import Follower
from operators.handlers.watching.watch import WatchEnded
from operators.handlers.watching.work_queue import Backoff
from tests.waiting import until_so as until


class Watching:
    """A watch that goes on until `ends` is set."""

    def __init__(self, all_of_them: list["Watching"]) -> None:
        self.ends, self.is_stopped = asyncio.Event(), False
        all_of_them.append(self)

    def start(self) -> None:
        """Nothing to begin."""

    async def ended_within(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self.ends.wait()
        except TimeoutError:
            return
        raise WatchEnded("the watch ended: the API server hung up")

    async def stop(self) -> None:
        self.is_stopped = True


@asynccontextmanager
async def following(world):
    """The follower, the watches it made, and what it was told: (plural, names) of each listing."""
    watches, told = [], []

    async def listed(kind, _, documents):
        told.append((kind.plural, sorted(d["metadata"]["name"] for d in documents)))

    async with Kube(access(world.api.kubeconfig()), manager="test") as kube:
        backoff = Backoff(0.01, 0.01, 0.0, random.Random(1))
        follower = Follower(kube, ("soc",), listed, lambda: Watching(watches), check_s=0.02, backoff=backoff)
        task = asyncio.create_task(follower.run())
        try:
            yield follower, watches, told
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    assert all(w.is_stopped for w in watches)


def checks(world) -> int:
    return sum(c.verb == "list" and c.plural == "rolloutpolicies" for c in world.api.log)


async def test_a_watch_that_ends_is_followed_by_a_listing_which_shows_what_has_gone(fake_world):
    world = fake_world
    world.namespace("soc")
    for name in ("a", "b"):
        world.service("soc", name)
    async with following(world) as (follower, watches, told):
        await until(lambda: follower.problem is None)
        assert (MODEL_SERVICES.plural, ["a", "b"]) in told
        world.http.delete("/apis/vedette.dev/v1alpha1/namespaces/soc/modelservices/a").raise_for_status()
        del told[:]
        watches[-1].ends.set()
        await until(lambda: len(watches) == 2 and follower.problem is None)
        assert (MODEL_SERVICES.plural, ["b"]) in told


async def test_an_api_server_that_is_ill_for_a_moment_is_no_reason_to_begin_anew(fake_world):
    world = fake_world
    world.namespace("soc")
    async with following(world) as (follower, watches, _):
        await until(lambda: follower.problem is None)
        world.api.faults.order(verb="list", plural="rolloutpolicies", status=500, times=3)
        seen = checks(world)
        await until(lambda: checks(world) >= seen + 5)
        assert len(watches) == 1
        assert follower.problem is None


async def test_a_right_that_is_taken_away_is_said_until_it_is_back(fake_world):
    world = fake_world
    world.namespace("soc")
    async with following(world) as (follower, watches, _):
        await until(lambda: follower.problem is None)
        world.api.faults.order(verb="list", plural="modelservices", status=403, times=3)
        await until(lambda: "403" in (follower.problem or ""))
        await until(lambda: follower.problem is None)
        assert len(watches) == 2


async def test_a_listing_is_read_in_pages_and_a_watch_may_begin_at_its_version(world, namespace, monkeypatch):
    world.namespace(namespace)
    names = [f"m{i}" for i in range(5)]
    for name in names:
        world.service(namespace, name)
    monkeypatch.setattr(kube_module, "_PAGE", 2)
    async with Kube(access(world.api.kubeconfig()), manager="test") as kube:
        documents, version = await kube.list_all(MODEL_SERVICES, namespace)
        await kube.may_watch(MODEL_SERVICES, namespace, version)
    assert sorted(d["metadata"]["name"] for d in documents) == names
    assert {(d["apiVersion"], d["kind"]) for d in documents} == {(MODEL_SERVICES.api_version, MODEL_SERVICES.kind)}
