"""The mirror: nobody waits for it, it sees what stable saw, and what it counts is a fair comparison."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from serving.errors import Internal
from serving.ports import FeatureInfo, FeatureServiceInfo, FieldInfo
from serving.spec import RevisionSpec
from serving.telemetry.evidence import EDGES, score_bin
from tests.fakes.serving.features import FakeFeatureReader
from tests.unit.serving.scoring.variants import World, host, request, spec, tensors, threat, variant
from tests.waiting import HANG_S, pass_time, until_so

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    return {
        "stable": threat(folder / "1", "1", 1.0),
        "candidate": threat(folder / "2", "2", 0.5),
        "failing": threat(folder / "4", "4", 1.0, fails_above=1.0),
    }


@pytest.fixture
def world(tmp_path, bundles):
    return filled(World(tmp_path), bundles)


def filled(world, bundles):
    for bundle in bundles.values():
        world.store.add(bundle)
    return world


def pairs(world):
    return {
        (labels[3], labels[1]): int(v) for labels, v in world.series().get("vedette_evidence_pairs_total", {}).items()
    }  # labels by name: against, candidate, model, reference, revision, variant


async def test_the_candidate_scores_a_copy_and_the_flips_are_counted(world, bundles):
    await world.service.apply(spec(bundles["stable"], variant(bundles["candidate"], mirror=100)))
    for level in (2.0, 2.0, -3.0, 4.0):  # stable: .88 .88 .05 .98; candidate: .73 .73 .18 .88
        answer = await world.service.infer(request("a", level=level))
        assert answer.parameters["variant"] == "stable"
    await world.mirror.drained()
    assert pairs(world) == {("alert", "investigate"): 2, ("benign", "benign"): 1, ("alert", "alert"): 1}
    assert world.evidence("candidate", "mirror") == {
        "requests": 4, "rows": 4, "errors": 0, "latency": 0, "degraded": 0, "alertRate": 1,
    }  # fmt: skip
    assert world.evidence("stable", "mirror")["alertRate"] == 3
    assert world.evidence("candidate")["requests"] == 0, "nobody met it"
    assert len(world.audit.records) == 4, "a copy is no answer"


async def test_a_revision_mirrored_again_under_another_name_takes_no_pairs_from_the_first(world, bundles):
    """A counter never falls: a candidate that was taken back, and is tried again, is counted beside what it was before."""
    counted = []
    for name in ("former", "candidate"):
        await world.service.apply(spec(bundles["stable"], variant(bundles["candidate"], name=name, mirror=100)))
        for _ in range(3 if name == "former" else 1):
            await world.service.infer(request("a", level=-3.0))
        await world.mirror.drained()
        series = world.series()["vedette_evidence_pairs_total"]
        counted.append({labels[-1]: int(v) for labels, v in series.items()})
    assert counted == [{"former": 3}, {"former": 3, "candidate": 1}]


async def test_a_copy_is_scored_only_after_the_answer(world, bundles):
    await world.service.apply(spec(bundles["stable"], variant(bundles["candidate"], mirror=100)))
    await world.service.infer(request("a"))
    assert world.evidence("candidate", "mirror")["requests"] == 0
    await world.mirror.drained()
    assert world.evidence("candidate", "mirror")["requests"] == 1


async def test_a_share_of_the_entities_is_mirrored_always_the_same_and_not_the_splits_own(world, bundles):
    await world.service.apply(spec(bundles["stable"], variant(bundles["candidate"], weight=50, mirror=30)))
    kept = []
    for _ in range(2):
        mirrored = set()
        for i in range(300):
            before = world.metrics._mirrored.get(("threat", "candidate", "scored"), 0)
            answer = await world.service.infer(request(host(i)))
            await world.mirror.drained()
            if world.metrics._mirrored.get(("threat", "candidate", "scored"), 0) > before:
                mirrored.add(i)
                assert answer.parameters["variant"] == "stable"
        kept.append(mirrored)
    assert kept[0] == kept[1]
    assert 25 <= len(kept[0]) <= 65, "30 % of the half that met stable"


async def test_only_the_rows_that_met_stable_are_mirrored(world, bundles):
    await world.service.apply(spec(bundles["stable"], variant(bundles["candidate"], weight=50, mirror=100)))
    await world.service.infer(request(*[host(i) for i in range(40)]))
    await world.mirror.drained()
    live, copies = world.evidence("stable"), world.evidence("candidate", "mirror")
    assert copies["rows"] == live["rows"] < 40


@pytest.mark.parametrize("asked", [{"variant": "stable"}, {"variant": "candidate"}, {"version": "1"}])
async def test_a_request_that_asks_by_name_is_not_mirrored(world, bundles, asked):
    await world.service.apply(spec(bundles["stable"], variant(bundles["candidate"], mirror=100)))
    await world.service.infer(request("a", **asked))
    await world.mirror.drained()
    assert world.evidence("candidate", "mirror")["requests"] == 0


async def test_a_copy_that_fails_is_the_candidates_error_and_no_clients(world, bundles):
    await world.service.apply(spec(bundles["stable"], variant(bundles["failing"], mirror=100)))
    for level in (0.5, 3.0):
        await world.service.infer(request("a", level=level))
    await world.mirror.drained()
    assert world.evidence("candidate", "mirror")["errors"] == 1
    assert world.evidence("candidate", "mirror")["requests"] == world.evidence("stable", "mirror")["requests"] == 2
    assert sum(pairs(world).values()) == 1


async def test_what_stable_fails_on_is_mirrored_too(world, bundles):
    await world.service.apply(spec(bundles["stable"], variant(bundles["candidate"], mirror=100)))

    class Broken:
        def run(self, tensors, outputs=None, stop=None):
            raise RuntimeError("out of memory")

    world.serve("stable", model=Broken())
    with pytest.raises(Internal):
        await world.service.infer(request("a"))
    await world.mirror.drained()
    assert world.evidence("stable", "mirror")["errors"] == 1
    assert world.evidence("candidate", "mirror") | {"alertRate": 0} == {
        "requests": 1, "rows": 1, "errors": 0, "latency": 0, "degraded": 0, "alertRate": 0,
    }  # fmt: skip
    assert pairs(world) == {}


async def test_a_full_queue_drops_copies_and_says_so(tmp_path, bundles):
    world = filled(World(tmp_path, queue=3), bundles)
    await world.service.apply(spec(bundles["stable"], variant(bundles["candidate"], mirror=100)))
    variants = world.variants
    for i in range(10):
        await world.scorer.score(variants, request(host(i)))
    await world.mirror.drained()
    assert world.metrics._mirrored == {("threat", "candidate", "dropped"): 7, ("threat", "candidate", "scored"): 3}
    assert world.evidence("candidate", "mirror")["requests"] == world.evidence("stable", "mirror")["requests"] == 3


async def test_a_copy_that_waited_too_long_is_dropped(world, bundles):
    await world.service.apply(spec(bundles["stable"], variant(bundles["candidate"], mirror=100)))
    await world.service.infer(request("a"))
    world.clock.advance(HANG_S + 1)
    await world.mirror.drained()
    assert world.metrics._mirrored == {("threat", "candidate", "dropped"): 1}


async def test_a_candidate_that_hangs_delays_nobody(tmp_path, bundles):
    begun, gate = threading.Event(), threading.Event()
    with ThreadPoolExecutor(1) as executor:
        world = filled(World(tmp_path, executor=executor), bundles)
        await world.service.apply(spec(bundles["stable"], variant(bundles["candidate"], mirror=100)))

        class Hanging:
            def run(self, tensors, outputs=None, stop=None):
                begun.set()
                gate.wait(HANG_S)
                return {}

        world.serve("candidate", model=Hanging())
        for i in range(20):
            await world.service.infer(request(host(i)))
            await asyncio.sleep(0)
        await until_so(begun.is_set)
        assert not world.metrics._mirrored, "all were answered while it hung"
        world.mirror._deadline_s = 0.01  # of the others, which wait for the thread
        pass_time(HANG_S)
        await world.mirror.drained()
        gate.set()
    mirrored = world.metrics._mirrored
    assert mirrored[("threat", "candidate", "failed")] == 1, "the one that ran"
    assert sum(mirrored.values()) == 20


async def test_the_copys_latency_is_what_the_client_would_have_waited(world, bundles):
    await world.service.apply(spec(bundles["stable"], variant(bundles["candidate"], mirror=100), latency_objective_ms=50.0))

    class Slow:
        def __init__(self, served, seconds):
            self.model, self.seconds = served.model, seconds
            world.serve(served.variant, model=self)

        def run(self, tensors, outputs=None, stop=None):
            world.clock.advance(self.seconds)
            return self.model.run(tensors, outputs)

    stable, candidate = Slow(world.variants.stable.revision, 0.06), Slow(world.variants.others[0].revision, 0.01)
    await world.service.infer(request("a"))
    await world.mirror.drained()
    assert (world.evidence("stable", "mirror")["latency"], world.evidence("candidate", "mirror")["latency"]) == (1, 0)
    stable.seconds, candidate.seconds = 0.01, 0.06
    await world.service.infer(request("a"))
    await world.mirror.drained()
    assert (world.evidence("stable", "mirror")["latency"], world.evidence("candidate", "mirror")["latency"]) == (1, 1)


async def test_tensors_are_mirrored_by_the_entity_they_name(world, bundles):
    await world.service.apply(spec(bundles["stable"], variant(bundles["candidate"], mirror=100)))
    await world.service.infer(tensors(1.0, 2.0, 3.0, entity="a"))
    await world.mirror.drained()
    assert world.evidence("candidate", "mirror")["rows"] == 3


def service_info(name):
    feature = FeatureInfo("hosts__level", "FP32", "hosts", 0.0, None)
    return FeatureServiceInfo(name, (FieldInfo("host", "BYTES"),), (), (feature,))


@pytest.mark.parametrize(
    ("own_service", "reads"),
    [
        pytest.param(None, 1, id="the same service: one read, the same values"),
        pytest.param("second", 2, id="another service: read for itself"),
    ],
)
async def test_features_are_read_once_unless_the_service_is_another(tmp_path, own_service, reads):
    class Reader(FakeFeatureReader):
        asked = 0

        async def read(self, *args, **kwargs):
            self.asked += 1
            return await super().read(*args, **kwargs)

    reader = Reader(service_info("first"), service_info("second"))
    reader.put("hosts", (b"a",), {"level": 2.0}, 1_700_000_000_000_000 - 1_000_000)
    fields = {
        "request_fields": [],
        "assembly": [{"tensor": "level", "columns": ["hosts__level"]}],
        "feature_service": "first",
    }
    world = World(tmp_path, features=reader)
    bundles = [threat(tmp_path / v, v, gain, **fields) for v, gain in (("1", 1.0), ("2", 0.5))]
    for bundle in bundles:
        world.store.add(bundle)
    await world.service.apply(spec(bundles[0], variant(bundles[1], mirror=100, feature_service=own_service)))
    reader.asked = 0  # it was warmed
    made = request("a")
    await world.service.infer(made.__class__("threat", None, made.inputs[:1]))
    reader.put("hosts", (b"a",), {"level": 4.0}, 1_700_000_000_000_000 - 1_000_000)
    await world.mirror.drained()
    assert reader.asked == reads
    assert pairs(world) == ({("alert", "investigate"): 1} if own_service is None else {("alert", "alert"): 1})


def test_a_threshold_on_an_edge_splits_the_bins_as_it_splits_the_scores():
    threshold = EDGES[150]
    for score, is_alert in ((threshold, True), (threshold - 1e-5, False), (threshold + 1e-5, True)):
        assert (float(score_bin(score)) > threshold) is is_alert


async def test_mirrored_scores_are_kept_in_bins(world, bundles):
    await world.service.apply(spec(bundles["stable"], variant(bundles["candidate"], mirror=100)))
    for level in (-8.0, 0.0, 0.0, 8.0):
        await world.service.infer(request("a", level=level))
    await world.mirror.drained()
    revision = RevisionSpec(bundle=bundles["candidate"].digest).digest
    bins = {float(k[0]): v for k, v in world.series()["vedette_evidence_score_bins_total"].items() if k[2] == revision}
    assert sum(bins.values()) == 4
    assert [v for _, v in sorted(bins.items())] == [1, 2, 1]


async def test_a_copy_that_is_still_scored_when_the_mirror_closes_is_stopped(tmp_path, bundles):
    began, stopped = threading.Event(), threading.Event()

    class Endless:
        def run(self, tensors, outputs=None, stop=None):
            stop.on_request(stopped.set)
            began.set()
            stopped.wait(HANG_S)
            return {}

    with ThreadPoolExecutor(1) as executor:
        world = filled(World(tmp_path, executor=executor), bundles)
        await world.service.apply(spec(bundles["stable"], variant(bundles["candidate"], mirror=100)))
        world.serve("candidate", model=Endless())
        await world.service.infer(request("a"))
        await until_so(began.is_set)
        world.mirror.close()
        try:
            await until_so(stopped.is_set)
        finally:
            stopped.set()
