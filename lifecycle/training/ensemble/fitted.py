"""A fitted ensemble: members and their tables of ranks; its scores in numpy are the reference that the graph is held against."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lifecycle.datasets.detector import ModelSpec
from lifecycle.datasets.ensemble_spec import EnsembleSpec
from lifecycle.errors import DetectorError
from lifecycle.training.ensemble.ranks import RankTable, rank_table
from lifecycle.training.fit import Encoding, Fitted, Matrix, fit
from serving.rules.declared.rules_spec import RULE_COLUMNS, RULES_SEVERITY

_SEEDS: Final = 7919
"""Members' seeds are so far apart."""


@dataclass(frozen=True, slots=True)
class FittedMember:
    """One member. places: of its columns in the matrix. model: None for the rules, whose score is their column."""

    name: str
    places: tuple[int, ...]
    model: Fitted | None
    table: RankTable
    weight: float = 1.0

    def raw(self, matrix: Matrix) -> NDArray[np.float64]:
        """Log-odds, or the severity of the rules; shape (n,)."""
        own = matrix[:, list(self.places)]
        return own[:, 0].astype(np.float64) if self.model is None else self.model.margins(own)


@dataclass(frozen=True, slots=True)
class FittedEnsemble:
    """Members, and how their ranks become one score."""

    spec: EnsembleSpec
    members: tuple[FittedMember, ...]

    @property
    def trees(self) -> int:
        """Trees of the member that has most."""
        return max(member.model.trees for member in self.members if member.model is not None)

    def ranks(self, matrix: Matrix) -> NDArray[np.float64]:
        """Shape (n, members)."""
        return np.column_stack([member.table.ranks(member.raw(matrix)) for member in self.members])

    def scores(self, matrix: Matrix) -> NDArray[np.float64]:
        """The merged score, shape (n,), within 0..1."""
        ranks = self.ranks(matrix)
        if self.spec.rule == "k_of_n":
            return np.asarray(np.sort(ranks, axis=1)[:, -self.spec.k], dtype=np.float64)
        return np.asarray(ranks @ self.shares, dtype=np.float64)

    @property
    def shares(self) -> NDArray[np.float64]:
        """What each member counts for in the mean; shape (members,), sums to 1."""
        weights = np.array([member.weight for member in self.members])
        return np.asarray(weights / weights.sum(), dtype=np.float64)


def fit_ensemble(
    spec: ModelSpec,
    encoding: Encoding,
    matrix: Matrix,
    attack: NDArray[np.bool_],
    kind: NDArray[np.object_] | None,
    seed: int,
    *,
    given: NDArray[np.float64] | None = None,
    rules_weight: float = 1.0,
    rules_vote_alone: bool = False,
) -> FittedEnsemble:
    """Fit each member on the training rows, and count its table of ranks on them.

    rules_vote_alone: models do not see the columns of rules unless they name them. Raises DetectorError."""
    ensemble = spec.ensemble
    if ensemble is None:
        raise DetectorError("model.ensemble is not declared")
    columns = encoding.columns
    hidden = set(RULE_COLUMNS) if rules_vote_alone else set[str]()
    members: list[FittedMember] = []
    for number, one in enumerate(ensemble.members):
        wanted = (RULES_SEVERITY,) if one.rules else one.columns or tuple(c for c in columns if c not in hidden)
        unknown = sorted(set(wanted) - set(columns))
        if unknown:
            raise DetectorError(
                f"model.ensemble: member {one.name!r} takes {unknown}; the model's inputs are {sorted(columns)}"
            )
        places = tuple(columns.index(c) for c in wanted)
        own = np.ascontiguousarray(matrix[:, list(places)])
        changes: dict[str, Any] = {"trees": one.trees or spec.trees, "parameters": one.parameters or spec.parameters}
        model = None
        if not one.rules:
            model = fit(spec.model_copy(update=changes), own, attack, kind, seed + _SEEDS * number, given=given)
        raw = own[:, 0].astype(np.float64) if model is None else model.margins(own)
        members.append(FittedMember(one.name, places, model, rank_table(raw), rules_weight if one.rules else 1.0))
    return FittedEnsemble(ensemble, tuple(members))
