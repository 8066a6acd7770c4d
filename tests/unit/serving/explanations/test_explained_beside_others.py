"""Explanations beside the rest of a replica: the cache, the log, swaps, clients that go away, files that are gone."""

import asyncio
import json
import shutil
import threading

import pytest
from msgspec.structs import replace

from serving.audit.durability.modes import AuditMode
from serving.audit.record import NotRecorded
from serving.cache.memory_cache import MemoryCache
from serving.cache.predictions import Predictions
from serving.errors import Unavailable
from serving.explanations.explainer import Explainer
from serving.scoring.explained import ExplanationThread
from serving.scoring.protection import unprotected
from serving.telemetry.counts import GONE
from tests.unit.serving.scoring.variants import World, host, request, spec, threat, variant
from tests.waiting import until_so


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("beside")
    return [threat(folder / version, version, gain) for version, gain in (("1", 1.0), ("2", -1.0))]


@pytest.fixture
async def served(tmp_path, bundles):
    world = World(tmp_path)
    for bundle in bundles:
        world.store.add(bundle)
    await world.service.apply(spec(bundles[0]))
    return world


def asking(index):
    """A request that waits as long as a busy machine takes."""
    return replace(request(host(index), explain="shap"), deadline_s=30.0)


def bodies(answer):
    return [json.loads(line) for line in answer.outputs[-1].data]


class _Building:
    """Lets an explainer's making wait until it is let go, and counts."""

    def __init__(self, make) -> None:
        self.make, self.threads, self.opened = make, [], threading.Event()

    def __call__(self, *given, **named):
        self.threads.append(threading.current_thread())
        self.opened.wait(20)
        return self.make(*given, **named)


@pytest.fixture
def building(monkeypatch):
    found = _Building(Explainer.of)
    monkeypatch.setattr(Explainer, "of", found)
    yield found
    found.opened.set()


async def test_an_explainer_is_made_once_beside_the_loop_however_many_ask(served, building):
    waiting = [asyncio.ensure_future(served.service.infer(asking(n))) for n in range(5)]
    await until_so(lambda: building.threads)
    assert (await served.service.infer(request(host(9)))).parameters["source"] == "model"
    building.opened.set()
    assert [bodies(answer)[0]["verdict"] for answer in await asyncio.gather(*waiting)] == ["alert"] * 5
    assert len(building.threads) == 1
    assert building.threads[0] is not threading.main_thread()


async def test_an_answer_is_explained_by_the_revision_that_gave_it_whatever_is_swapped_meanwhile(served, building, bundles):
    waiting = asyncio.ensure_future(served.service.infer(asking(1)))
    await until_so(lambda: building.threads)
    await served.service.apply(spec(bundles[1]))
    building.opened.set()
    first, then = await waiting, await served.service.infer(asking(1))
    assert [(a.version, bodies(a)[0]["verdict"], bodies(a)[0]["attributions"]["level"] > 0) for a in (first, then)] == [
        ("1", "alert", True),
        ("2", "benign", False),
    ]


async def test_a_client_that_goes_away_leaves_no_task_no_record_and_a_free_thread(served, building):
    thread = served.scorer._explanations = ExplanationThread(queue=1)
    asked = [asyncio.ensure_future(served.service.infer(asking(n))) for n in range(2)]
    await until_so(lambda: thread._bulkhead.under_way == 2 and bool(building.threads))
    for one in asked:
        one.cancel()
    await asyncio.wait(asked)
    assert all(one.cancelled() for one in asked)
    building.opened.set()
    await until_so(lambda: thread._bulkhead.under_way == 0)
    assert bodies(await served.service.infer(asking(3)))[0]["verdict"] == "alert"
    assert len(served.audit.records) == 1
    found = {metric.name: values for metric, values in thread.metrics()}["vedette_explanations_total"]
    assert found == {("threat", "shap", "abandoned"): 2.0, ("threat", "shap", "ok"): 1.0}
    thread.close()


async def test_counts_of_models_long_gone_are_forgotten(served):
    thread = served.scorer._explanations
    await served.service.infer(asking(1))
    for number in range(3 * GONE):
        thread._counts[f"m{number:03}", "shap", "ok"] += 1
        thread._seconds[f"m{number:03}", "shap"] = 0.1
        thread.keep({"threat", f"m{number:03}"})
    last = {f"m{number:03}" for number in range(2 * GONE - 1, 3 * GONE)}
    for series in ("vedette_explanations_total", "vedette_explanation_seconds_total"):
        values = {metric.name: values for metric, values in thread.metrics()}[series]
        assert {model for model, *_ in values} == {"threat", *last}, "the one that is loaded, and the last that were"
    served.scorer.keep([])
    for number in range(GONE):
        thread.keep({f"n{number}"})
        served.scorer.keep([])
    assert not thread._counts, "what is loaded is told by the scorer, at each swap"


async def test_a_bundle_whose_files_are_gone_answers_and_says_why_it_explains_nothing(served):
    shutil.rmtree(served.store.root / "bundles")
    with pytest.raises(Unavailable, match=r"have changed since it was loaded: model\.onnx.*for the verdict alone") as raised:
        await served.service.infer(asking(1))
    assert str(served.store.root) not in raised.value.message
    assert (await served.service.infer(request(host(1)))).parameters["source"] == "model"


class _Refusing:
    """A log whose disk is full."""

    def __init__(self) -> None:
        self.asked = []

    async def commit(self, records):
        self.asked += records
        raise NotRecorded("the disk is full", retry_after_s=1.0)


async def test_a_strict_log_has_the_explained_record_before_the_answer_leaves(served):
    served.scorer._audit_mode, audit = AuditMode.STRICT, _Refusing()
    served.scorer._audit = audit
    with pytest.raises(NotRecorded):
        await served.service.infer(asking(1))
    assert [record.explained for record in audit.asked] == ["shap"]


async def test_an_answer_from_the_cache_is_explained_anew_and_no_explanation_is_cached(tmp_path, bundles):
    protection = unprotected()
    world, guard = World(tmp_path, protection=protection), protection.cache(1.0)
    protection.predictions = Predictions(MemoryCache(1 << 20, 60.0), guard, world.clock, min_run_s=0.0, lookup_timeout_s=1.0)
    world.store.add(bundles[0])
    await world.service.apply(spec(bundles[0]))
    first, again = [await world.service.infer(asking(1)) for _ in range(2)]
    plain = await world.service.infer(request(host(1)))
    assert [a.parameters["source"] for a in (first, again, plain)] == ["model", "cache", "cache"]
    assert bodies(first) == bodies(again)
    assert "explanation" not in [output.name for output in plain.outputs]
    assert [(r.source, r.explained) for r in world.audit.records] == [("model", "shap"), ("cache", "shap"), ("cache", None)]


async def test_the_mirror_takes_rows_that_were_explained_and_explains_nothing(served, bundles):
    await served.service.apply(spec(bundles[0], variant(bundles[1], mirror=100)))
    (body,) = bodies(await served.service.infer(asking(1)))
    await served.mirror.drained()
    assert (body["verdict"], served.evidence("candidate", "mirror")["rows"]) == ("alert", 1)
    assert [(r.variant, r.explained) for r in served.audit.records] == [("stable", "shap")]
