"""What a bundle may take: size, memory, time. A bundle that takes more is refused by its probe, before any replica loads it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from serving.models.bundle import Bundle
from serving.models.errors import BundleError
from serving.models.golden import decode_golden
from serving.models.graph import read_graph
from serving.models.limits.growth import ControlFlow, check_growth
from serving.models.manifest import rows_of
from serving.models.parts.triage import TRIAGE_MODEL
from serving.ports import Model
from serving.settings import ServingSettings


@dataclass(frozen=True, slots=True)
class ModelLimits:
    """Of one bundle. bundle_bytes: all its files. memory_bytes: of its probe, None: half of what is free. output_bytes: of a run's outputs
    together, for each row. run_s: of one run of a golden case."""

    bundle_bytes: int = 4 << 30
    memory_bytes: int | None = None
    output_bytes: int = 1 << 20
    run_s: float = 10.0
    control_flow: ControlFlow = "bounded"


def limits_of(settings: ServingSettings) -> ModelLimits:
    """The limits that the settings say."""
    return ModelLimits(
        settings.model_bytes,
        settings.model_memory_bytes,
        settings.model_output_bytes,
        settings.model_run_s,
        settings.model_control_flow,
    )


def check_size(bundle: Bundle, limits: ModelLimits) -> None:
    """The files together. Raises BundleError."""
    size = sum((bundle.folder / name).stat().st_size for name in bundle.manifest.files)
    if size > limits.bundle_bytes:
        raise BundleError(
            f"{bundle.folder}: its files have {size} bytes, at most {limits.bundle_bytes} are allowed; raise VEDETTE_MODEL_BYTES, or make "
            "the model smaller"
        )


def check_graph_growth(bundle: Bundle, limits: ModelLimits) -> None:
    """Sizes and turns that follow values, of each graph of the bundle. Raises BundleError."""
    triage = () if bundle.manifest.triage is None else (bundle.folder / TRIAGE_MODEL,)
    for path in (bundle.model_path, *triage):
        try:
            check_growth(read_graph(path), limits.control_flow)
        except BundleError as problem:
            raise BundleError(f"{path}: {problem}") from problem


def check_runs(bundle: Bundle, model: Model, limits: ModelLimits) -> None:
    """Time and outputs of the golden cases. Raises BundleError."""
    golden = bundle.manifest.golden
    if golden is None:
        return
    for index, case in enumerate(decode_golden((bundle.folder / golden.file).read_bytes())):
        begun = time.perf_counter()
        outputs = model.run(case.inputs)
        took_s = time.perf_counter() - begun
        if took_s > limits.run_s:
            raise BundleError(
                f"{bundle.folder}: golden case {index} took {took_s:.1f} s, at most {limits.run_s:g} s are allowed; make the model "
                "smaller, or raise VEDETTE_MODEL_RUN_S"
            )
        non_row_inputs: frozenset[str] = getattr(model, "non_row_inputs", frozenset())
        shapes = {name: tensor.shape for name, tensor in case.inputs.items()}
        rows = max(rows_of(bundle.manifest.inputs, shapes, non_row_inputs), 1)
        size = _bytes_of(outputs) // rows
        if size > limits.output_bytes:
            raise BundleError(
                f"{bundle.folder}: the outputs of golden case {index} have {size} bytes a row, at most {limits.output_bytes} are allowed; "
                "leave outputs out, or raise VEDETTE_MODEL_OUTPUT_BYTES"
            )


def _bytes_of(outputs: Mapping[str, NDArray[Any]]) -> int:
    """Strings count by their length."""
    return sum(
        sum(len(str(value)) for value in array.ravel().tolist()) if array.dtype == object else array.nbytes
        for array in outputs.values()
    )
