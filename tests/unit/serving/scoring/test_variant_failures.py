"""A variant that fails, hangs or is slow: stable answers, and the evidence says whose fault it was."""

import asyncio
import threading

import pytest
from msgspec.structs import replace

from serving.errors import BadRequest, Internal
from serving.resilience.bulkhead import Bulkheads
from tests.unit.serving.scoring.variants import host, request, spec, variant
from tests.waiting import HANG_S, pass_time, until_so

pytestmark = pytest.mark.heavy


def verdicts(answer):
    return [v.decode() for o in answer.outputs if o.name == "verdict" for v in o.data.tolist()]


async def test_a_variant_that_fails_is_answered_for_by_stable_and_blamed(world, bundles):
    await world.service.apply(spec(bundles["stable"], variant(bundles["failing"], weight=100)))
    fine = await world.service.infer(request("a", level=0.5))
    rescued = await world.service.infer(request("b", level=3.0))
    assert fine.parameters["variant"] == "candidate"
    assert (rescued.parameters["variant"], rescued.parameters["fallback_from"]) == ("stable", "candidate")
    assert verdicts(rescued) == ["alert"]
    assert world.evidence("candidate") == {
        "requests": 2, "rows": 1, "errors": 1, "latency": 0, "degraded": 0, "alertRate": 0,
    }  # fmt: skip
    assert world.evidence("stable")["requests"] == 0, "the split did not send it there"
    assert world.entities("candidate")["errors"] == 1
    assert world.audit.records[-1].fallback_from == "candidate"
    assert world.series()["vedette_fallbacks_total"][("threat", "candidate", "4")] == 1


async def test_a_variant_that_hangs_leaves_stable_the_time_to_answer_and_counts_as_slow(world, bundles):
    await world.service.apply(spec(bundles["stable"], variant(bundles["candidate"], weight=100)))
    begun, released = threading.Event(), threading.Event()

    class Hanging:
        def run(self, tensors, outputs=None, stop=None):
            begun.set()
            released.wait(HANG_S)

    world.serve("candidate", model=Hanging(), run_us=1e6)
    bulkheads = world.scorer._protection.bulkheads = Bulkheads(threads=1, queue=1)
    asking = asyncio.create_task(world.service.infer(replace(request("a"), deadline_s=2 * HANG_S)))
    await until_so(begun.is_set)
    pass_time(HANG_S)  # more than its share
    answer = await asking
    released.set()
    bulkheads.close()
    assert (answer.parameters["variant"], answer.parameters["fallback_from"]) == ("stable", "candidate")
    found = world.evidence("candidate")
    assert (found["requests"], found["latency"], found["errors"]) == (1, 1, 0)


async def test_what_neither_can_take_is_the_clients_mistake(world, bundles):
    await world.service.apply(spec(bundles["failing"], variant(bundles["failing"], weight=100)))
    with pytest.raises(BadRequest, match="refused this input"):
        await world.service.infer(request("b", level=3.0))
    assert world.evidence("candidate")["requests"] == world.evidence("stable")["requests"] == 0


async def test_a_failure_of_both_is_blamed_on_the_one_that_was_chosen(world, bundles):
    await world.service.apply(spec(bundles["stable"], variant(bundles["candidate"], weight=50)))

    class Broken:
        def run(self, tensors, outputs=None, stop=None):
            raise RuntimeError("out of memory")

    for name in ("stable", "candidate"):
        world.serve(name, model=Broken())
    for i in range(20):
        with pytest.raises(Internal):
            await world.service.infer(request(host(i)))
    stable, candidate = world.evidence("stable"), world.evidence("candidate")
    assert stable["errors"] + candidate["errors"] == 20
    assert stable["errors"] == stable["requests"] > 0
    assert candidate["errors"] == candidate["requests"] > 0


async def test_slow_is_over_the_objective_and_counts_the_first_of_an_entity(world, bundles):
    await world.service.apply(spec(bundles["stable"], variant(bundles["candidate"], weight=100), latency_objective_ms=50.0))
    served = world.variants.others[0].revision

    class Slow:
        seconds, model = 0.06, served.model

        def run(self, tensors, outputs=None, stop=None):
            assert world.metrics.ongoing == world.series()["vedette_ongoing_requests"][()] == 1
            world.clock.advance(self.seconds)
            return self.model.run(tensors, outputs)

    slow = Slow()
    world.serve("candidate", model=slow)
    await world.service.infer(request("a"))
    slow.seconds = 0.04
    await world.service.infer(request("a"))
    await world.service.infer(request("b"))
    assert world.evidence("candidate")["latency"] == 1
    assert world.entities("candidate") == {"entities": 2, "errors": 0, "latency": 1, "degraded": 0, "alertRate": 0}
