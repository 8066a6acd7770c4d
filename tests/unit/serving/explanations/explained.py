"""Bundles of models made here and elsewhere, and their explainers."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType

from serving.explanations.explainer import Explainer, Run
from serving.models.build import build_bundle
from serving.models.bundle import Bundle
from serving.models.manifest import OperatingPoint, ScoreSpec
from serving.models.onnx import OnnxModel
from tests.fakes.clock import ManualClock

POINT = OperatingPoint(threshold=0.5, investigate=0.3, requirement="none", expected=None)


def bundle_of(
    folder: Path, model: bytes, rows: dict[str, np.ndarray], *, output: str, column: int | None = None, **fields: Any
) -> Bundle:
    """A bundle with a score; `rows` become its golden cases."""
    return build_bundle(
        folder, model=model, golden_inputs=rows or (), name=folder.name, version="1", score=ScoreSpec(output=output, column=column),
        operating_points={"one": POINT}, default_operating_point="one", **fields,
    )  # fmt: skip


def explainer_of(bundle: Bundle, run: Run | None = None, **options: Any) -> Explainer:
    """run: stands in for the loaded model. By a clock that stands still, unless one is given, no run of it takes long."""
    return Explainer.of(bundle, run or OnnxModel(bundle.model_path).run, **{"clock": ManualClock().monotonic_s, **options})


def exported(model: Any, width: int, **options: Any) -> bytes:
    """A fitted scikit-learn model as its owner exports it: one FP32 matrix `X`."""
    if hasattr(model, "classes_"):
        options = {"options": {id(model): {"zipmap": False}}, **options}
    return to_onnx(model, initial_types=[("X", FloatTensorType([None, width]))], target_opset=17, **options).SerializeToString()


def operators(model: bytes) -> list[str]:
    return [n.op_type for n in onnx.load_from_string(model).graph.node]
