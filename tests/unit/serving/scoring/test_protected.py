"""What a request meets when its model is slow, broken or left alone, its time too short, or its prediction kept."""

from dataclasses import dataclass

import msgspec
import pytest

from serving.cache.memory_cache import MemoryCache
from serving.cache.predictions import Predictions
from serving.errors import BadRequest, DeadlineExceeded, Internal, ModelFault, Overloaded, Unavailable
from serving.loading import loader
from serving.models.probe import ProbeReport
from serving.resilience.breaker import Breakers
from serving.resilience.bulkhead import Bulkheads
from serving.scoring.protection import Protection
from serving.spec import ModelSpec, RevisionSpec, ServingSpec, VariantSpec
from serving.telemetry.counts import GONE
from tests.unit.serving.scoring.variants import World, host, request, threat

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("protected")
    return {
        "stable": threat(folder / "stable", "1"),
        "candidate": threat(folder / "candidate", "2", 1.5),
    }


@pytest.fixture
async def world(tmp_path, bundles, monkeypatch):
    found = ProbeReport("", 1, 10.0, 0.0)
    monkeypatch.setattr(loader, "probe", lambda *_, **__: found)  # seconds a bundle, and tested elsewhere
    protection = Protection(Breakers(), None, 1.0, 0.05)
    made = World(tmp_path, protection=protection)
    made.protection = protection
    for bundle in bundles.values():
        made.store.add(bundle)
    stable, candidate = (RevisionSpec(bundle=bundles[name].digest) for name in ("stable", "candidate"))
    variant = VariantSpec(name="candidate", version="2", revision=candidate, weight=50)
    await made.service.apply(ServingSpec(models=(ModelSpec(name="threat", version="1", revision=stable, variants=(variant,)),)))
    return made


@dataclass
class Model:
    """A model that takes its time, fails, or drops its last rows; counts."""

    inner: object
    clock: object
    takes_s: float = 0.0
    problem: Exception | None = None
    drops: int = 0
    runs: int = 0

    def run(self, tensors, outputs=None, stop=None):
        self.runs += 1
        self.clock.advance(self.takes_s)
        if self.problem is not None:
            raise self.problem
        found = self.inner.run(tensors, outputs)
        return {name: values[: len(values) - self.drops] for name, values in found.items()}


def play(world, which, **how):
    served = world.variants.stable.revision if which == "stable" else world.variants.others[0].revision
    model = Model(served.model, world.clock, **how)
    world.serve(which, model=model)
    return model


async def ask(world, count, **given):
    answers = []
    for i in range(count):
        try:
            answers.append(await world.service.infer(request(host(i), **given)))
        except (Unavailable, DeadlineExceeded, Internal) as problem:
            answers.append(problem)
    return answers


def state(world, variant):
    version = "1" if variant == "stable" else "2"
    return world.protection.breakers.states()[f"model:threat/{version}/{variant}"].name


async def test_a_broken_candidate_is_left_alone_stable_answers_and_the_evidence_still_counts(world):
    model = play(world, "candidate", problem=RuntimeError("out of memory"))
    answers = await ask(world, 100)
    assert all(a.parameters["variant"] == "stable" for a in answers), "no client meets it"
    assert (state(world, "candidate"), state(world, "stable")) == ("OPEN", "CLOSED")
    assert model.runs == 10
    found = world.evidence("candidate")
    assert found["errors"] == found["requests"] > 30, "also of the requests it was not even asked"


async def test_a_slow_candidate_is_left_alone_and_counts_as_slow_not_wrong(world):
    play(world, "candidate", takes_s=0.3)
    await ask(world, 100)
    assert state(world, "candidate") == "OPEN"
    found = world.evidence("candidate")
    assert (found["latency"], found["errors"]) == (found["requests"], 0)


async def test_a_broken_stable_is_refused_at_once_and_says_when_to_come_again_and_recovers(world):
    model = play(world, "stable", problem=RuntimeError("out of memory"))
    refused = [a for a in await ask(world, 200, variant="stable") if isinstance(a, Unavailable)]
    assert len(refused) == 190
    assert 0 < refused[0].retry_after_s <= 1.2
    assert "gets no calls for now: 10 of the last 10 calls failed" in refused[0].message
    assert world.protection.refused_by_breaker == 190
    model.problem = None
    world.clock.advance(1.3)
    answers = await ask(world, 20, variant="stable")
    assert state(world, "stable") == "CLOSED"
    assert not any(isinstance(a, Exception) for a in answers)


def runs_on_the_loop(world):
    pass


def runs_in_a_thread(world):
    world.protection.bulkheads = Bulkheads(threads=1, queue=1)
    for name in ("stable", "candidate"):
        world.serve(name, run_us=1e6)


def is_kept(world):
    cached(world)


