"""The values of an explanation, and the reasons why none is possible. Pure."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from serving.models.errors import ModelError

Method = Literal["tree_shap", "kernel_shap", "permutation_shap", "lime"]
Unit = Literal["log_odds", "score"]


class UnexplainableModel(ModelError):
    """A model of which no column's part in the score can be told; the message says why, and the way out."""


@dataclass(frozen=True, slots=True)
class Attribution:
    """What each column added to the score of one row."""

    method: Method
    """How it was computed."""
    unit: Unit
    """`log_odds`: of the margin before the logistic function; `score`: of the score itself."""
    base: float
    """What the model gives on average over `background`, in `unit`."""
    columns: tuple[str, ...]
    """As the bundle's assembly names them. Without one: the name of a tensor with one value a row, else `tensor[i]`."""
    values: NDArray[np.float64]
    """Shape (len(columns),). `base + values.sum()` is the model's output in `unit`, up to `error`."""
    error: float
    """0.0: exact. Else the largest standard error of a value, and for `lime` how far the sum is from the model's output."""
    is_exact: bool
    """Whether the values are Shapley values to rounding, of the value function that `method` names."""
    background: str = ""
    """What stands for a column that is left out, in words."""
    fidelity: float | None = None
    """For `lime`: the weighted R² of the linear model around the row, at most 1; under about 0.7 it tells little."""
