"""The bad candidates are what they claim to be, and a probe passes all but one: what goes wrong is for the gates to find."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from operators.cli.demo import candidates
from serving.models.build import build_bundle
from serving.models.errors import BundleError, RunError
from serving.models.onnx import OnnxModel
from serving.models.probe import probe
from serving.models.store import BundleStore

WIDTH = 6
ROWS = np.random.default_rng(2).normal(size=(400, WIDTH)).astype(np.float32)


def _graph() -> bytes:
    weights = np.linspace(-1, 1, WIDTH, dtype=np.float32)[:, None]
    nodes = [
        helper.make_node("MatMul", ["features", "weights"], ["margin"]),
        helper.make_node("Sigmoid", ["margin"], ["attack"]),
        helper.make_node("Sub", ["one", "attack"], ["benign"]),
        helper.make_node("Concat", ["benign", "attack"], ["probabilities"], axis=1),
    ]
    constants = {"weights": weights, "one": np.float32(1), "last": np.array([1], np.int64)}
    graph = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, WIDTH])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2])],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()],
    )
    return bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())


@pytest.fixture
def store(tmp_path):
    return BundleStore(tmp_path / "store")


@pytest.fixture
def stable(tmp_path, store):
    made = build_bundle(
        tmp_path / "made",
        model=_graph(),
        golden_inputs={"features": ROWS[:4]},
        name="toy",
        version="1",
        score={"output": "probabilities", "column": 1},
        operating_points={"siem_alerting": {"threshold": 0.9, "investigate": 0.8, "requirement": "by hand"}},
        default_operating_point="siem_alerting",
    )
    return store.read(store.add(made))


def share_of_failures(bundle) -> float:
    model, failed = OnnxModel(bundle.model_path), 0
    for row in ROWS:
        try:
            model.run({"features": row[None]})
        except RunError:
            failed += 1
    return failed / len(ROWS)


def test_one_fails_on_its_share_and_passes_the_probe(stable, store):
    made = candidates.failing(stable, ROWS, 0.1, store)
    probe(made)
    assert share_of_failures(stable) == 0
    assert 0.05 < share_of_failures(made) < 0.15


@pytest.mark.heavy
def test_one_is_slow_and_answers_as_before(stable, store):
    made = candidates.slow(stable, ROWS, 8.0, store)
    assert probe(made).latency_us > 10 * probe(stable).latency_us
    assert np.allclose(candidates._scores(made, ROWS[:20]), candidates._scores(stable, ROWS[:20]))


def test_one_floods_and_ranks_as_before(stable, store):
    made = candidates.flooding(stable, ROWS, 0.4, store)
    probe(made)
    assert candidates.alert_share(stable, ROWS) < 0.2
    assert 0.35 < candidates.alert_share(made, ROWS) < 0.45
    before, after = candidates._scores(stable, ROWS), candidates._scores(made, ROWS)
    assert (np.argsort(before, kind="stable")[-50:] == np.argsort(after, kind="stable")[-50:]).mean() > 0.9


def test_the_one_with_the_wrong_file_does_not_pass_the_probe(stable, store):
    made = candidates.mislabelled(stable, candidates.flooding(stable, ROWS, 0.4, store), store)
    with pytest.raises(BundleError, match="does not reproduce"):
        probe(made)


def test_each_gets_a_version_of_its_own(stable, store):
    made = [candidates.failing(stable, ROWS, 0.1, store), candidates.flooding(stable, ROWS, 0.4, store)]
    assert [b.manifest.version for b in made] == ["2", "3"]


def test_a_threshold_for_a_share_of_alerts(stable):
    threshold = candidates.threshold_for(stable, ROWS, 0.25)
    assert abs((candidates._scores(stable, ROWS) >= threshold).mean() - 0.25) < 0.02
