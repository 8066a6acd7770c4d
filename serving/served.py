"""A revision that is loaded and ready to answer: everything a request needs, worked out beforehand."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from serving.assembly import TensorPlan, plan_assembly
from serving.inputs import InputPlan
from serving.models.bundle import Bundle, check_service, check_signature
from serving.models.errors import BundleError
from serving.models.manifest import Manifest, OperatingPoint
from serving.models.onnx import OnnxModel
from serving.models.timing import median_run_us
from serving.ports import FeatureReader, Model
from serving.protocol.messages import ModelMetadata, TensorMetadata
from serving.spec import RevisionSpec
from serving.verdicts import CalibrationTable

VARIANT: Final = "stable"
_WARM_RUNS: Final = 20
_INLINE_BUDGET_US: Final = 2_000.0


class _Loader(Protocol):
    def __call__(self, bundle: Bundle, threads: int) -> Model: ...


@dataclass(frozen=True, slots=True)
class Served:
    """One loaded revision of one model version."""

    name: str
    version: str
    variant: str
    revision: str
    bundle: str
    manifest: Manifest
    model: Model
    inputs: InputPlan
    assembly: tuple[TensorPlan, ...]
    calibration: CalibrationTable | None
    points: Mapping[str, OperatingPoint]
    default_point: str | None
    verdict_outputs: tuple[str, ...]
    model_outputs: frozenset[str]
    metadata: ModelMetadata
    run_us: float
    """Median time of one run on the golden inputs; decides whether a run may hold the event loop."""

    def may_run_inline(self, rows: int) -> bool:
        """Whether running this many rows on the event loop keeps the others waiting less than a hop to a thread would cost them."""
        return self.run_us * rows <= _INLINE_BUDGET_US


def serve_bundle(bundle: Bundle, spec: RevisionSpec, features: FeatureReader | None, *, threads: int = 1) -> Served:
    """Load a probed bundle and warm it. Raises BundleError if it does not fit its feature service or the specification."""
    manifest = bundle.manifest
    if manifest.feature_service is not None:
        if features is None:
            raise BundleError(
                f"bundle {manifest.name}/{manifest.version} needs feature service {manifest.feature_service!r}; none is open"
            )
        check_service(manifest, features.service(manifest.feature_service))
    point = spec.operating_point or manifest.default_operating_point
    if point is not None and point not in manifest.operating_points:
        raise BundleError(
            f"bundle {manifest.name}/{manifest.version} has no operating point {point!r}; it has {sorted(manifest.operating_points)}"
        )
    model = OnnxModel(bundle.model_path, threads)
    check_signature(manifest, model)
    run_us = median_run_us(bundle, model, _WARM_RUNS)
    if run_us is None:
        run_us = _INLINE_BUDGET_US  # nothing known of its cost: one row on the loop, more in a thread
    verdict_outputs = _verdict_outputs(manifest)
    return Served(
        name=manifest.name,
        version=manifest.version,
        variant=VARIANT,
        revision=spec.digest,
        bundle=bundle.digest,
        manifest=manifest,
        model=model,
        inputs=InputPlan.of(manifest),
        assembly=plan_assembly(manifest),
        calibration=CalibrationTable.of(manifest.calibration),
        points=manifest.operating_points,
        default_point=point,
        verdict_outputs=verdict_outputs,
        model_outputs=frozenset(o.name for o in manifest.outputs),
        metadata=_metadata(manifest, verdict_outputs, bundle.digest, spec.digest, point),
        run_us=run_us,
    )


def _verdict_outputs(manifest: Manifest) -> tuple[str, ...]:
    if manifest.score is None:
        return ()
    calibrated = ("probability", "probability_low", "probability_high") if manifest.calibration else ()
    return ("verdict", "score", *calibrated, "degraded")


_OUTPUT_DATATYPES: Final = {"verdict": "BYTES", "degraded": "BOOL"}


def _metadata(
    manifest: Manifest, verdict_outputs: tuple[str, ...], bundle: str, revision: str, point: str | None
) -> ModelMetadata:
    tensors = tuple(TensorMetadata(t.name, t.datatype, t.shape) for t in manifest.inputs)
    columns = tuple(TensorMetadata(f.name, f.datatype, (-1,)) for f in (*manifest.entity_keys, *manifest.request_fields))
    outputs = tuple(TensorMetadata(o.name, o.datatype, o.shape) for o in manifest.outputs)
    verdicts = tuple(TensorMetadata(name, _OUTPUT_DATATYPES.get(name, "FP32"), (-1,)) for name in verdict_outputs)
    parameters: dict[str, Any] = {"bundle": bundle, "revision": revision}
    if manifest.assembly:
        parameters["tensor_inputs"] = [{"name": t.name, "datatype": t.datatype, "shape": list(t.shape)} for t in tensors]
    if verdicts:
        parameters["tensor_outputs"] = [{"name": t.name, "datatype": t.datatype, "shape": list(t.shape)} for t in outputs]
        parameters["operating_point"] = point
        parameters["operating_points"] = {n: p.threshold for n, p in manifest.operating_points.items()}
    if manifest.feature_service:
        parameters["feature_service"] = manifest.feature_service
    if manifest.event_time_field:
        parameters["event_time_field"] = manifest.event_time_field
    return ModelMetadata(
        manifest.name,
        (manifest.version,),
        manifest.platform,
        columns if manifest.assembly else tensors,
        verdicts or outputs,
        parameters,
    )
