"""Values of any model, against their definition; and how far they are off is said truly."""

from itertools import permutations

import numpy as np
import pytest

from serving.explanations.columns import InputColumns
from serving.explanations.lime import _RIDGE, _fit, lime
from serving.explanations.sampling import Game, kernel_shap, permutation_shap
from serving.models.manifest import Manifest, TensorSpec
from tests.fakes.clock import ManualClock


def manifest(*inputs: TensorSpec) -> Manifest:
    return Manifest(name="m", version="1", inputs=inputs, outputs=(), files={})


def scores_of(tensors: dict[str, np.ndarray], rows: int) -> np.ndarray:
    """Two inputs: three numbers that interact, and a word."""
    x, word = tensors["x"].astype(np.float64), tensors["word"][:, 0] == "evil"
    assert len(x) == rows
    return x[:, 0] * x[:, 1] + np.maximum(x[:, 2], 0) * (1 + word) + word


@pytest.fixture
def game() -> Game:
    rng = np.random.default_rng(2)
    others = {
        "x": rng.normal(size=(30, 3)).astype(np.float32),
        "word": rng.choice(np.array(["evil", "good", "so"], dtype=object), (30, 1)),
    }
    row = {"x": np.array([[1.5, -2.0, 0.7]], dtype=np.float32), "word": np.array([["evil"]], dtype=object)}
    specs = TensorSpec(name="x", datatype="FP32", shape=(-1, 3)), TensorSpec(name="word", datatype="BYTES", shape=(-1, 1))
    columns = InputColumns.of(manifest(*specs), others)
    return Game(columns, row, float(scores_of(row, 1)[0]), others, scores_of(others, 30), scores_of)


def definition(game: Game) -> np.ndarray:
    """The mean over all orders and all background rows of what a column adds when it is revealed."""
    size = len(game.columns.names)
    found, orders = np.zeros(size), list(permutations(range(size)))
    for order in orders:
        known = np.zeros((size + 1, size), dtype=bool)
        for step, column in enumerate(order):
            known[step + 1 :, column] = True
        scores = np.mean([game.value(known, np.full(size + 1, other)) for other in range(30)], axis=0)
        found[list(order)] += np.diff(scores) / len(orders)
    return found


def test_all_coalitions_on_all_rows_are_exact(game: Game):
    clock = ManualClock()
    found = kernel_shap(game, np.random.default_rng(0), until_s=clock.monotonic_s() + 1, clock=clock.monotonic_s)
    assert game.columns.names == ("x[0]", "x[1]", "x[2]", "word")
    assert (found.error, found.is_exact, found.runs) == (0.0, True, 30 * 16)
    np.testing.assert_allclose(found.values, definition(game), atol=1e-12)
    assert found.base + found.values.sum() == pytest.approx(game.score, abs=1e-12)


@pytest.mark.parametrize("method", [kernel_shap, pytest.param(permutation_shap, marks=pytest.mark.heavy)])
def test_without_time_the_error_is_told_and_is_true(game: Game, method):
    """Of 200 draws with no time at all, the mean is right and the errors are about as large as they claim."""
    clock, true = ManualClock(), definition(game)
    draws = []
    for seed in range(200):
        small = Game(game.columns, game.row, game.score, game.others, game.base_scores, _slowly(clock))
        draws.append(method(small, np.random.default_rng(seed), until_s=clock.monotonic_s(), clock=clock.monotonic_s))
    if method is permutation_shap:
        assert all(not d.is_exact and d.error > 0 for d in draws)
    for draw in draws:
        assert draw.base + draw.values.sum() == pytest.approx(game.score, abs=1e-9)
    off = np.array([np.abs(d.values - true).max() for d in draws])
    errors = np.array([d.error for d in draws])
    assert np.mean(off <= 3 * errors + 1e-9) > 0.95
    np.testing.assert_allclose(np.mean([d.values for d in draws], axis=0), true, atol=0.05)


def _slowly(clock: ManualClock):
    def run(tensors: dict[str, np.ndarray], rows: int) -> np.ndarray:
        clock.advance(10)
        return scores_of(tensors, rows)

    return run


def test_sampling_ends_early_when_the_values_are_known_well_enough(game: Game):
    clock = ManualClock()
    found = permutation_shap(game, np.random.default_rng(0), until_s=clock.monotonic_s() + 1, clock=clock.monotonic_s)
    assert found.error <= 0.02 * np.abs(found.values).max() + 1e-12
    np.testing.assert_allclose(found.values, definition(game), atol=5 * found.error)


def test_one_column_is_explained_by_itself():
    specs = (TensorSpec(name="x", datatype="FP32", shape=(-1,)),)
    others, row = {"x": np.array([1.0, 2.0], np.float32)}, {"x": np.array([5.0], np.float32)}
    columns = InputColumns.of(manifest(*specs), others)
    game = Game(columns, row, 5.0, others, np.array([1.0, 2.0]), lambda tensors, rows: tensors["x"].astype(np.float64))
    clock = ManualClock()
    for method in (kernel_shap, permutation_shap):
        found = method(game, np.random.default_rng(0), until_s=clock.monotonic_s() + 1, clock=clock.monotonic_s)
        assert (columns.names, found.values.tolist(), found.base) == (("x",), [3.5], 1.5)


def test_a_straight_line_is_found_by_lime_with_full_fidelity(game: Game):
    def line(tensors: dict[str, np.ndarray], rows: int) -> np.ndarray:
        return tensors["x"].astype(np.float64) @ np.array([2.0, 0.0, -1.0])

    others = {**game.others, "x": np.zeros((30, 3), np.float32)}
    straight = Game(game.columns, game.row, float(line(game.row, 1)[0]), others, line(others, 30), line)
    clock = ManualClock()
    found = lime(straight, np.random.default_rng(0), until_s=clock.monotonic_s() + 1, clock=clock.monotonic_s)
    np.testing.assert_allclose(found.values, [3.0, 0.0, -0.7, 0.0], atol=0.05)
    assert found.fidelity > 0.999
    assert found.error < 0.05


@pytest.mark.parametrize("rows", [8, 400])
def test_limes_normal_equations_give_what_least_squares_give(rows: int):
    """Twelve columns, so eight rows are too few without the ridge. The row itself is a sample of weight 1; the intercept has no ridge."""
    rng = np.random.default_rng(6)
    known, scores, weights = rng.random((rows, 12)) < 0.5, rng.random(rows), rng.random(rows)
    design = np.column_stack([np.ones(rows + 1), np.vstack([known, np.ones(12)])])
    root = np.sqrt(np.append(weights, 1.0))
    ridge = np.column_stack([np.zeros(12), np.sqrt(_RIDGE) * np.eye(12)])
    expected = np.linalg.lstsq(
        np.vstack([design * root[:, None], ridge]), np.concatenate([np.append(scores, 0.7) * root, np.zeros(12)]), rcond=None
    )[0]
    np.testing.assert_allclose(_fit(known, scores, weights, 0.7), expected, atol=1e-9)


def test_what_is_not_straight_has_a_low_fidelity(game: Game):
    clock = ManualClock()
    found = lime(game, np.random.default_rng(0), until_s=clock.monotonic_s() + 1, clock=clock.monotonic_s)
    assert found.fidelity < 0.9
    assert found.error == pytest.approx(abs(game.score - found.base - found.values.sum()))
