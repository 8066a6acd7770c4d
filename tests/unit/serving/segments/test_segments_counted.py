"""Evidence by segment: only where a mapping is set, by the entity alone, and never a part of what the model sees."""

from datetime import UTC, datetime

import numpy as np
import pytest

from operators.backends.evidence import read_samples
from operators.backends.exposition import samples, series
from operators.rollout.evidence import key
from serving.errors import BadRequest
from serving.messages import Tensor
from serving.segments.mapping import parse_segment_map
from tests.unit.serving.scoring.variants import World, request, spec, tensors, threat, variant

MAPPING = parse_segment_map("entity,unit\n10.1.0.0/16,finance\nalice,hr\n", "segments.csv", is_yaml=False)
ALL, FINANCE, HR = "_all", "unit=finance", "unit=hr"


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    return {"stable": threat(folder / "1", "1", 1.0), "candidate": threat(folder / "2", "2", 0.5)}


def world_of(folder, bundles, segments=MAPPING):
    world = World(folder, segments=segments)
    for bundle in bundles.values():
        world.store.add(bundle)
    return world


def counted(world, name, unit):
    """(rows, alerts) by segment of a variant."""
    (found,) = [e.segments for k, e in world.metrics._evidence.items() if k[1] == name]
    rows, alerts = found.rows(unit), found.alerts(unit)
    return {segment: (rows[segment], alerts[segment]) for segment in rows}


async def test_rows_are_counted_by_the_segment_of_their_entity(tmp_path, bundles):
    world = world_of(tmp_path, bundles)
    await world.service.apply(spec(bundles["stable"], variant(bundles["candidate"], weight=0)))
    await world.service.infer(request("10.1.0.1", "10.1.0.1", "alice", "bob", level=[2.0, -3.0, 2.0, 2.0]))
    assert counted(world, "stable", "live") == {FINANCE: (2, 1), HR: (1, 1), ALL: (4, 3)}
    assert counted(world, "stable", "entity") == {FINANCE: (1, 1), HR: (1, 1), ALL: (3, 3)}
    await world.service.infer(request("10.1.0.1", level=-3.0))
    assert counted(world, "stable", "live")[FINANCE] == (3, 1)
    assert counted(world, "stable", "entity")[FINANCE] == (1, 1), "its first row stands"
    assert counted(world, "candidate", "live") == {FINANCE: (0, 0), HR: (0, 0), ALL: (0, 0)}


async def test_the_mirror_counts_both_variants(tmp_path, bundles):
    world = world_of(tmp_path, bundles)
    await world.service.apply(spec(bundles["stable"], variant(bundles["candidate"], mirror=100)))
    await world.service.infer(
        request("10.1.0.1", "alice", level=[2.0, 4.0])
    )  # stable: alert, alert; candidate: investigate, alert
    await world.mirror.drained()
    assert counted(world, "stable", "mirror") == {FINANCE: (1, 1), HR: (1, 1), ALL: (2, 2)}
    assert counted(world, "candidate", "mirror") == {FINANCE: (1, 0), HR: (1, 1), ALL: (2, 1)}


async def test_a_tensor_request_is_in_the_segment_of_the_entity_that_it_names(tmp_path, bundles):
    world = world_of(tmp_path, bundles)
    await world.service.apply(spec(bundles["stable"], variant(bundles["candidate"], weight=0)))
    await world.service.infer(tensors(2.0, 2.0, entity="alice"))
    await world.service.infer(tensors(2.0, 2.0))
    assert counted(world, "stable", "live") == {FINANCE: (0, 0), HR: (2, 2), ALL: (2, 2)}, (
        "rows of nobody are in no rest either"
    )


async def test_nothing_is_counted_without_a_mapping_or_without_another_variant(tmp_path, bundles):
    off = world_of(tmp_path / "off", bundles, segments=None)
    await off.service.apply(spec(bundles["stable"], variant(bundles["candidate"], weight=0)))
    await off.service.infer(request("10.1.0.1"))
    assert not off.series().get("vedette_evidence_segment_rows_total")
    alone = world_of(tmp_path / "alone", bundles)
    await alone.service.apply(spec(bundles["stable"]))
    await alone.service.infer(request("10.1.0.1"))
    assert counted(alone, "stable", "live")[ALL] == (0, 0)


class Spied:
    """Keeps what a model is fed."""

    def __init__(self, model, seen):
        self.model, self.seen = model, seen

    def run(self, feed, *rest):
        self.seen.append({tensor: value.tolist() for tensor, value in feed.items()})
        return self.model.run(feed, *rest)


async def test_the_mapping_reaches_neither_the_model_nor_the_record(tmp_path, bundles):
    answers, records = [], []
    for name, mapping in (("with", MAPPING), ("without", None)):
        world = world_of(tmp_path / name, bundles, segments=mapping)
        seen = []
        await world.service.apply(spec(bundles["stable"], variant(bundles["candidate"], weight=0)))
        world.serve("stable", model=Spied(world.variants.stable.revision.model, seen))
        answer = await world.service.infer(request("10.1.0.1", "alice", level=[2.0, -1.0]))
        answers.append(([o.data.tolist() for o in answer.outputs], seen))
        records.append((sorted(world.audit.records[-1].inputs), dict(world.audit.records[-1].features)))
        extra = request("10.1.0.1")
        unit = Tensor("unit", "BYTES", np.array([b"finance"], dtype=object))
        with pytest.raises(BadRequest, match="unknown inputs"):
            await world.service.infer(type(extra)("threat", None, (*extra.inputs, unit)))
    assert answers[0] == answers[1]
    assert records[0] == records[1] == (["host", "level"], {})


async def test_the_control_plane_reads_what_was_counted(tmp_path, bundles):
    world = world_of(tmp_path, bundles)
    await world.service.apply(spec(bundles["stable"], variant(bundles["candidate"], mirror=100)))
    await world.service.infer(request("10.1.0.1", "alice", level=[2.0, 4.0]))
    await world.mirror.drained()
    scrape = read_samples(
        "threat", [[(series(name), value) for name, value in samples(world.metrics.render().decode())]], datetime.now(UTC)
    )
    assert scrape.problem is None
    tallies = scrape.replicas[0].tallies
    stable = tallies[key("stable", world.variants.stable.revision.digest)]
    assert stable.segment_rows == {FINANCE: 1, HR: 1, ALL: 2}
    assert stable.segment_alerts == {FINANCE: 1, HR: 1, ALL: 2}
    assert stable.segment_entities[ALL] == 2
    candidate = tallies[key("candidate", world.variants.others[0].revision.digest)]
    assert candidate.mirrored_segment_rows == {FINANCE: 1, HR: 1, ALL: 2}
    assert candidate.mirrored_segment_alerts == {FINANCE: 0, HR: 1, ALL: 1}
    assert candidate.segment_rows == {FINANCE: 0, HR: 0, ALL: 0}, "segments that nobody was in are told too"
