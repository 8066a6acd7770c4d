"""The bundle's files beside the graph: the training distribution for drift, and the inputs of the golden cases. Pure.

A sample rather than bins: every later test (PSI, KS, Wasserstein, MMD) can be made from it."""

import json
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lifecycle.training.export import tensors_of
from lifecycle.training.fit import Encoding
from serving.models.manifest import TensorSpec

SAMPLE_ROWS: Final = 1000
GOLDEN_ROWS: Final = 16
QUANTILES: Final = (0.0, 0.001, 0.01, *(i / 20 for i in range(1, 20)), 0.99, 0.999, 1.0)
"""Every 5 %, and the ends closer: a reason is often a value that hardly any training row has."""
STRINGS: Final = ("", "a", "vedette", "Ω")


def reference_files(
    encoding: Encoding,
    frame: Any,
    scores: NDArray[np.float32],
    attack: NDArray[np.bool_],
    seed: int,
    unseen: tuple[NDArray[np.float32], NDArray[np.bool_]] | None = None,
) -> dict[str, bytes]:
    """reference/sample.json (rows as columns, with score and label) and reference/summary.json (quantiles, most frequent values).

    unseen: scores and labels of rows that the model was not fitted on. Scores of training rows are more extreme than those of any later
    row, so answers are compared with these."""
    rows = np.sort(np.random.default_rng(seed).permutation(len(frame))[:SAMPLE_ROWS])
    part = frame.iloc[rows]
    sample: dict[str, Any] = {
        "columns": {c: _listed(part[c]) for c in encoding.columns},
        "score": [float(s) for s in scores[rows]],
        "attack": [bool(a) for a in attack[rows]],
    }
    if unseen is not None and len(unseen[0]):
        some = np.sort(np.random.default_rng(seed).permutation(len(unseen[0]))[:SAMPLE_ROWS])
        sample["unseen"] = {"score": [float(s) for s in unseen[0][some]], "attack": [bool(a) for a in unseen[1][some]]}
    summary = {
        "rows": len(frame),
        "attack_share": float(attack.mean()),
        "numbers": {
            c: [float(q) for q in np.quantile(frame[c].to_numpy(dtype=np.float64), QUANTILES)] for c in encoding.numbers
        },
        "text": {c: {str(k): int(v) for k, v in frame[c].value_counts().head(50).sort_index().items()} for c in encoding.codes},
        "score": [float(q) for q in np.quantile(scores, QUANTILES)],
        "quantiles": list(QUANTILES),
    }
    return {"reference/sample.json": _json(sample), "reference/summary.json": _json(summary)}


def golden_rows(encoding: Encoding, frame: Any, attack: NDArray[np.bool_], seed: int) -> dict[str, NDArray[Any]]:
    """Tensors of some attacks and some benign rows; the last row has text that training did not see."""
    rng = np.random.default_rng(seed)
    half = GOLDEN_ROWS // 2
    rows = np.concatenate([rng.permutation(np.flatnonzero(mask))[:half] for mask in (attack, ~attack)])
    tensors = tensors_of(encoding, frame.iloc[rows])
    for column in encoding.codes:
        tensors[column][-1, 0] = "\u0000never seen"
    return tensors


def made_up_inputs(inputs: Sequence[TensorSpec], *, batch: int, other: int, seed: int = 0) -> dict[str, NDArray[Any]]:
    """Inputs for any graph, by its signature. batch: the first variable dimension; other: each further one."""
    rng = np.random.default_rng(seed)
    return {spec.name: _made_up(spec, [*_dimensions(spec.shape, batch, other)], rng) for spec in inputs}


def _dimensions(shape: Sequence[int], batch: int, other: int) -> list[int]:
    return [d if d >= 0 else (batch if i == 0 else other) for i, d in enumerate(shape)]


def _made_up(spec: TensorSpec, shape: list[int], rng: np.random.Generator) -> NDArray[Any]:
    match spec.datatype:
        case "BYTES":
            return np.asarray(rng.choice(np.array(STRINGS, dtype=object), size=shape), dtype=object).reshape(shape)
        case "BOOL":
            return rng.integers(0, 2, shape).astype(np.bool_)
        case "FP16" | "FP32" | "FP64":
            return rng.normal(0, 1, shape).astype({"FP16": np.float16, "FP32": np.float32, "FP64": np.float64}[spec.datatype])
        case whole:
            return rng.integers(0, 8, shape).astype(whole.lower())


def _listed(column: Any) -> list[Any]:
    return [str(v) for v in column] if column.dtype == object else [float(v) for v in column]


def _json(body: Any) -> bytes:
    return json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
