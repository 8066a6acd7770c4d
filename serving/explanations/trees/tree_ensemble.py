"""Decision trees as ONNX has them (TreeEnsembleRegressor, TreeEnsembleClassifier, and TreeEnsemble of ai.onnx.ml 5) as flat arrays.

Reads a node's attributes; what comes before and after the trees is score_path's, what is computed from them tree_shap's."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

TREE_OPERATORS: Final = frozenset({"TreeEnsembleRegressor", "TreeEnsembleClassifier", "TreeEnsemble"})
MODES: Final = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ", "BRANCH_MEMBER")
"""Conditions of a node by their code, which is TreeEnsemble's own."""
_LEAF: Final = 100
_UNREAD: Final = 101
_CODES: Final = {**{mode: code for code, mode in enumerate(MODES)}, "LEAF": _LEAF}
_NONE: Final = -1
_TREE: Final = 1 << 32


class NotTrees(Exception):
    """The node's trees are of a kind that is not read; the message says which."""


@dataclass(frozen=True, slots=True)
class TreeEnsemble:
    """All trees of one node of the graph. Every node of every tree has one place in arrays of shape (m,).

    feature, threshold, mode, missing_is_true: the condition of an inner node. when_true, when_false: places of the children, -1 in a leaf.
    parent: -1 in a root. cover: training rows that came by, None where the graph does not say. weights: what a leaf adds to each
    target, shape (m, targets), 0 in inner nodes. base: shape (targets,). members: by place, the set of a BRANCH_MEMBER."""

    feature: Indices
    threshold: Floats
    mode: NDArray[np.int8]
    missing_is_true: NDArray[np.bool_]
    when_true: Indices
    when_false: Indices
    parent: Indices
    cover: Floats | None
    weights: Floats
    base: Floats
    members: Mapping[int, Floats]

    @property
    def is_leaf(self) -> NDArray[np.bool_]:
        """Shape (m,)."""
        return self.when_true < 0

    def holds(self, values: Floats, places: Indices) -> NDArray[np.bool_]:
        """Whether the conditions of inner nodes hold. values: of each node's feature, shape (len(places), n), as the answer."""
        threshold, mode = self.threshold[places][:, None], self.mode[places]
        found = values <= threshold
        if mode.any():
            for code in np.unique(mode[mode != 0]):
                rows = np.flatnonzero(mode == code)
                found[rows] = self._compare(int(code), values[rows], threshold[rows], places[rows])
        missing = np.isnan(values)
        if missing.any():
            found |= missing & self.missing_is_true[places][:, None]
        return found

    def _compare(self, code: int, values: Floats, threshold: Floats, places: Indices) -> NDArray[np.bool_]:
        match MODES[code]:
            case "BRANCH_LT":
                return np.asarray(values < threshold)
            case "BRANCH_GTE":
                return np.asarray(values >= threshold)
            case "BRANCH_GT":
                return np.asarray(values > threshold)
            case "BRANCH_EQ":
                return np.asarray(values == threshold)
            case "BRANCH_NEQ":
                return np.asarray(values != threshold)
            case _:
                return np.stack([np.isin(v, self.members[int(p)]) for v, p in zip(values, places, strict=True)])

    def levels(self) -> list[Indices]:
        """Places of the nodes by depth, roots first."""
        found, level = [], np.flatnonzero(self.parent < 0)
        while len(level):
            found.append(level)
            inner = level[~self.is_leaf[level]]
            level = np.concatenate([self.when_true[inner], self.when_false[inner]])
        return found

    def leaves_of(self, matrix: Floats) -> Indices:
        """Places of the leaves that rows reach. matrix: shape (n, features). Gives shape (trees, n)."""
        at = np.repeat(np.flatnonzero(self.parent < 0)[:, None], len(matrix), axis=1)
        while True:
            tree, row = np.nonzero(~self.is_leaf[at])
            if not len(tree):
                return at
            places = at[tree, row]
            holds = self.holds(matrix[row, self.feature[places]][:, None], places)[:, 0]
            at[tree, row] = np.where(holds, self.when_true[places], self.when_false[places])

    def margins(self, matrix: Floats) -> Floats:
        """What the leaves add up to, without base and link function. matrix: shape (n, features). Gives shape (n, targets)."""
        return np.asarray(self.weights[self.leaves_of(matrix)].sum(axis=0))

    def counted_on(self, matrix: Floats) -> "TreeEnsemble":
        """The same trees with covers counted on rows of shape (n, features)."""
        cover = np.bincount(self.leaves_of(matrix).ravel(), minlength=len(self.parent)).astype(np.float64)
        for level in reversed(self.levels()):
            below = level[self.parent[level] >= 0]
            np.add.at(cover, self.parent[below], cover[below])
        return replace(self, cover=cover)


