"""Shapley values of trees, against their definition: every coalition of columns, one by one."""

from itertools import combinations
from math import factorial
from typing import Any

import numpy as np
import pytest

from serving.explanations.trees.tree_ensemble import NotTrees, TreeEnsemble, read_trees
from serving.explanations.trees.tree_shap import CompiledTrees

pytestmark = pytest.mark.heavy

FEATURES = 5


def attributes_of_trees(
    rng: np.random.Generator, trees: int, depth: int, modes: tuple[str, ...] = ("BRANCH_LEQ",)
) -> dict[str, Any]:
    """Random trees in the form of a TreeEnsembleRegressor, with covers that add up."""
    nodes = (
        "treeids",
        "nodeids",
        "featureids",
        "values",
        "modes",
        "truenodeids",
        "falsenodeids",
        "hitrates",
        "missing_value_tracks_true",
    )
    leaves = ("treeids", "nodeids", "ids", "weights")
    found: dict[str, list[Any]] = {**{f"nodes_{k}": [] for k in nodes}, **{f"target_{k}": [] for k in leaves}}

    def add(tree: int, node: int, at: int, cover: int) -> int:
        is_leaf = at == depth or cover < 2 or (at > 0 and rng.random() < 0.2)
        left = int(rng.integers(1, cover)) if not is_leaf else 0
        row = (
            tree,
            node,
            int(rng.integers(FEATURES)),
            float(np.float32(rng.integers(-2, 3) / 2)),
            str(rng.choice(modes)),
            0,
            0,
            cover,
            int(rng.integers(2)),
        )
        for key, value in zip(list(found)[:9], row if not is_leaf else (*row[:4], "LEAF", *row[5:]), strict=True):
            found[key].append(value)
        if is_leaf:
            for key, value in zip(list(found)[9:], (tree, node, 0, float(np.float32(rng.normal()))), strict=True):
                found[key].append(value)
            return node + 1
        place = len(found["nodes_treeids"]) - 1
        found["nodes_truenodeids"][place] = node + 1
        after = add(tree, node + 1, at + 1, left)
        found["nodes_falsenodeids"][place] = after
        return add(tree, after, at + 1, cover - left)

    for tree in range(trees):
        add(tree, 0, 0, 1000)
    return {**found, "n_targets": 1}


def expectation(trees: TreeEnsemble, row: np.ndarray, known: set[int], column_of: np.ndarray) -> float:
    """Lundberg et al. (2020), algorithm 1."""

    def below(place: int) -> float:
        if trees.is_leaf[place]:
            return float(trees.weights[place, 0])
        left, right = int(trees.when_true[place]), int(trees.when_false[place])
        if int(column_of[trees.feature[place]]) in known:
            holds = trees.holds(np.array([[row[trees.feature[place]]]]), np.array([place]))[0, 0]
            return below(left if holds else right)
        assert trees.cover is not None
        return float((trees.cover[left] * below(left) + trees.cover[right] * below(right)) / trees.cover[place])

    return sum(below(int(root)) for root in np.flatnonzero(trees.parent < 0))


def shapley(trees: TreeEnsemble, row: np.ndarray, column_of: np.ndarray, columns: int) -> np.ndarray:
    found = np.zeros(columns)
    for column in range(columns):
        others = [c for c in range(columns) if c != column]
        for size in range(columns):
            weight = factorial(size) * factorial(columns - size - 1) / factorial(columns)
            for coalition in combinations(others, size):
                with_it = expectation(trees, row, {*coalition, column}, column_of)
                found[column] += weight * (with_it - expectation(trees, row, set(coalition), column_of))
    return found


def compiled(trees: TreeEnsemble, column_of: np.ndarray, columns: int, **options: Any) -> CompiledTrees:
    return CompiledTrees.of(trees, trees.weights[:, 0], column_of, columns, **options)


EVERY_MODE = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ")