@pytest.mark.parametrize("arranged", [runs_on_the_loop, runs_in_a_thread, is_kept])
async def test_a_model_that_drops_rows_is_at_fault_and_not_the_request(world, arranged):
    arranged(world)
    play(world, "stable", drops=1)
    rows = [host(i) for i in range(3)]
    for _ in range(10):
        with pytest.raises(
            ModelFault, match=r"version 1 does not answer every row: output 'risk' has shape \[2, 1\] for 3 rows"
        ):
            await world.service.infer(request(*rows, variant="stable"))
    with pytest.raises(Unavailable, match="10 of the last 10 calls failed"):
        await world.service.infer(request(*rows, variant="stable"))
    assert state(world, "stable") == "OPEN"
    if world.protection.bulkheads is not None:
        world.protection.bulkheads.close()


async def test_a_candidate_that_drops_rows_is_blamed_and_stable_answers(world):
    play(world, "candidate", drops=1)
    answers = await ask(world, 100)
    assert all(a.parameters["variant"] == "stable" for a in answers)
    assert state(world, "candidate") == "OPEN"
    found = world.evidence("candidate")
    assert found["errors"] == found["requests"] > 30


async def test_a_run_of_many_rows_may_take_long(world):
    world.serve("stable", run_us=100_000.0)
    play(world, "stable", takes_s=0.6)
    await ask(world, 30, variant="stable")
    assert state(world, "stable") == "CLOSED"


async def test_wrong_input_opens_nothing(world):
    for _ in range(30):
        with pytest.raises(BadRequest):
            await world.service.infer(request("a", outputs=("nope",)))
    assert state(world, "stable") == "CLOSED" if "model:threat/1/stable" in world.protection.breakers.states() else True


async def test_what_cannot_be_answered_in_time_is_refused_before_any_work(world):
    model = play(world, "stable")
    world.serve("stable", run_us=50_000.0)
    with pytest.raises(DeadlineExceeded, match="so it was not run"):
        await world.service.infer(msgspec.structs.replace(request("a"), deadline_s=0.02))
    assert (model.runs, world.protection.refused_late) == (0, 1)


async def test_a_model_whose_threads_are_taken_is_overloaded_not_waited_for(world):
    bulkheads = world.protection.bulkheads = Bulkheads(threads=1, queue=1)
    world.serve("stable", run_us=1e6)
    taken = bulkheads.of("threat/1/stable")
    taken._under_way = 2
    with pytest.raises(Overloaded):
        await world.service.infer(request("a", variant="stable"))
    bulkheads.close()


def cached(world):
    guard = world.protection.cache(0.01)
    cache = MemoryCache(1_000_000, 60.0, now=world.clock.monotonic_s)
    world.protection.predictions = Predictions(cache, guard, world.clock, min_run_s=0.0, lookup_timeout_s=0.01)


async def test_a_kept_prediction_is_the_same_answer_and_says_where_it_came_from(world):
    cached(world)
    model = play(world, "stable")
    first, second = [await world.service.infer(request("a", variant="stable", tenant="acme")) for _ in range(2)]
    assert (first.parameters["source"], second.parameters["source"], model.runs) == ("model", "cache", 1)
    assert [o.data.tolist() for o in first.outputs] == [o.data.tolist() for o in second.outputs]
    assert [r.source for r in world.audit.records] == ["model", "cache"]
    assert world.series()["vedette_requests_total"]


async def test_one_tenants_prediction_is_never_anothers(world):
    cached(world)
    model = play(world, "stable")
    for tenant in ("acme", "other", None):
        asked = request("a", variant="stable")
        await world.service.infer(msgspec.structs.replace(asked, tenant=tenant) if tenant else asked)
    assert model.runs == 3
    by_parameter = await world.service.infer(request("a", variant="stable", tenant="acme"))
    assert by_parameter.parameters["source"] == "cache", "the parameter names the same tenant as the header"
    with pytest.raises(BadRequest, match="expected text"):
        await world.service.infer(request("a", variant="stable", tenant=7))


async def test_each_variant_has_predictions_of_its_own(world):
    cached(world)
    stable, candidate = play(world, "stable"), play(world, "candidate")
    for variant in ("stable", "candidate", "stable", "candidate"):
        await world.service.infer(request("a", variant=variant))
    assert (stable.runs, candidate.runs) == (1, 1)


async def test_counts_of_the_cache_are_kept_as_the_models_are(world):
    cached(world)
    play(world, "stable")
    await world.service.infer(request("a", variant="stable"))
    counts = world.protection.predictions
    world.protection.keep([("threat", "1", "stable", "r")])
    assert {model for model, _ in counts.requests} == {"threat"}
    for number in range(GONE + 1):
        world.protection.keep([(f"m{number}", "1", "stable", "r")])
    assert not counts.requests
