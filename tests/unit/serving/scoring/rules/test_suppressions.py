"""Suppressions of a revision: rows with a known cause of false alarms do not alert; the answer, its record and the metrics say so."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from pydantic import ValidationError

from lifecycle.governance.replay.replay import Replayer
from lifecycle.governance.replay.revisions import RevisionBook
from serving.audit.encoding import decode_record, encode_record
from serving.audit.record import SuppressedRow
from serving.messages import InferRequest, Tensor
from serving.spec import RevisionSpec, SuppressionSpec
from tests.fakes.serving.features import FakeFeatureReader
from tests.unit.serving.scoring.rules.test_rules_beside import AS_FEATURE, BESIDE, BY_SEVERITY
from tests.unit.serving.scoring.test_rules_answer import INFO, outputs
from tests.unit.serving.scoring.variants import World, request, spec, tensors, threat, variant

FAR = datetime(2999, 1, 1, tzinfo=UTC)
BUNDLE = "sha256:" + "0" * 64


def entry(when: str, becomes: str = "benign", expires: datetime = FAR, name: str = "scanner") -> SuppressionSpec:
    return SuppressionSpec(id=name, owner="ana", reason="a scan of ours", expires=expires, when=when, becomes=becomes)


async def world_with(tmp_path, *entries: SuppressionSpec, reader: object = None, **fields) -> World:
    world, bundle = World(tmp_path, features=reader), threat(tmp_path / "bundle", "1", **fields)
    world.store.add(bundle)
    await world.service.apply(spec(bundle, revision=RevisionSpec(bundle=bundle.digest, suppressions=entries)))
    return world


def replayed(world: World) -> dict[str, int]:
    lines = [encode_record(record)[:-1] for record in world.audit.records]
    return dict(Replayer(RevisionBook(world.store.root)).replay(lines).outcomes)


ROWS = [
    pytest.param(entry("host == 'a'"), {"a": "benign", "b": "alert"}, id="a row that it holds of does not alert, others do"),
    pytest.param(entry("host == 'a'", "investigate"), {"a": "investigate", "b": "alert"}, id="an alert becomes investigate"),
    pytest.param(entry("level > 1.0"), {"a": "benign", "b": "benign"}, id="a request field may be named"),
    pytest.param(
        entry("int(level - 2.0) / int(level - 2.0) == 1"), {"a": "alert"}, id="an expression that fails suppresses nothing"
    ),
]


@pytest.mark.parametrize(("one", "expected"), ROWS)
async def test_a_row_with_a_known_cause(tmp_path, one, expected):
    world = await world_with(tmp_path, one)
    answer = await world.service.infer(request(*expected, level=2.0))
    assert dict(zip(expected, [word.decode() for word in outputs(answer)["verdict"]], strict=True)) == expected
    ids = [None if word == "alert" else "scanner" for word in expected.values()]
    assert json.loads(answer.parameters.get("suppressed_by", json.dumps(ids))) == ids
    record = world.audit.records[-1]
    changed = [SuppressedRow(row, "scanner", "alert") for row, name in enumerate(ids) if name]
    assert (record.verdicts, list(record.suppressed)) == (list(expected.values()), changed)
    assert list(decode_record(encode_record(record)).suppressed) == changed
    counted = world.series().get("vedette_suppressed_verdicts_total", {})
    assert counted == ({("threat", "scanner"): float(len(changed))} if changed else {})
    assert replayed(world) == {"identical": 1}


async def test_a_row_that_is_not_suppressed_is_answered_and_recorded_as_ever(tmp_path):
    world = await world_with(tmp_path, entry("host == 'a'"))
    answer = await world.service.infer(request("b", level=2.0))
    assert "suppressed_by" not in answer.parameters
    assert b"suppressed" not in encode_record(world.audit.records[-1])


async def test_investigate_becomes_benign_and_never_the_other_way(tmp_path):
    world = await world_with(tmp_path, entry("host == 'a'"), entry("host == 'b'", "investigate", name="second"))
    answer = await world.service.infer(request("a", "b", "a", level=[0.5, 0.5, -3.0]))
    assert outputs(answer)["verdict"] == [b"benign", b"investigate", b"benign"]
    assert json.loads(answer.parameters["suppressed_by"]) == ["scanner", None, None]


async def test_the_first_entry_that_holds_counts(tmp_path):
    world = await world_with(tmp_path, entry("host == 'a'", "investigate"), entry("level > 0.0", name="any"))
    answer = await world.service.infer(request("a", "b", level=2.0))
    assert outputs(answer)["verdict"] == [b"investigate", b"benign"]
    assert json.loads(answer.parameters["suppressed_by"]) == ["scanner", "any"]


async def test_an_entry_suppresses_until_it_expires_and_a_replay_knows_when_that_was(tmp_path):
    world = World(tmp_path)
    ends = datetime.fromtimestamp(world.clock.now_us() / 1e6, UTC) + timedelta(seconds=10)
    bundle = threat(tmp_path / "bundle", "1")
    world.store.add(bundle)
    revision = RevisionSpec(bundle=bundle.digest, suppressions=(entry("level > 1.0", expires=ends),))
    await world.service.apply(spec(bundle, revision=revision))
    found = []
    for _ in range(3):
        found += outputs(await world.service.infer(request("a", level=2.0)))["verdict"]
        world.clock.advance(5.0)
    assert found == [b"benign", b"benign", b"alert"]
    assert replayed(world) == {"identical": 3}


async def test_rows_as_tensors_are_suppressed_by_their_columns(tmp_path):
    world = await world_with(tmp_path, entry("level > 1.0"), entry("host == 'a'", name="keyed"))
    answer = await world.service.infer(tensors(2.0, -2.0, 0.5))
    assert outputs(answer)["verdict"] == [b"benign", b"benign", b"investigate"]
    assert replayed(world) == {"identical": 1}


@pytest.mark.heavy
async def test_one_row_and_many_rows_are_suppressed_alike(tmp_path):
    world = await world_with(tmp_path, entry("host.endsWith('7')"))
    hosts = [f"h{number}" for number in range(200)]
    together = outputs(await world.service.infer(request(*hosts, level=2.0)))["verdict"]
    alone = [outputs(await world.service.infer(request(name, level=2.0)))["verdict"][0] for name in hosts]
    assert together == alone
    assert alone.count(b"benign") == 20
    assert replayed(world) == {"identical": 201}


async def test_what_a_rule_raised_is_suppressed_too(tmp_path):
    world = await world_with(tmp_path, entry("host == 'a'"), files={"rules/rules.yaml": BESIDE}, rules={})
    answer = await world.service.infer(request("a", "b", level=-6.0))
    assert outputs(answer)["verdict"] == [b"benign", b"alert"]
    assert list(world.audit.records[-1].suppressed) == [SuppressedRow(0, "scanner", "alert")]
    assert replayed(world) == {"identical": 1}


async def test_evidence_of_a_rollout_counts_what_was_served_and_would_have_been(tmp_path):
    world, bundle = World(tmp_path), threat(tmp_path / "bundle", "1")
    world.store.add(bundle)
    await world.service.apply(spec(bundle, variant(bundle, mirror=100.0, suppressions=(entry("host == 'a'"),))))
    for name in ("a", "b"):
        await world.service.infer(request(name, level=2.0))
    await world.mirror.drained()
    assert world.evidence("stable", "mirror")["alertRate"] == 2
    assert world.evidence("candidate", "mirror")["alertRate"] == 1
    assert "vedette_suppressed_verdicts_total" not in world.series(), "a copy is served to nobody"


async def test_a_feature_of_a_degraded_row_suppresses_nothing(tmp_path):
    reader = FakeFeatureReader(INFO)
    one = entry("host_60s__flows < 3.0")
    fields = {
        "feature_service": "hosts",
        "assembly": [{"tensor": "level", "columns": ["host_60s__flows"]}],
        "request_fields": [],
    }
    world = await world_with(tmp_path, one, reader=reader, **fields)
    reader.put("host_60s", (b"a",), {"flows": 2.0}, world.clock.now_us())
    ask = InferRequest("threat", None, (Tensor("host", "BYTES", np.array([b"a", b"b"], dtype=object)),))
    found = outputs(await world.service.infer(ask))
    assert found["degraded"] == [False, True]
    assert found["verdict"] == [b"benign", b"investigate"], "the default of b's feature would hold"
    assert replayed(world) == {"identical": 1}


WRONG = [
    pytest.param("hots == 'a'", "suppression 'scanner': there is no column", id="a column that there is not"),
    pytest.param("level +", "suppression 'scanner': 'level +' is not valid CEL", id="no CEL"),
    pytest.param("level + 1.0", "expected true or false", id="no claim"),
    pytest.param("1 == 1", "uses no column", id="it holds of every row"),
]


@pytest.mark.parametrize(("when", "why"), WRONG)
async def test_a_wrong_entry_refuses_the_revision_and_what_is_served_goes_on(tmp_path, caplog, when, why):
    world, bundle = World(tmp_path), threat(tmp_path / "bundle", "1")
    world.store.add(bundle)
    await world.service.apply(spec(bundle))
    await world.service.apply(spec(bundle, revision=RevisionSpec(bundle=bundle.digest, suppressions=(entry(when),))))
    assert outputs(await world.service.infer(request("a", level=2.0)))["verdict"] == [b"alert"]
    assert why in caplog.text


@pytest.mark.parametrize("when", ["rules_matched > 0.0", "rules_severity > 3.0"])
async def test_what_rules_say_is_the_models_to_read_and_not_the_entries(tmp_path, caplog, when):
    files = {"rules/rules.yaml": AS_FEATURE}
    world, bundle = World(tmp_path), threat(tmp_path / "bundle", "1", files=files, rules={}, **BY_SEVERITY)
    world.store.add(bundle)
    await world.service.apply(spec(bundle, revision=RevisionSpec(bundle=bundle.digest, suppressions=(entry(when),))))
    assert "suppression 'scanner': there is no column" in caplog.text


def test_a_revision_without_suppressions_has_the_digest_of_releases_that_knew_none():
    known = "sha256:b85d367736c0f7850e59d944b4afe9a6ea8807ac667ea831c9e30827bf5d2bac"
    assert RevisionSpec(bundle=BUNDLE).digest == known


OTHERS = [
    pytest.param(entry("level > 1.0", name="other"), id="another id"),
    pytest.param(entry("level > 2.0"), id="another expression"),
    pytest.param(entry("level > 1.0", "investigate"), id="another verdict"),
    pytest.param(entry("level > 1.0", expires=FAR + timedelta(days=1)), id="another end"),
    pytest.param(entry("level > 1.0").model_copy(update={"owner": "ben"}), id="another owner"),
]


@pytest.mark.parametrize("other", OTHERS)
def test_a_change_of_any_part_is_another_revision(other):
    one = RevisionSpec(bundle=BUNDLE, suppressions=(entry("level > 1.0"),))
    assert one.digest != RevisionSpec(bundle=BUNDLE, suppressions=(other,)).digest


def test_an_end_in_another_time_zone_is_the_same_revision():
    there = FAR.astimezone(tz=datetime.fromisoformat("2999-01-01T02:00:00+02:00").tzinfo)
    one, other = (RevisionSpec(bundle=BUNDLE, suppressions=(entry("level > 1.0", expires=e),)) for e in (FAR, there))
    assert one.digest == other.digest


REFUSED = [
    pytest.param({"expires": "2999-01-01T00:00:00"}, id="an end without a time zone"),
    pytest.param({"owner": ""}, id="nobody's"),
    pytest.param({"reason": ""}, id="without a reason"),
    pytest.param({"becomes": "alert"}, id="one that raises a verdict"),
    pytest.param({"id": "Not an id"}, id="an id that is no name"),
]


@pytest.mark.parametrize("change", REFUSED)
def test_an_entry_that_cannot_be(change):
    with pytest.raises(ValidationError):
        SuppressionSpec.model_validate({**entry("level > 1.0").model_dump(), **change})


@pytest.mark.parametrize("entries", [[entry("level > 1.0")] * 2, [entry("level > 1.0", name=f"s{n}") for n in range(201)]])
def test_ids_are_distinct_and_there_are_at_most_200(entries):
    with pytest.raises(ValidationError):
        RevisionSpec(bundle=BUNDLE, suppressions=tuple(entries))


async def test_a_mirrored_copy_is_judged_with_the_rules_beside_its_model(tmp_path):
    world = World(tmp_path)
    stable = threat(tmp_path / "stable", "1")
    candidate = threat(tmp_path / "candidate", "2", files={"rules/rules.yaml": BESIDE}, rules={})
    for bundle in (stable, candidate):
        world.store.add(bundle)
    await world.service.apply(spec(stable, variant(candidate, mirror=100.0)))
    await world.service.infer(request("a", level=-6.0))
    await world.mirror.drained()
    assert world.evidence("stable", "mirror")["alertRate"] == 0
    assert world.evidence("candidate", "mirror")["alertRate"] == 1, "as it would have answered"


def test_a_revisions_text_is_bounded():
    entries = tuple(entry("level > 1.0", name=f"s{n}").model_copy(update={"reason": "r" * 1000}) for n in range(70))
    with pytest.raises(ValidationError, match="at most 65536"):
        RevisionSpec(bundle=BUNDLE, suppressions=entries)
