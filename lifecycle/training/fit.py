"""Fitting: columns to a matrix, a matrix to a gradient-boosted model. The one user of LightGBM.

Deterministic: the same rows, parameters and seed give the same trees, whatever the hash seed or the load of the machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lifecycle.datasets.detector import ModelSpec
from lifecycle.errors import DetectorError
from lifecycle.no_scikit_learn import no_scikit_learn

with no_scikit_learn():
    import lightgbm

Matrix = NDArray[np.float32]
UNKNOWN: Final = -1.0
_FIXED: Final = {
    "objective": "binary", "verbose": -1, "num_threads": 1, "deterministic": True, "force_row_wise": True, "use_missing": False,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Encoding:
    """How columns become a matrix: text columns first, by code, then the numbers.

    codes: text column -> value -> code, in the order of the values; a value that is not there is UNKNOWN."""

    codes: Mapping[str, Mapping[str, float]]
    numbers: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The matrix's columns in order."""
        return (*self.codes, *self.numbers)

    def matrix(self, frame: Any) -> Matrix:
        """Shape (n, len(columns)), float32: what the ONNX graph computes from the same columns."""
        text = [frame[c].map(codes).fillna(UNKNOWN).to_numpy(dtype=np.float32) for c, codes in self.codes.items()]
        return np.column_stack([*text, *(frame[c].to_numpy(dtype=np.float32) for c in self.numbers)]).astype(np.float32)


def encoding_of(frame: Any, columns: Sequence[str]) -> Encoding:
    """Codes from the training rows; the text columns are those with values of dtype object."""
    text = [c for c in columns if frame[c].dtype == object]
    codes = {c: {v: float(i) for i, v in enumerate(sorted(set(frame[c].astype(str).tolist())))} for c in text}
    return Encoding(codes, tuple(c for c in columns if c not in text))


