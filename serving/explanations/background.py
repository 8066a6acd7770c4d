"""The rows that stand for a column that is left out: the bundle's reference sample, else its golden cases."""

import json
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from serving.explanations.columns import Tensors
from serving.explanations.explanation import UnexplainableModel
from serving.models.assembly import assemble, plan_assembly
from serving.models.bundle import Bundle
from serving.models.errors import BundleError
from serving.models.golden import decode_golden

SAMPLE: Final = "reference/sample.json"


@dataclass(frozen=True, slots=True)
class Background:
    """tensors: rows as the graph takes them. rows: how many. name: what they are, in words. is_training: whether the model saw them."""

    tensors: Tensors
    rows: int
    name: str
    is_training: bool

    def take(self, which: NDArray[np.bool_], held: frozenset[str]) -> "Background":
        """Some of the rows. held: inputs without rows. Raises UnexplainableModel if it is none of them."""
        rows = int(which.sum())
        if not rows:
            raise UnexplainableModel(
                f"the model's score is not a number for any of {self.name}; build the bundle again with rows that the model can score"
            )
        tensors = {name: tensor if name in held else tensor[which] for name, tensor in self.tensors.items()}
        return replace(self, tensors=tensors, rows=rows, name=f"{rows} of {self.name}")


def background_of(bundle: Bundle, held: frozenset[str] = frozenset()) -> Background | None:
    """The rows that a bundle brings along; None if it has none. held: inputs whose first axis is something else than rows."""
    return _sample(bundle) or _golden(bundle, held)


def _sample(bundle: Bundle) -> Background | None:
    if SAMPLE not in bundle.manifest.files or not bundle.manifest.assembly:
        return None
    try:
        columns = json.loads((bundle.folder / SAMPLE).read_bytes())["columns"]
        arrays = {name: _array(values) for name, values in columns.items()}
        rows = min(len(a) for a in arrays.values())
        tensors = assemble(plan_assembly(bundle.manifest), {n: a[:rows] for n, a in arrays.items()}, rows)
    except (ValueError, KeyError, TypeError, AttributeError, OSError):
        return None  # a file of that name which somebody else made; the golden cases stand in
    shaped = {s.name: tensors[s.name].reshape(-1, 1) if len(s.shape) == 2 and tensors[s.name].ndim == 1 else tensors[s.name]
              for s in bundle.manifest.inputs}  # fmt: skip
    return Background(shaped, rows, f"{rows} rows of the training data", is_training=True) if rows else None


def _golden(bundle: Bundle, held: frozenset[str]) -> Background | None:
    if bundle.manifest.golden is None:
        return None
    try:
        cases = decode_golden((bundle.folder / bundle.manifest.golden.file).read_bytes())
    except (BundleError, OSError):
        return None
    first = cases[0].inputs
    names = [s.name for s in bundle.manifest.inputs if s.name not in held and s.shape]
    alike = [c for c in cases if all(c.inputs[n].shape[1:] == first[n].shape[1:] for n in names)]
    tensors = {**first, **{n: np.concatenate([c.inputs[n] for c in alike]) for n in names}}
    rows = len(tensors[names[0]]) if names else 0
    name = f"the bundle's {rows} golden rows (there is no reference sample)"
    return Background(tensors, rows, name, is_training=False) if rows else None


def _array(values: list[Any]) -> NDArray[Any]:
    if values and isinstance(values[0], str):
        found = np.empty(len(values), dtype=object)
        found[:] = values
        return found
    return np.asarray(values, dtype=np.float64)
