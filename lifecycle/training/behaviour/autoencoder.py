"""A linear autoencoder, and its ONNX graph: rows that a few directions cannot describe are unusual.

Its best weights are the principal directions of the standardised rows (Baldi & Hornik, 1989, "Neural networks and principal component
analysis", Neural Networks 2), so nothing is trained by steps. Score: root mean square of what is left over, in standard deviations."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import helper

from lifecycle.training.behaviour.isolation_forest import Floats32, finish_graph


@dataclass(frozen=True, slots=True)
class LinearAutoencoder:
    """mean, scale: (columns,). directions: (columns, hidden)."""

    mean: Floats32
    scale: Floats32
    directions: Floats32

    def scores(self, rows: Floats32) -> NDArray[np.float64]:
        """Shape (n,): the higher, the more unusual. rows: shape (n, columns)."""
        even = (rows - self.mean) / self.scale
        left = even - even @ self.directions @ self.directions.T
        return np.asarray(np.sqrt(np.mean(left.astype(np.float64) ** 2, axis=1)))


def fit_autoencoder(rows: Floats32, *, hidden: int) -> LinearAutoencoder:
    """Fit. rows: shape (n, columns), finite."""
    mean, scale = rows.mean(axis=0), rows.std(axis=0)
    scale = np.where(scale > 0, scale, 1).astype(np.float32)
    _, _, directions = np.linalg.svd((rows - mean) / scale, full_matrices=False)
    return LinearAutoencoder(mean.astype(np.float32), scale, np.ascontiguousarray(directions[:hidden].T, dtype=np.float32))


def autoencoder_to_onnx(model: LinearAutoencoder) -> bytes:
    """FP32 `features` [-1, columns] -> FP32 `anomaly` [-1]."""
    steps = [
        helper.make_node("Sub", ["features", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "scale"], ["even"]),
        helper.make_node("MatMul", ["even", "projection"], ["described"]),
        helper.make_node("Sub", ["even", "described"], ["left"]),
        helper.make_node("Mul", ["left", "left"], ["squares"]),
        helper.make_node("ReduceMean", ["squares"], ["means"], axes=[1], keepdims=0),
        helper.make_node("Sqrt", ["means"], ["anomaly"]),
    ]
    constants = {"mean": model.mean, "scale": model.scale, "projection": model.directions @ model.directions.T}
    return finish_graph(steps, constants, len(model.mean))