@dataclass(frozen=True, slots=True)
class Fitted:
    """The boosters whose margins are averaged."""

    boosters: tuple[Any, ...]

    def margins(self, matrix: Matrix) -> NDArray[np.float64]:
        """Log-odds, shape (n,)."""
        return np.asarray(
            np.mean([b.predict(matrix, raw_score=True, num_threads=1) for b in self.boosters], axis=0), dtype=np.float64
        )

    @property
    def trees(self) -> int:
        """Trees of the member that has most."""
        return max(int(b.num_trees()) for b in self.boosters)

    def scores(self, matrix: Matrix) -> NDArray[np.float64]:
        """The logistic of the margin, shape (n,)."""
        return np.asarray(1.0 / (1.0 + np.exp(-self.margins(matrix))), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class FittedFamilies:
    """What names the family of an attack. names: in the order of the classes."""

    names: tuple[str, ...]
    booster: Any

    def probabilities(self, matrix: Matrix) -> NDArray[np.float64]:
        """Of each family, should the row be an attack; shape (n, len(names)), rows sum to 1."""
        return np.asarray(self.booster.predict(matrix, num_threads=1), dtype=np.float64)


def fit_families(
    spec: ModelSpec, families: Mapping[str, Sequence[str]], matrix: Matrix, kind: NDArray[np.object_], seed: int
) -> FittedFamilies:
    """Fit on attack rows only. families: name -> types. kind: the type of each row, shape (n,); rows of no family are left out.

    Types weigh as in the score. Raises DetectorError if fewer than two families have rows, or LightGBM refuses its parameters."""
    seen = set(kind.tolist())
    names = tuple(name for name, kinds in families.items() if seen & set(kinds))
    if len(names) < 2:
        raise DetectorError(f"model.family_trees: only the families {list(names)} have rows, two or more are needed")
    code_of = {k: names.index(name) for name in names for k in families[name]}
    codes = np.array([code_of.get(k, -1) for k in kind.tolist()])
    rows = codes >= 0
    weights = row_weights(spec, np.ones(len(kind), dtype=bool), kind, benign=float(len(kind)))
    dataset = lightgbm.Dataset(matrix[rows], codes[rows], weight=weights[rows], params={"verbose": -1})
    told = {**spec.parameters, **_FIXED, "objective": "multiclass", "num_class": len(names), "seed": seed}
    try:
        return FittedFamilies(names, lightgbm.train(told, dataset, num_boost_round=spec.family_trees))
    except lightgbm.basic.LightGBMError as problem:
        raise DetectorError(f"model.parameters: LightGBM refuses them for the families: {problem}") from problem


def fit(
    spec: ModelSpec,
    matrix: Matrix,
    attack: NDArray[np.bool_],
    kind: NDArray[np.object_] | None,
    seed: int,
    *,
    given: NDArray[np.float64] | None = None,
    start: Fitted | None = None,
    trees: int | None = None,
) -> Fitted:
    """Fit the declared model. given: how many rows each stands for, shape (n,); None: one.

    start: trees that are kept and added to, of as many members; trees: how many are fitted (default: as declared). Raises DetectorError if
    LightGBM refuses its parameters."""
    weights = row_weights(spec, attack, kind, given=given)
    before = [None] * spec.members if start is None else start.boosters
    if len(before) != spec.members:
        raise DetectorError(f"model.members is {spec.members}, but the model to continue has {len(before)}; train it in full")
    rounds = spec.trees if trees is None else trees
    return Fitted(
        tuple(
            _one(spec, matrix, attack, weights, seed * 1000 + member, rounds, booster) for member, booster in enumerate(before)
        )
    )


def _one(
    spec: ModelSpec,
    matrix: Matrix,
    attack: NDArray[np.bool_],
    weights: NDArray[np.float64],
    seed: int,
    rounds: int,
    start: Any,
) -> Any:
    made_up = contrast(matrix[~attack], int(spec.contrast * (~attack).sum()), np.random.default_rng(seed))
    labels = np.concatenate([attack, np.ones(len(made_up), dtype=bool)]).astype(np.float32)
    every = np.concatenate([weights, np.ones(len(made_up))])
    rows = np.concatenate([matrix, made_up])
    dataset = lightgbm.Dataset(rows, labels, weight=every, params={"verbose": -1}, free_raw_data=start is None)
    try:
        return lightgbm.train({**spec.parameters, **_FIXED, "seed": seed}, dataset, num_boost_round=rounds, init_model=start)
    except lightgbm.basic.LightGBMError as problem:
        raise DetectorError(f"model.parameters: LightGBM refuses them: {problem}") from problem


def row_weights(
    spec: ModelSpec,
    attack: NDArray[np.bool_],
    kind: NDArray[np.object_] | None,
    benign: float | None = None,
    given: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Shape (n,); benign rows weigh what is given of them, or 1. benign: what all attacks weigh together; None: as much as the benign rows.

    given: how many rows a row stands for; the balance holds between classes and types of so many rows."""
    counts = np.ones(len(attack)) if given is None else given
    factors = np.ones(len(attack))
    if spec.balance == "none" or not attack.any():
        return counts * factors
    benign = float(counts[~attack].sum()) if benign is None else benign
    if spec.balance == "types" and kind is not None:
        factors[attack] = benign * even_over_types(kind[attack], counts[attack]) / counts[attack]
    else:
        factors[attack] = benign / counts[attack].sum()
    return np.asarray(counts * np.minimum(factors, spec.balance_cap), dtype=np.float64)


def even_over_types(kind: NDArray[np.object_], given: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Weights that sum to 1 and give every type the same part. kind: shape (n,). given: how many rows a row stands for, within its type."""
    counts = np.ones(len(kind)) if given is None else given
    names, which = np.unique(kind.astype(str), return_inverse=True)
    totals = np.bincount(which, weights=counts)
    return np.asarray(counts / (totals[which] * len(names)), dtype=np.float64)


def contrast(benign: Matrix, rows: int, rng: np.random.Generator) -> Matrix:
    """Made-up rows whose columns are drawn one by one from benign rows, so that they break what ties benign columns together.

    Source: Hastie, Tibshirani & Friedman (2009), "The Elements of Statistical Learning", 14.2.4: unsupervised as supervised."""
    made_up = np.empty((rows, benign.shape[1]), dtype=np.float32)
    for column in range(benign.shape[1]):
        made_up[:, column] = benign[rng.integers(0, len(benign), rows), column]
    return made_up


def fitted_as_text(encoding: Encoding, fitted: Fitted) -> dict[str, Any]:
    """An encoding and its trees as plain JSON values: LightGBM's own text of each member."""
    return {
        "codes": {column: dict(codes) for column, codes in encoding.codes.items()},
        "numbers": list(encoding.numbers),
        "boosters": [booster.model_to_string(num_iteration=-1) for booster in fitted.boosters],
    }


def fitted_from_text(body: Mapping[str, Any]) -> tuple[Encoding, Fitted]:
    """Read back what `fitted_as_text` made. Raises DetectorError for text that is no model."""
    try:
        boosters = tuple(lightgbm.Booster(model_str=text) for text in body["boosters"])
        return Encoding(body["codes"], tuple(body["numbers"])), Fitted(boosters)
    except (lightgbm.basic.LightGBMError, KeyError, TypeError) as problem:
        raise DetectorError(f"the kept trees cannot be read: {problem}") from problem
