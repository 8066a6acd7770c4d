"""The verdict `unknown`: given where a bundle asks for it and nowhere else; answers, counts, records, mirror and replay agree."""

import hashlib
import json

import numpy as np
import pytest

from lifecycle.governance.replay.recompute import recompute
from lifecycle.governance.replay.replay import differences
from operators.rollout.evidence import Tally
from operators.rollout.judging.gates import pairs
from operators.rollout.spec import Gate, GateName
from serving.audit.encoding import decode_record, encode_record
from serving.errors import BadRequest
from serving.messages import InferRequest, Tensor
from serving.models.bundle import read_bundle
from tests.unit.serving.scoring.variants import World, request, spec, tensors, threat, variant

WHOLE = {"attack_from": 0.4, "benign_to": 0.6, "attack": 100, "benign": 100}
ASKED = {"error": 0.05, "unknown": True, "whole": WHOLE}
FIELDS = [{"name": "level", "datatype": "FP32"}, {"name": "proto", "datatype": "BYTES"}]
NARROW = {"attack_from": 0.49, "benign_to": 0.51, "attack": 30, "benign": 30}
LEVELS = [2.0, -3.0, 0.1, -0.1]  # scores 0.88, 0.05, 0.52, 0.48: alert, benign, investigate, benign
PLAIN, TOLD = ["alert", "benign", "investigate", "benign"], ["alert", "benign", "unknown", "unknown"]


def world_of(folder, *bundles):
    world = World(folder)
    for bundle in bundles:
        world.store.add(bundle)
    return world


def verdicts(answer):
    return [v.decode() for v in next(o for o in answer.outputs if o.name == "verdict").data.tolist()]


async def test_rows_between_the_bounds_are_unknown_one_by_one_and_together(tmp_path):
    bundle = threat(tmp_path / "b", "1", conformal=ASKED)
    world = world_of(tmp_path, bundle)
    await world.service.apply(spec(bundle))
    assert verdicts(await world.service.infer(request(*"abcd", level=LEVELS))) == TOLD
    assert [verdicts(await world.service.infer(request("a", level=level)))[0] for level in LEVELS] == TOLD
    assert verdicts(await world.service.infer(tensors(*LEVELS))) == TOLD
    counted = {labels[-2]: n for labels, n in world.series()["vedette_verdicts_total"].items()}
    assert counted == {"alert": 3, "benign": 3, "investigate": 0, "unknown": 6}
    assert list(decode_record(encode_record(world.audit.records[0])).verdicts) == TOLD


async def test_a_bundle_that_does_not_ask_never_says_it(tmp_path):
    silent = threat(tmp_path / "b", "1", conformal={**ASKED, "unknown": False})
    world = world_of(tmp_path, silent)
    await world.service.apply(spec(silent))
    assert verdicts(await world.service.infer(request(*"abcd", level=LEVELS))) == PLAIN
    assert world.variants.stable.revision.unknown is None
    assert not any("unknown" in labels for labels in world.series()["vedette_verdicts_total"])


async def test_an_alert_stays_one_unless_declared(tmp_path):
    wide = {**WHOLE, "benign_to": 0.95}
    keeps = threat(tmp_path / "k", "1", conformal={**ASKED, "whole": wide})
    gives = threat(tmp_path / "g", "2", conformal={**ASKED, "whole": wide, "over_alerts": True})
    for bundle, first in ((keeps, "alert"), (gives, "unknown")):
        world = world_of(tmp_path / bundle.manifest.version, bundle)
        await world.service.apply(spec(bundle))
        assert verdicts(await world.service.infer(request("a", level=2.0))) == [first]
        assert verdicts(await world.service.infer(request("a", "b", level=2.0))) == [first] * 2


async def test_a_set_that_holds_neither_class_is_unknown_too(tmp_path):
    bundle = threat(tmp_path / "b", "1", conformal={**ASKED, "whole": {**WHOLE, "attack_from": 0.6, "benign_to": 0.4}})
    world = world_of(tmp_path, bundle)
    await world.service.apply(spec(bundle))
    assert verdicts(await world.service.infer(request(*"abcd", level=LEVELS))) == TOLD


