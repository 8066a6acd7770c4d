"""Nodes of the merged score: each member's margin, its rank by the polygon of its table, and the mean or the k-th largest of the ranks.

A rank is share[0] + sum over the polygon's pieces of rise * clip((score - begin) / length, 0, 1): no branch and no look-up, so a batch
of rows costs one pass of k numbers a row and member."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from onnx import helper, numpy_helper

from lifecycle.training.ensemble.fitted import FittedEnsemble, FittedMember

TreesNode = Callable[[Sequence[Any], str, str], Any]
"""(boosters, name of the matrix, name of the output) -> node of their mean margin."""


def ensemble_nodes(fitted: FittedEnsemble, matrix: str, trees: TreesNode, output: str) -> tuple[list[Any], list[Any]]:
    """Nodes that make `output`, FP32 [-1, 1], of `matrix`, and their constants."""
    nodes: list[Any] = []
    constants = [_constant("rank_low", np.float32(0)), _constant("rank_high", np.float32(1))]
    names = []
    for number, member in enumerate(fitted.members):
        prefix = f"member_{number}"
        constants.append(_constant(f"{prefix}_places", np.array(member.places, dtype=np.int64)))
        nodes.append(helper.make_node("Gather", [matrix, f"{prefix}_places"], [f"{prefix}_matrix"], axis=1))
        raw = f"{prefix}_matrix"
        if member.model is not None:
            raw = f"{prefix}_margin"
            nodes.append(trees(member.model.boosters, f"{prefix}_matrix", raw))
        nodes += _rank(prefix, raw)
        constants += _table(prefix, member)
        names.append(f"{prefix}_rank")
    nodes.append(helper.make_node("Concat", names, ["ranks"], axis=1))
    if fitted.spec.rule == "mean_rank":
        constants.append(_constant("member_shares", fitted.shares.astype(np.float32).reshape(-1, 1)))
        nodes.append(helper.make_node("MatMul", ["ranks", "member_shares"], [output]))
    else:
        constants.append(_constant("votes", np.array([fitted.spec.k], dtype=np.int64)))
        constants.append(_constant("last_vote", np.array([fitted.spec.k - 1], dtype=np.int64)))
        nodes.append(helper.make_node("TopK", ["ranks", "votes"], ["largest", "largest_places"], axis=1))
        nodes.append(helper.make_node("Gather", ["largest", "last_vote"], [output], axis=1))
    return nodes, constants


def _rank(prefix: str, raw: str) -> list[Any]:
    return [
        helper.make_node("Sub", [raw, f"{prefix}_begins"], [f"{prefix}_beyond"]),
        helper.make_node("Div", [f"{prefix}_beyond", f"{prefix}_lengths"], [f"{prefix}_parts"]),
        helper.make_node("Clip", [f"{prefix}_parts", "rank_low", "rank_high"], [f"{prefix}_within"]),
        helper.make_node("MatMul", [f"{prefix}_within", f"{prefix}_rises"], [f"{prefix}_risen"]),
        helper.make_node("Add", [f"{prefix}_risen", f"{prefix}_first"], [f"{prefix}_rank"]),
    ]


def _table(prefix: str, member: FittedMember) -> list[Any]:
    knots, shares = member.table.knots, member.table.shares
    return [
        _constant(f"{prefix}_begins", knots[:-1].reshape(1, -1)),
        _constant(f"{prefix}_lengths", np.diff(knots).reshape(1, -1)),
        _constant(f"{prefix}_rises", np.diff(shares).reshape(-1, 1)),
        _constant(f"{prefix}_first", shares[:1].reshape(1, 1)),
    ]


def _constant(name: str, value: Any) -> Any:
    return numpy_helper.from_array(np.asarray(value), name)