def read_trees(operator: str, attributes: Mapping[str, Any]) -> TreeEnsemble:
    """The trees of a node of the graph. Raises NotTrees if they are of a kind that is not read."""
    try:
        return _of_tensors(attributes) if operator == "TreeEnsemble" else _of_lists(operator, attributes)
    except (KeyError, IndexError, ValueError, TypeError) as problem:
        raise NotTrees(f"{operator}: its attributes do not fit together ({type(problem).__name__}: {problem})") from problem


def _of_lists(operator: str, attributes: Mapping[str, Any]) -> TreeEnsemble:
    """TreeEnsembleRegressor and TreeEnsembleClassifier: nodes named by tree and number, leaves among them."""

    def listed(name: str, default: float | None = None) -> Floats:
        found = attributes.get(f"{name}_as_tensor", attributes.get(name))
        return np.full(len(names), default) if found is None or not len(found) else np.asarray(found, dtype=np.float64)

    tree_ids = np.asarray(attributes["nodes_treeids"], dtype=np.int64)
    names = tree_ids * _TREE + np.asarray(attributes["nodes_nodeids"], dtype=np.int64)
    order = np.argsort(names, kind="stable")

    def places_of(trees: Any, nodes: Any) -> Indices:
        wanted = np.asarray(trees, dtype=np.int64) * _TREE + np.asarray(nodes, dtype=np.int64)
        found = order[np.minimum(np.searchsorted(names, wanted, sorter=order), len(order) - 1)]
        if not np.array_equal(names[found], wanted):
            raise NotTrees(f"{operator}: a node refers to a node that does not exist")
        return found

    modes = np.array([_CODES.get(str(mode), _UNREAD) for mode in attributes["nodes_modes"]], dtype=np.int8)
    inner = modes != _LEAF
    when_true, when_false = (np.full(len(names), _NONE, dtype=np.intp) for _ in range(2))
    for children, attribute in ((when_true, "nodes_truenodeids"), (when_false, "nodes_falsenodeids")):
        children[inner] = places_of(tree_ids[inner], np.asarray(attributes[attribute])[inner])
    kind = "class" if operator == "TreeEnsembleClassifier" else "target"
    labels = attributes.get("classlabels_int64s") or attributes.get("classlabels_strings") or ()
    targets = len(labels) if kind == "class" else int(attributes.get("n_targets", 1))
    weights = np.zeros((len(names), targets))
    leaves = places_of(attributes[f"{kind}_treeids"], attributes[f"{kind}_nodeids"])
    np.add.at(weights, (leaves, np.asarray(attributes[f"{kind}_ids"], dtype=np.intp)), listed(f"{kind}_weights"))
    return _checked(
        feature=np.asarray(attributes["nodes_featureids"], dtype=np.intp), threshold=listed("nodes_values"), mode=modes,
        missing_is_true=listed("nodes_missing_value_tracks_true", 0) != 0, when_true=when_true, when_false=when_false,
        cover=listed("nodes_hitrates", 1), weights=weights, base=_base(attributes, targets), members={},
        aggregate=str(attributes.get("aggregate_function", "SUM")),
    )  # fmt: skip


