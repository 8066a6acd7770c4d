"""Replicas under constant load while things break around it: no wrong answer, no undeclared error, and it comes back.

Short versions of `make bench ARGS=faults`: what the answers are is judged here, how fast they come is the benchmark's."""

import asyncio
import math
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import uvloop

from loadtests.bench.benchmarks.faults import FAULTS, OF_TWO, FaultFindings, Times, inject, replica
from loadtests.bench.load.checked_load import AnswerKind, CheckedLoad, kinds
from loadtests.bench.worlds import faults as fault_injection
from loadtests.bench.worlds.feature_world import FeatureWorld, build_feature_world
from loadtests.bench.worlds.own_redis import OwnRedis
from tests.waiting import until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.xdist_group("replicas under faults"),
    pytest.mark.skipif(
        shutil.which("redis-server") is None, reason="redis-server is not installed; `make services` installs it"
    ),
]

SHORT = Times(before_s=0.5, fault_s=1.5)
CLIENTS = 8


@pytest.fixture(scope="module")
def redis() -> Iterator[OwnRedis]:
    with OwnRedis() as redis:
        yield redis


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, redis: OwnRedis) -> FeatureWorld:
    world = build_feature_world(tmp_path_factory.mktemp("faults") / "store", redis.url, hosts=50)
    redis.save()
    return world


@pytest.fixture(scope="module")
def served(own_folder: Path, world: FeatureWorld, redis: OwnRedis) -> Iterator[fault_injection.Scene]:
    """Two replicas and their spare processes: one server is enough for all faults."""
    with replica(world, redis, replicas=2, spare_process="true") as scene:
        yield scene


@pytest.fixture
def scene(served: fault_injection.Scene) -> fault_injection.Scene:
    """Both replicas listen, whatever the test before killed."""
    until(lambda: len(fault_injection.listening(served)) == 2, "not both replicas listen", every_s=0.2)
    return served


def suffered(name: str, scene: fault_injection.Scene) -> FaultFindings:
    found = uvloop.run(inject({**FAULTS, **OF_TWO}[name], scene, SHORT, clients=CLIENTS))
    print(f"\n{name}: {dict(found.counts)}, back after {found.recovery_s:.2f} s")
    assert not found.bad, found.wrong
    assert math.isfinite(found.recovery_s), "it did not come back"
    assert found.counts[AnswerKind.FRESH], "it answered as before once the fault was over"
    return found


@pytest.mark.parametrize("name", ["redis-killed", "redis-slow"])
def test_without_features_answers_say_that_they_are_degraded(name, scene):
    found = suffered(name, scene).counts
    assert found[AnswerKind.DEGRADED] + found[AnswerKind.RULES]


@pytest.mark.parametrize("name", ["redis-full", "bundle-deleted"])
def test_what_a_request_does_not_need_may_break_unseen(name, scene):
    found = suffered(name, scene).counts
    assert found[AnswerKind.FRESH] > 0.9 * found.total()


@pytest.mark.parametrize("name", ["cpu-stolen", "clients-gone"])
def test_others_may_take_the_machine_or_leave_in_the_middle(name, scene):
    assert not suffered(name, scene).counts[AnswerKind.LOST], "only who hangs up loses a connection"


def test_killed_replicas_are_started_again_and_give_no_wrong_answer_meanwhile(scene):
    spares = fault_injection.wait_for_spares(scene, 60)
    before = set(fault_injection.replicas(scene.mark))
    found = suffered("replica-killed", scene)
    assert found.counts[AnswerKind.LOST], "nobody answers until one is back"
    until(lambda: len(fault_injection.listening(scene)) == 2, "not both replicas are back", every_s=0.2)
    after = set(fault_injection.replicas(scene.mark))
    assert not before & after
    assert after == spares, "the processes that waited have become replicas"


def test_of_two_replicas_the_other_answers(scene):
    found = suffered("one-of-two-killed", scene)
    assert found.counts[AnswerKind.LOST] <= 10 * CLIENTS, "a client loses its connection and finds the other replica"


def test_a_wrong_answer_would_be_seen(scene, world):
    """The check itself: with the answers of another model in hand, nothing is right."""

    async def ask() -> Counter[AnswerKind]:
        wrong = replace(world, scores=world.scores + 1)
        async with CheckedLoad(scene.port, wrong, clients=2, deadline_s=1.0) as load:
            await asyncio.sleep(0.3)
        return kinds(load.journal.events)

    assert set(uvloop.run(ask())) == {AnswerKind.WRONG}
