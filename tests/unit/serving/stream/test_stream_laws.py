"""Laws of the worker: whatever happens to workers and broker, in any order, each event has its verdict and is counted once."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.serving.stream.stream_world import StreamWorld, Worker, events

ACTIONS = st.sampled_from(
    ["produce", "produce", "step", "step", "step", "kill", "stop", "expel", "join", "down", "up", "poison"]
)


def timed(n: int, first: int) -> Iterator[dict[str, Any]]:
    """Events far out of order."""
    for event in events(n, first=first, hosts=4):
        yield {**event, "at": int(str(event["event_id"])[1:]) * 37 % 60 * 1_000_000}


def play(world: StreamWorld, actions: list[str]) -> tuple[int, int]:
    """Do what the list says, then let one worker finish; how many events and poison records there were."""
    produced = poison = 0
    workers: list[Worker] = []
    for action in ["produce", "produce", "join", "step", *actions]:
        match action:
            case "produce":
                world.produce(*timed(7, produced))
                produced += 7
            case "poison":
                world.produce(b"\xff")
                poison += 1
            case "join" if len(workers) < 3:
                workers.append(world.worker())
            case "step":
                for worker in workers:
                    worker.step()
            case "kill" if workers:
                workers.pop(0).kill()
            case "stop" if workers:
                workers.pop().stop()
            case "expel" if workers and workers[0].is_open and workers[0].source is not None:
                workers[0].source.expel()
            case "down" | "up":
                world.broker.is_down = action == "down"
    world.broker.is_down = False
    for worker in workers:
        worker.kill()
    world.settings = world.settings.model_copy(update={"idle_s": 1e-9})  # what is held comes out
    last = world.worker()
    last.steps(8)
    last.stop()
    return produced, poison


QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@pytest.mark.heavy
@pytest.mark.law
@settings(suppress_health_check=QUIET, deadline=None)
@given(st.lists(ACTIONS, max_size=25), st.sampled_from([1e-6, 1e6]))
@pytest.mark.parametrize("disorder_s", [0.0, 20.0], ids=["as they come", "held until the watermark"])
def test_exactly_once_whatever_happens(make, bundles, disorder_s, actions, snapshot_s):
    world = make("timed", snapshot_s=snapshot_s, disorder_s=disorder_s, lateness_s=1e6)
    produced, poison = play(world, actions)
    assert sorted(str(v.event_id) for v in world.verdicts()) == sorted(f"e{i}" for i in range(produced))
    assert len(world.broker.read(world.settings.dead_letters)) == poison
    assert world.counts() == Counter(f"host-{i % 4}" for i in range(produced))


@pytest.mark.heavy
@pytest.mark.law
@settings(suppress_health_check=QUIET, deadline=None)
@given(st.lists(ACTIONS, max_size=25))
@pytest.mark.parametrize("disorder_s", [0.0, 20.0], ids=["as they come", "held until the watermark"])
def test_at_least_once_in_low_latency_and_repeats_have_the_same_id(make, disorder_s, actions):
    world = make("timed", mode="low_latency", disorder_s=disorder_s, lateness_s=1e6)
    produced, _ = play(world, actions)
    named = {(str(v.event_id), v.id) for v in world.verdicts()}
    assert sorted(name for name, _ in named) == sorted(f"e{i}" for i in range(produced))
    assert world.counts() == Counter(f"host-{i % 4}" for i in range(produced)), "an event was counted twice, or not at all"
