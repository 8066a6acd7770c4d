"""What was answered is computed again from the records and the store: the same to the bit, or named by receipt, row and field."""

import dataclasses
import shutil
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import pytest

from lifecycle.governance.replay.replay import NO_RECORD, Replayer, ReplayReport
from lifecycle.governance.replay.revisions import RevisionBook
from serving.audit.encoding import encode_record
from serving.audit.record import SuppressedRow
from serving.errors import Unavailable
from serving.loading.kept_revisions import kept_revision, revision_file
from serving.loading.loader import Wanted
from serving.loading.refused_bundles import RefusedBundles
from serving.models.build import build_bundle
from serving.models.errors import UntrustedBundle
from serving.models.store import BundleStore
from serving.spec import RevisionSpec, SuppressionSpec
from tests.fakes.serving.features import FakeFeatureReader
from tests.unit.serving.scoring.rules.test_rules_beside import AS_FEATURE, BESIDE, BY_SEVERITY
from tests.unit.serving.scoring.test_rules_answer import INFO, WITHOUT_FEATURES, Breaking, world_with
from tests.unit.serving.scoring.variants import World, graph, request, spec, tensors, threat

pytestmark = pytest.mark.heavy


def lines_of(world: World, **changes) -> list[bytes]:
    return [encode_record(msgspec.structs.replace(record, **changes))[:-1] for record in world.audit.records]


def replayed(world: World, lines: list[bytes] | None = None, *, store: Path | None = None, **options) -> ReplayReport:
    return Replayer(RevisionBook(store or world.store.root), **options).replay(lines_of(world) if lines is None else lines)


async def answered(tmp_path: Path, **revision) -> World:
    """A world that has answered columns, tensors, one row and many."""
    world, bundle = World(tmp_path), threat(tmp_path / "bundle", "1")
    world.store.add(bundle)
    await world.service.apply(spec(bundle, revision=RevisionSpec(bundle=bundle.digest, **revision)))
    rng = np.random.default_rng(5)
    for _ in range(30):
        await world.service.infer(request("10.0.0.1", level=float(rng.normal(0, 3))))
        await world.service.infer(tensors(*rng.normal(0, 3, 3)))
    await world.service.infer(tensors(*rng.normal(0, 3, 2000)))
    return world


async def test_every_answer_is_the_same_to_the_bit(tmp_path):
    world = await answered(tmp_path)
    report = replayed(world)
    assert dict(report.outcomes) == {"identical": 61}
    assert report.is_same


async def test_a_store_that_was_restored_in_another_folder_gives_the_same(tmp_path):
    world = await answered(tmp_path, thresholds={"siem_alerting": 0.97})
    shutil.copytree(world.store.root, tmp_path / "restored")
    lines = lines_of(world)
    shutil.rmtree(world.store.root)
    assert dict(replayed(world, lines, store=tmp_path / "restored").outcomes) == {"identical": 61}


async def test_thresholds_of_the_revision_are_those_that_judged(tmp_path):
    world = await answered(tmp_path, thresholds={"siem_alerting": 0.97})
    assert {v for r in world.audit.records for v in r.verdicts} == {"benign", "investigate", "alert"}
    assert replayed(world).is_same
    digest = world.audit.records[0].revision
    assert kept_revision(world.store.root, digest).thresholds == {"siem_alerting": 0.97}


async def test_a_revision_whose_thresholds_are_gone_is_not_guessed(tmp_path):
    world = await answered(tmp_path, thresholds={"siem_alerting": 0.97})
    revision_file(world.store.root, world.audit.records[0].revision).unlink()
    report = replayed(world)
    assert dict(report.outcomes) == {"not replayable": 61}
    assert not report.is_same
    assert "is not explained" in next(iter(report.why_not))


async def test_a_revision_without_thresholds_follows_from_the_bundles_of_the_store(tmp_path):
    world = await answered(tmp_path)
    shutil.rmtree(world.store.root / "revisions")
    assert replayed(world).is_same


async def test_a_kept_revision_that_was_changed_explains_nothing(tmp_path):
    world = await answered(tmp_path, thresholds={"siem_alerting": 0.97})
    path = revision_file(world.store.root, world.audit.records[0].revision)
    path.write_text(path.read_text().replace("0.97", "0.96"))
    assert dict(replayed(world).outcomes) == {"not replayable": 61}


