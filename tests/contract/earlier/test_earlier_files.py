"""Bundles and logs that earlier versions wrote are read by this one, and mean what they meant."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from lifecycle.governance.verify.run import Verification
from serving.app import compose
from serving.audit.encoding import decode_array
from serving.audit.keys.trust import Trust
from serving.audit.reader import read_records
from serving.audit.signed_note import VerifierKey
from serving.messages import InferRequest, Tensor
from serving.models.bundle import check_golden, read_bundle
from serving.models.onnx import OnnxModel
from serving.models.verdicts import scores_of, verdict_codes
from serving.settings import ServingSettings
from serving.store_layout import check_readable, read_layout

DATA = Path(__file__).parent / "data"
DIGESTS = {
    "simple": "sha256:255d2d80a9650b9d17e233396d563b66aac823e9503eb37fb68cd6cebdd6992a",
    "flows": "sha256:9e334f5bc0eea314e3f32ead88ed079d5cbdd7a6d69055a3884dde53603ed3ee",
}


SCORES = [0.524979, 0.178726, 0.890903]
"""Of the detector for (1, 2), (-3, 0.5) and (4, 0)."""


@pytest.mark.parametrize("name", DIGESTS)
def test_the_first_bundles_load_with_the_digest_that_they_had(name):
    bundle = read_bundle(DATA / "bundles" / name, DIGESTS[name])
    assert check_golden(bundle, OnnxModel(bundle.model_path)) > 0


def test_the_first_detector_gives_the_scores_and_verdicts_that_it_gave():
    bundle = read_bundle(DATA / "bundles" / "flows")
    manifest = bundle.manifest
    x = np.array([[1, 2], [-3, 0.5], [4, 0]], dtype=np.float32)
    scores = scores_of(OnnxModel(bundle.model_path).run({"x": x}), manifest.score, 3)
    assert scores.tolist() == pytest.approx(SCORES, abs=1e-5)
    assert verdict_codes(scores, manifest.operating_points["siem_alerting"]).tolist() == [1, 0, 2]
    assert (manifest.default_operating_point, sorted(manifest.operating_points)) == (
        "siem_alerting",
        ["siem_alerting", "triage"],
    )
    assert (manifest.lineage.seed, manifest.calibration.rows) == (7, 100)


@pytest.fixture
def store(tmp_path):
    """As the first version left it: bundles by digest, and pointers. It had no layout."""
    for name, version in (("simple", "1"), ("flows", "3")):
        shutil.copytree(DATA / "bundles" / name, tmp_path / "bundles" / DIGESTS[name].removeprefix("sha256:"))
        pointer = tmp_path / "models" / name / f"{version}.json"
        pointer.parent.mkdir(parents=True)
        pointer.write_text(json.dumps({"digest": DIGESTS[name]}))
    return tmp_path


@pytest.mark.integration
async def test_a_replica_on_a_store_from_before_layouts_answers_from_its_bundles(store):
    check_readable(store)
    assert read_layout(store) == 0
    composed = await compose(ServingSettings(store_dir=store))
    try:
        await composed.service.apply(composed.fallback())
        ones = np.ones((1, 16), np.int32)
        inputs = Tensor("INPUT0", "INT32", ones), Tensor("INPUT1", "INT32", 2 * ones)
        sums = await composed.service.infer(InferRequest("simple", None, inputs))
        assert {tensor.name: int(tensor.data[0, 0]) for tensor in sums.outputs} == {"OUTPUT0": 3, "OUTPUT1": -1}
        columns = {"packets": [1, -3, 4], "bytes": [2, 0.5, 0]}
        asked = tuple(Tensor(name, "FP32", np.array(values, np.float32)) for name, values in columns.items())
        answer = await composed.service.infer(InferRequest("flows", None, asked))
        judged = {tensor.name: tensor.data.tolist() for tensor in answer.outputs}
        assert judged["score"] == pytest.approx(SCORES, abs=1e-5)
        assert judged["verdict"] == [b"investigate", b"benign", b"alert"]
    finally:
        await composed.close()


@pytest.mark.parametrize("log", ["unchained", "chained"])
def test_the_records_of_the_first_logs_are_read_as_they_were_written(log):
    records = list(read_records(DATA / "logs" / log))
    assert [record.receipt for record in records] == ["r00000", "r00001", "r00002"]
    assert [decode_array(record.features["flows__count"]).tolist() for record in records] == [[3.0], [4.0], [5.0]]
    assert np.isnan(decode_array(records[0].features["flows__rate"])[0]), "a NaN comes back"
    first = records[0]
    assert (first.model, first.version, first.variant, first.verdicts, first.scores) == (
        "flows",
        "1",
        "stable",
        ["benign"],
        [0.25],
    )
    assert first.is_answer


def trust(log):
    """The key that signed the first chain is the only one that counts."""
    pinned = VerifierKey.parse((DATA / "logs" / "chained.pub").read_text().strip())
    return Trust.read(DATA / "logs" / log, [pinned])


def test_the_first_chain_is_sound_and_signed_by_the_key_it_had():
    report = Verification(1_800_000_000_000_000, lambda _: trust("chained")).verify(DATA / "logs" / "chained")
    assert not report.findings, [str(finding) for finding in report.findings]


def test_the_first_log_without_a_chain_is_said_to_have_none():
    report = Verification(1_800_000_000_000_000, lambda _: trust("unchained")).verify(DATA / "logs" / "unchained")
    assert report.findings or report.remarks