def _of_tensors(attributes: Mapping[str, Any]) -> TreeEnsemble:
    """TreeEnsemble: inner nodes by their index, leaves apart. A leaf gets a place for each edge that leads to it."""
    feature = np.asarray(attributes["nodes_featureids"], dtype=np.intp)
    inner, targets = len(feature), int(attributes.get("n_targets", 1))
    children, leaves, total = [], [], inner
    for side in ("true", "false"):
        ids = np.asarray(attributes[f"nodes_{side}nodeids"], dtype=np.intp)
        to_leaf = np.asarray(attributes[f"nodes_{side}leafs"]) != 0
        places = ids.copy()
        places[to_leaf] = total + np.arange(to_leaf.sum())
        total += int(to_leaf.sum())
        leaves.append(ids[to_leaf])
        children.append(places)
    leaf = np.concatenate(leaves)
    weights = np.zeros((total, targets))
    weights[inner + np.arange(len(leaf)), np.asarray(attributes["leaf_targetids"], dtype=np.intp)[leaf]] = np.asarray(
        attributes["leaf_weights"], dtype=np.float64
    )[leaf]

    def padded(values: Any, fill: float) -> NDArray[Any]:
        return np.concatenate([np.asarray(values), np.full(total - inner, fill)])

    mode = np.asarray(attributes["nodes_modes"], dtype=np.int8)
    missing = attributes.get("nodes_missing_value_tracks_true") or np.zeros(inner)
    return _checked(
        feature=padded(feature, 0).astype(np.intp), threshold=padded(attributes["nodes_splits"], 0).astype(np.float64),
        mode=padded(mode, _LEAF).astype(np.int8), missing_is_true=padded(missing, 0) != 0,
        when_true=padded(children[0], _NONE).astype(np.intp), when_false=padded(children[1], _NONE).astype(np.intp),
        cover=np.ones(total), weights=weights, base=np.zeros(targets),
        members=_members(np.flatnonzero(mode == MODES.index("BRANCH_MEMBER")), attributes.get("membership_values")),
        aggregate=("AVERAGE", "SUM", "MIN", "MAX")[int(attributes.get("aggregate_function", 1))],
    )  # fmt: skip


def _members(places: Indices, values: Any) -> dict[int, Floats]:
    """The sets of BRANCH_MEMBER nodes in their order: one list, each set ended by NaN."""
    if not len(places):
        return {}
    every = np.asarray(values, dtype=np.float64)
    sets = np.split(every, np.flatnonzero(np.isnan(every)))
    return {int(place): found[~np.isnan(found)] for place, found in zip(places, sets[: len(places)], strict=True)}


def _base(attributes: Mapping[str, Any], targets: int) -> Floats:
    found = attributes.get("base_values_as_tensor", attributes.get("base_values"))
    base = np.zeros(targets)
    if found is not None and len(found):
        base[: len(found)] = found  # one for two classes: score_path knows whose it is
    return base


def _checked(*, aggregate: str, cover: Floats, weights: Floats, **parts: Any) -> TreeEnsemble:
    when_true, when_false, mode = parts["when_true"], parts["when_false"], parts["mode"]
    inner = np.flatnonzero(mode != _LEAF)
    sizes = {len(array) for array in (cover, weights, *(a for name, a in parts.items() if name not in ("base", "members")))}
    if len(sizes) != 1:
        raise NotTrees(f"the lists of its nodes do not fit together: they hold {sorted(sizes)} entries")
    if (mode == _UNREAD).any():
        raise NotTrees(f"a node's condition is not one of {', '.join(MODES)}")
    if aggregate not in ("SUM", "AVERAGE"):
        raise NotTrees(f"the trees are combined by {aggregate}, expected SUM or AVERAGE")
    children = np.concatenate([when_true[inner], when_false[inner]])
    if len(np.unique(children)) != len(children):
        raise NotTrees("a node has two parents")
    parent = np.full(len(mode), _NONE, dtype=np.intp)
    parent[children] = np.concatenate([inner, inner])
    if not len(mode) or not (parent < 0).any():
        raise NotTrees("it has no tree")
    roots = int((parent < 0).sum())
    parts["mode"] = np.where(mode == _LEAF, 0, mode).astype(np.int8)
    found = TreeEnsemble(**parts, parent=parent, cover=cover, weights=weights / (roots if aggregate == "AVERAGE" else 1))
    if sum(len(level) for level in found.levels()) != len(mode):
        raise NotTrees("the nodes form a cycle")
    return found if _is_count(found, inner) else replace(found, cover=None)


def _is_count(trees: TreeEnsemble, inner: Indices) -> bool:
    """Whether `nodes_hitrates` counts rows: what comes by a node goes to one of its children."""
    cover = trees.cover
    if cover is None or not (cover > 0).all() or not len(inner):
        return False
    return bool(np.allclose(cover[trees.when_true[inner]] + cover[trees.when_false[inner]], cover[inner], rtol=1e-4))