@pytest.mark.parametrize(
    ("field", "changed"),
    [
        pytest.param("scores", [0.4375], id="a score that was changed"),
        pytest.param("verdicts", ["benign"], id="a verdict that was changed"),
    ],
)
async def test_what_was_changed_is_named_by_receipt_row_and_field(tmp_path, field, changed):
    world = await answered(tmp_path)
    await world.service.infer(request("10.0.0.9", level=9.0))
    forged = msgspec.structs.replace(world.audit.records[-1], **{field: changed})
    lines = [*lines_of(world)[:-1], encode_record(forged)[:-1]]
    report = replayed(world, lines)
    assert dict(report.outcomes) == {"identical": 61, "different": 1}
    assert {(d.receipt, d.row, d.field) for d in report.differences} >= {(forged.receipt, 0, field)}


async def test_an_input_that_was_changed_is_found_by_its_score(tmp_path):
    world = await answered(tmp_path)
    record = world.audit.records[1]
    data = record.inputs["level"]["data"]
    forged = msgspec.structs.replace(
        record,
        inputs={"level": {**record.inputs["level"], "data": [data[0], float(np.nextafter(np.float32(data[1]), 9)), data[2]]}},
    )
    report = replayed(world, [encode_record(forged)[:-1]])
    assert [(d.row, d.field) for d in report.differences] == [(1, "scores")]


async def test_features_are_those_of_the_record_and_no_store_is_asked(tmp_path):
    features = FakeFeatureReader(INFO)
    world = World(tmp_path, features=features)
    features.put("host_60s", [b"10.0.0.1"], {"flows": 0.1}, world.clock.now_us())
    bundle = threat(
        tmp_path / "bundle", "1", feature_service="hosts", assembly=[{"tensor": "level", "columns": ["host_60s__flows"]}]
    )
    world.store.add(bundle)
    await world.service.apply(spec(bundle))
    for index in range(5):
        await world.service.infer(request(f"10.0.0.{index}"))
    features.is_down = True
    await world.service.infer(request("10.0.0.7"))
    report = replayed(world)
    assert dict(report.outcomes) == {"identical": 6}
    assert {r.features["host_60s__flows"][0] for r in world.audit.records} == {0.0, 0.1}


async def test_what_rules_answered_is_asked_of_the_rules_again(tmp_path):
    world = await world_with(tmp_path, WITHOUT_FEATURES)
    world.features.is_down = True
    await world.service.infer(request("10.0.0.1", "10.0.0.2", "x", level=[4.0, 2.0, 2.0]))
    world.features.is_down = False
    model = Breaking(world.variants.stable.revision.model)
    model.problem = Unavailable("the breaker is open")
    world.serve("stable", model=model)
    await world.service.infer(request("10.0.0.1", level=4.0))
    await world.service.infer(tensors(4.0, 0.0))
    assert dict(replayed(world).outcomes) == {"identical": 3}
    forged = msgspec.structs.replace(world.audit.records[0], rules=[["high-level"], ["some-level"], []])
    report = replayed(world, [encode_record(forged)[:-1]])
    assert [(d.row, d.field) for d in report.differences] == [(0, "rules")]


async def test_another_processor_may_differ_within_the_tolerance_and_is_said(tmp_path):
    world = await answered(tmp_path)
    near = [np.nextafter(np.float32(s), np.float32(2)) for s in world.audit.records[0].scores]
    forged = msgspec.structs.replace(world.audit.records[0], scores=[float(s) for s in near])
    here = replayed(world, [encode_record(forged)[:-1]])
    assert dict(here.outcomes) == {"different": 1}, "on the same processor the last bit counts"
    elsewhere = msgspec.structs.replace(forged, processor="other/family")
    report = replayed(world, [encode_record(elsewhere)[:-1]])
    assert (dict(report.outcomes), dict(report.other_processors)) == ({"within tolerance": 1}, {"other/family": 1})
    far = msgspec.structs.replace(elsewhere, scores=[s + 1e-3 for s in world.audit.records[0].scores])
    assert "different" in replayed(world, [encode_record(far)[:-1]]).outcomes


async def test_outputs_of_a_model_without_a_score_are_held_by_their_digests(tmp_path):
    world = World(tmp_path)
    golden = {"level": np.array([[0.5]], np.float32)}
    bundle = build_bundle(tmp_path / "bundle", model=graph(1.0), golden_inputs=golden, name="threat", version="1")
    world.store.add(bundle)
    await world.service.apply(spec(bundle))
    for level in (0.5, 1.5):
        await world.service.infer(tensors(level, 2.0))
    assert dict(replayed(world).outcomes) == {"identical": 2}
    record = world.audit.records[0]
    assert record.outputs["risk"].startswith("sha256:")
    forged = msgspec.structs.replace(record, inputs=world.audit.records[1].inputs)
    assert [d.field for d in replayed(world, [encode_record(forged)[:-1]]).differences] == ["outputs.risk"]