async def test_sets_are_answered_on_request(tmp_path):
    bundle = threat(tmp_path / "b", "1", conformal={**ASKED, "unknown": False})
    plain = threat(tmp_path / "p", "2")
    world = world_of(tmp_path, bundle, plain)
    await world.service.apply(spec(bundle, variant(plain, weight=50)))
    hosts = [f"10.0.0.{i}" for i in range(8)]
    answer = await world.service.infer(request(*hosts, level=LEVELS * 2, outputs=("verdict", "conformal_set")))
    (sets,) = [o.data.tolist() for o in answer.outputs if o.name == "conformal_set"]
    assert sets == [b"attack", b"benign", b"benign,attack", b"benign,attack"] * 2, "by stable alone: the other has none"
    assert "conformal_set" not in [o.name for o in (await world.service.infer(request("a"))).outputs]
    with pytest.raises(BadRequest, match="conformal_set"):
        await world.service.infer(request("a", variant="candidate", outputs=("conformal_set",)))


def by_group(*protos, levels):
    inputs = (
        Tensor("host", "BYTES", np.array([b"h"] * len(levels), dtype=object)),
        Tensor("level", "FP32", np.array(levels, np.float32)),
        Tensor("proto", "BYTES", np.array([p.encode() for p in protos], dtype=object)),
    )
    return InferRequest("threat", None, inputs)


async def test_bounds_are_those_of_the_rows_group(tmp_path):
    asked = {**ASKED, "group": "proto", "groups": {"udp": NARROW}}
    bundle = threat(tmp_path / "b", "1", request_fields=FIELDS, conformal=asked)
    world = world_of(tmp_path, bundle)
    await world.service.apply(spec(bundle))
    answer = await world.service.infer(by_group("udp", "tcp", "sctp", levels=[0.1, 0.1, 0.1]))
    assert verdicts(answer) == ["investigate", "unknown", "unknown"], "a group without bounds of its own has those of all rows"
    assert verdicts(await world.service.infer(by_group("udp", levels=[0.1]))) == ["investigate"]
    assert verdicts(await world.service.infer(tensors(0.1))) == ["unknown"], "a tensor names no group"


async def test_the_record_says_so_and_replays(tmp_path):
    asked = {**ASKED, "group": "proto", "groups": {"udp": NARROW}}
    bundle = threat(tmp_path / "b", "1", request_fields=FIELDS, conformal=asked)
    world = world_of(tmp_path, bundle)
    await world.service.apply(spec(bundle))
    await world.service.infer(by_group("udp", "tcp", "tcp", levels=[0.1, 0.1, 2.0]))
    line = encode_record(world.audit.records[-1])
    assert json.loads(line)["verdicts"] == ["investigate", "unknown", "alert"]
    record, revision = decode_record(line), world.variants.stable.revision
    (again,) = recompute(revision, [record])
    assert differences(revision, record, again) == []
    changed = decode_record(line.replace(b'"unknown"', b'"benign"'))
    (difference,) = differences(revision, changed, recompute(revision, [changed])[0])
    assert (difference.row, difference.field) == (1, "verdicts")


async def test_a_mirrored_candidate_that_says_unknown_is_compared(tmp_path):
    stable = threat(tmp_path / "1", "1")
    candidate = threat(tmp_path / "2", "2", conformal=ASKED)
    world = world_of(tmp_path, stable, candidate)
    await world.service.apply(spec(stable, variant(candidate, mirror=100)))
    await world.service.infer(request(*"abcd", level=LEVELS))
    await world.mirror.drained()
    counted = {(labels[3], labels[1]): int(n) for labels, n in world.series()["vedette_evidence_pairs_total"].items()}
    assert counted == {("alert", "alert"): 1, ("benign", "benign"): 1, ("investigate", "unknown"): 1, ("benign", "unknown"): 1}
    tally = Tally(pairs={f"{a}>{b}": n for (a, b), n in counted.items()})
    assert pairs(tally, Gate(name=GateName.FLIPS)).up == 1, "for an analyst, as `investigate` is"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param(
            {"conformal": {**ASKED, "group": "proto"}}, "is not a request field", id="a group that clients do not send"
        ),
        pytest.param({"conformal": {**ASKED, "groups": {"udp": NARROW}}}, "need conformal.group", id="groups without a field"),
    ],
)
def test_a_bundle_that_contradicts_itself_is_refused(tmp_path, changes, words):
    with pytest.raises(Exception, match=words):
        threat(tmp_path / "b", "1", **changes)


def test_a_bundle_made_before_there_were_sets_is_read_as_it_was(tmp_path):
    bundle = threat(tmp_path / "b", "1")
    path = bundle.folder / "bundle.json"
    body = json.loads(path.read_text(encoding="utf-8"))
    del body["conformal"]
    path.write_text(json.dumps(body), encoding="utf-8")
    again = read_bundle(bundle.folder)
    assert again.manifest == bundle.manifest
    assert again.digest == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