@pytest.mark.parametrize(("modes", "column_of"), [
    pytest.param(("BRANCH_LEQ",), [0, 1, 2, 3, 4], id="a column for each feature"),
    pytest.param(EVERY_MODE, [0, 1, 2, 3, 4], id="every kind of condition"),
    pytest.param(("BRANCH_LEQ",), [0, 0, 1, 2, 1], id="columns of several features count as one: one-hot codes of a word"),
])  # fmt: skip
@pytest.mark.parametrize("table_bytes", [1 << 20, 2000, 0], ids=["from tables", "some from tables", "all integrated"])
def test_values_are_those_of_the_definition(modes: tuple[str, ...], column_of: list[int], table_bytes: int):
    rng = np.random.default_rng(4)
    trees = read_trees("TreeEnsembleRegressor", attributes_of_trees(rng, 2, 5, modes))
    columns = np.array(column_of)
    shap = compiled(trees, columns, 5, table_bytes=table_bytes)
    rows = np.round(rng.normal(size=(3, FEATURES)) * 2) / 2
    rows[0, 2] = np.nan
    for row, found in zip(rows, shap.shapley(rows), strict=True):
        np.testing.assert_allclose(found, shapley(trees, row, columns, 5), atol=1e-12)
        np.testing.assert_allclose(found, shap.shapley(row[None])[0], atol=1e-12)
        assert shap.base + found.sum() == pytest.approx(trees.margins(row[None])[0, 0], abs=1e-12)


def test_deep_paths_over_many_columns_are_as_exact():
    """A chain of 40 conditions on as many columns: the sum of the values and the base is the output."""
    depth = 40
    ids = np.arange(2 * depth + 1)
    is_inner = (ids % 2 == 0) & (ids < 2 * depth)
    cover = np.where(ids % 2 == 0, 2.0 * depth - ids + 2, 2.0)
    attributes = {
        "nodes_treeids": [0] * len(ids), "nodes_nodeids": ids, "nodes_featureids": ids // 2, "nodes_values": np.zeros(len(ids)),
        "nodes_modes": ["BRANCH_LEQ" if inner else "LEAF" for inner in is_inner], "nodes_truenodeids": np.where(is_inner, ids + 1, 0),
        "nodes_falsenodeids": np.where(is_inner, ids + 2, 0), "nodes_hitrates": cover, "n_targets": 1,
        "target_treeids": [0] * (depth + 1), "target_nodeids": ids[~is_inner], "target_ids": [0] * (depth + 1),
        "target_weights": np.linspace(-1, 1, depth + 1),
    }  # fmt: skip
    trees = read_trees("TreeEnsembleRegressor", attributes)
    rows = np.random.default_rng(1).normal(loc=1.5, size=(200, depth + 1))
    shap = compiled(trees, np.arange(depth + 1), depth + 1)
    np.testing.assert_allclose(shap.base + shap.shapley(rows).sum(axis=1), trees.margins(rows)[:, 0], atol=1e-12)


def test_covers_are_counted_on_rows_where_the_graph_has_none():
    attributes = attributes_of_trees(np.random.default_rng(2), 2, 3)
    trees = read_trees("TreeEnsembleRegressor", {**attributes, "nodes_hitrates": [1.0] * len(attributes["nodes_treeids"])})
    assert trees.cover is None
    rows = np.random.default_rng(3).normal(size=(50, FEATURES))
    counted = trees.counted_on(rows)
    assert counted.cover is not None
    assert (counted.cover[counted.parent < 0] == 50).all()
    inner = ~counted.is_leaf
    assert (counted.cover[counted.when_true[inner]] + counted.cover[counted.when_false[inner]] == counted.cover[inner]).all()
    shap = compiled(counted, np.arange(FEATURES), FEATURES)
    assert shap.base == pytest.approx(trees.margins(rows).mean(), abs=1e-12)
    assert np.isfinite(shap.shapley(rows)).all()


@pytest.mark.parametrize(("change", "says"), [
    pytest.param({"aggregate_function": "MAX"}, "expected SUM or AVERAGE", id="the largest of the trees"),
    pytest.param({"nodes_truenodeids": [99] * 100}, "do not fit|does not exist", id="a child that is not there"),
    pytest.param({"nodes_modes": ["BRANCH_ODD"] * 100}, "condition is not one of", id="a condition nobody knows"),
    pytest.param({"nodes_featureids": []}, "do not fit", id="lists of different lengths"),
])  # fmt: skip
def test_what_is_no_sum_of_trees_is_refused(change: dict[str, Any], says: str):
    attributes = attributes_of_trees(np.random.default_rng(5), 1, 3)
    size = len(attributes["nodes_treeids"])
    attributes.update({k: v[:size] if isinstance(v, list) else v for k, v in change.items()})
    with pytest.raises(NotTrees, match=says):
        read_trees("TreeEnsembleRegressor", attributes)