async def test_a_bundle_that_was_changed_in_the_store_answers_for_nothing(tmp_path):
    world = await answered(tmp_path)
    (world.store.folder_of(world.store.entries()[0].digest) / "model.onnx").write_bytes(graph(2.0))
    report = replayed(world)
    assert dict(report.outcomes) == {"not replayable": 61}
    assert "the file was changed" in next(iter(report.why_not))


async def test_no_record_is_no_proof(tmp_path):
    world = await answered(tmp_path)
    assert not replayed(world, []).is_same
    assert dataclasses.asdict(replayed(world, []))["differences"] == []
    assert BundleStore(world.store.root).entries()


async def test_a_bundle_that_was_refused_answered_nobody_and_is_passed_over(tmp_path):
    world = await answered(tmp_path)
    refused = Wanted("threat", "2", RevisionSpec(bundle="sha256:" + "0" * 64))
    RefusedBundles(world.audit, identity="r", now_us=lambda: 1)(refused, UntrustedBundle("no signature"), "no signature")
    assert world.audit.records[-1].source == "refused"
    report = replayed(world)
    assert (dict(report.outcomes), report.is_same) == ({"identical": 61}, True)


async def test_verdicts_that_rules_raised_are_raised_again(tmp_path):
    world = await world_with(tmp_path, BESIDE, feature_service=None)
    await world.service.infer(request("a", "b", "c", level=[-6.0, -3.0, -1.0]))
    await world.service.infer(request("a", level=-1.0))
    await world.service.infer(request("a", level=-6.0))
    assert dict(replayed(world).outcomes) == {"identical": 3}
    lowered = msgspec.structs.replace(world.audit.records[0], verdicts=["benign", "investigate", "benign"])
    silent = msgspec.structs.replace(world.audit.records[0], rules=[], source="model")
    report = replayed(world, [encode_record(record)[:-1] for record in (lowered, silent)])
    assert [(d.row, d.field) for d in report.differences] == [(0, "verdicts"), (0, "rules"), (1, "rules")]


async def test_columns_that_rules_made_are_made_again(tmp_path):
    world = await world_with(tmp_path, AS_FEATURE, **BY_SEVERITY)
    await world.service.infer(request("a", "b", "c", level=[-6.0, -3.0, -1.0]))
    assert dict(replayed(world).outcomes) == {"identical": 1}


@pytest.mark.parametrize(
    "forged",
    [
        pytest.param([], id="one that is not told"),
        pytest.param([SuppressedRow(0, "other", "alert")], id="another one"),
        pytest.param([SuppressedRow(0, "scan", "investigate")], id="another verdict before"),
    ],
)
async def test_a_suppression_that_was_changed_in_the_record_is_found(tmp_path, forged):
    entry = SuppressionSpec(
        id="scan", owner="ana", reason="ours", expires=datetime(2999, 1, 1, tzinfo=UTC), when="level > 1.0", becomes="benign"
    )
    world, bundle = World(tmp_path), threat(tmp_path / "bundle", "1")
    world.store.add(bundle)
    await world.service.apply(spec(bundle, revision=RevisionSpec(bundle=bundle.digest, suppressions=(entry,))))
    await world.service.infer(request("10.0.0.1", level=2.0))
    assert replayed(world).is_same
    report = replayed(world, lines_of(world, suppressed=forged))
    assert dict(report.outcomes) == {"different": 1}
    assert {d.field for d in report.differences} == {"suppressed"}


async def test_a_line_that_is_no_whole_record_is_named_and_the_others_are_computed(tmp_path):
    world = await answered(tmp_path)
    head = world.audit.records[0]
    lines = [b'{"receipt":"%s","time_us":1,"model":"threat"}' % head.receipt.encode(), *lines_of(world)]
    report = replayed(world, lines)
    assert dict(report.outcomes) == {"not replayable": 1, "identical": 61}
    assert next(iter(report.why_not)) == NO_RECORD


async def test_a_field_that_somebody_changed_is_a_difference_or_a_reason_and_never_ends_the_replay(tmp_path):
    world, bundle = World(tmp_path), threat(tmp_path / "bundle", "1")
    world.store.add(bundle)
    await world.service.apply(spec(bundle))
    await world.service.infer(request("10.0.0.1", level=1.0))
    (line,) = lines_of(world)
    fields = ("inputs", "features", "scores", "verdicts", "degraded", "rows", "operating_point", "rules", "triage", "source")
    values = (
        None,
        5,
        "x",
        [],
        {},
        [None],
        {"level": 5},
        {"level": {"shape": [1]}},
        {"level": {"data": [1]}},
        -1,
        [[]],
        [[5]],
        [1, 2],
    )
    changed = [msgspec.json.encode(msgspec.json.decode(line) | {field: value}) for field in fields for value in values]
    assert replayed(world, [*changed, line]).outcomes.total() == len(changed) + 1
