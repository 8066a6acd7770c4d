"""From a verified bundle to a revision that answers: its session, warm, and what a request needs, worked out once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from serving.explanations.answering import BundleExplainer
from serving.loading.score_part import score_part
from serving.messages import ModelMetadata, TensorMetadata
from serving.models.assembly import plan_assembly
from serving.models.bundle import Bundle, check_service, check_signature
from serving.models.errors import BundleError
from serving.models.manifest import Manifest, OperatingPoint
from serving.models.onnx import OnnxModel
from serving.models.parts.triage import TRIAGE_MODEL
from serving.models.rules_model import column_datatypes, rules_of
from serving.models.timing import median_run_us
from serving.models.verdicts import CalibrationTable, ConformalTable
from serving.ports import FeatureReader, Model, RowExplainer
from serving.rules.declared.suppressions import SuppressionRules
from serving.rules.errors import RuleError
from serving.rules.ruleset import RuleSet
from serving.scoring.inputs import InputPlan
from serving.scoring.loaded_revision import INLINE_BUDGET_US, STABLE, LoadedRevision
from serving.scoring.triage.triaged_model import TriagedModel
from serving.spec import RevisionSpec

_WARM_RUNS: Final = 20


@dataclass(frozen=True, slots=True)
class LoadedBundle:
    """A bundle's session, warm, its rules and its explainer; revisions of the bundle share them. run_us: see LoadedRevision."""

    digest: str
    manifest: Manifest
    model: Model
    run_us: float
    rules: RuleSet | None = None
    explainer: RowExplainer | None = None
    cheap: Model | None = None
    """The model of its triage."""
    cheap_us: float = 0.0
    """Median time of a run of it on the golden inputs."""


def load_bundle(bundle: Bundle, *, threads: int = 1) -> LoadedBundle:
    """Load a probed bundle and warm it. Raises BundleError."""
    model = OnnxModel(bundle.model_path, threads)
    check_signature(bundle.manifest, model)
    if bundle.manifest.score is not None and (part := score_part(bundle, model, threads)) is not None:
        model.answer_alone(bundle.manifest.score.output, part)
    run_us = median_run_us(bundle, model, _WARM_RUNS)
    if run_us is None:
        run_us = INLINE_BUDGET_US  # nothing known of its cost: one row on the loop, more in a thread
    explainer = BundleExplainer(bundle, model) if bundle.manifest.score is not None else None
    cheap = OnnxModel(bundle.folder / TRIAGE_MODEL, threads) if bundle.manifest.triage is not None else None
    cheap_us = 0.0 if cheap is None else median_run_us(bundle, cheap, _WARM_RUNS) or 0.0
    return LoadedBundle(bundle.digest, bundle.manifest, model, run_us, rules_of(bundle), explainer, cheap, cheap_us)


def check_fit(manifest: Manifest, spec: RevisionSpec, features: FeatureReader | None) -> None:
    """Raises BundleError unless the specification's operating points, feature service and suppressions fit the bundle."""
    where = f"bundle {manifest.name}/{manifest.version}"
    unknown = sorted(
        {*spec.thresholds, *([spec.operating_point] if spec.operating_point else [])} - set(manifest.operating_points)
    )
    if unknown:
        raise BundleError(f"{where} has no operating point {unknown}; it has {sorted(manifest.operating_points)}")
    suppressions_of(manifest, spec)
    if spec.triage is not None and manifest.triage is None:
        raise BundleError(f"{where} has no triage; leave triage out of its revision, or train the model with `triage`")
    service = _feature_service(manifest, spec)
    if service is None:
        return
    if manifest.feature_service is None:
        raise BundleError(f"{where} takes no features; leave feature_service out of its revision")
    if features is None:
        raise BundleError(f"{where} needs feature service {service!r}, but no feature repository is open")
    check_service(manifest, features.service(service))


def _feature_service(manifest: Manifest, spec: RevisionSpec) -> str | None:
    return spec.feature_service or manifest.feature_service


def suppressions_of(manifest: Manifest, spec: RevisionSpec) -> SuppressionRules | None:
    """The revision's suppressions, compiled; None if it has none. Raises BundleError if one does not fit the bundle."""
    if not spec.suppressions:
        return None
    where = f"bundle {manifest.name}/{manifest.version}"
    if manifest.score is None:
        raise BundleError(f"{where} has no score and gives no verdicts; leave suppressions out of its revision")
    try:
        return SuppressionRules(spec.suppressions, column_datatypes(manifest))
    except RuleError as problem:
        raise BundleError(f"{where}: {problem}") from problem


def _points(manifest: Manifest, spec: RevisionSpec) -> dict[str, OperatingPoint]:
    """The bundle's operating points under the revision's thresholds.

    The threshold to investigate stays where it was, unless the alert's falls below it: then it falls along, never over it. So a
    raised threshold turns alerts into rows to investigate, never into benign ones."""
    points = dict(manifest.operating_points)
    for name, threshold in spec.thresholds.items():
        investigate = min(points[name].investigate, threshold)
        points[name] = OperatingPoint(threshold=threshold, investigate=investigate, requirement="set by the revision")
    return points


def build_revision(loaded: LoadedBundle, spec: RevisionSpec) -> LoadedRevision:
    """A revision of a loaded bundle, as stable. Call `check_fit` before. Raises BundleError for suppressions that do not fit."""
    manifest, bundle = loaded.manifest, loaded.digest
    verdict_outputs = _verdict_outputs(manifest)
    points, point = _points(manifest, spec), spec.operating_point or manifest.default_operating_point
    triaged = _triaged(loaded, spec)
    service, sets = _feature_service(manifest, spec), ConformalTable.of(manifest.conformal)
    return LoadedRevision(
        name=manifest.name,
        version=manifest.version,
        variant=STABLE,
        digest=spec.digest,
        bundle=bundle,
        manifest=manifest,
        model=loaded.model if triaged is None else triaged,
        inputs=InputPlan.of(manifest, getattr(loaded.model, "non_row_inputs", frozenset())),
        assembly=plan_assembly(manifest),
        calibration=CalibrationTable.of(manifest.calibration),
        feature_service=service,
        points=points,
        default_point=point,
        verdict_outputs=verdict_outputs,
        default_outputs=verdict_outputs or tuple(o.name for o in manifest.outputs),
        takes_text=any(t.datatype == "BYTES" for t in manifest.inputs),
        model_outputs=frozenset(o.name for o in manifest.outputs),
        row_outputs=row_outputs(manifest, getattr(loaded.model, "non_row_outputs", frozenset())),
        metadata=_metadata(manifest, verdict_outputs, bundle, spec.digest, service, points, point),
        run_us=loaded.run_us if triaged is None else loaded.run_us + loaded.cheap_us,
        rules=loaded.rules,
        suppressions=suppressions_of(manifest, spec),
        personal=_personal(manifest),
        explainer=loaded.explainer,
        has_triage=triaged is not None,
        unknown=sets if manifest.conformal is not None and manifest.conformal.unknown else None,
        conformal=sets,
    )


def _triaged(loaded: LoadedBundle, spec: RevisionSpec) -> TriagedModel | None:
    """The bundle's model behind its triage, if the revision switches it on. Raises BundleError if it cannot be."""
    if spec.triage is None or loaded.cheap is None:
        return None
    return TriagedModel(loaded.model, loaded.cheap, loaded.manifest, spec.triage)


def _personal(manifest: Manifest) -> dict[str, str]:
    """What is redacted: the columns as declared, and tensors that hold such a column, as a whole."""
    holding = {part.tensor: "drop" for part in manifest.assembly if not manifest.personal.keys().isdisjoint(part.columns)}
    return {**manifest.personal, **{name: rule for name, rule in holding.items() if name not in manifest.personal}}


def row_outputs(manifest: Manifest, non_row_outputs: frozenset[str]) -> tuple[str, ...]:
    """Outputs that hold an entry for each row: their first dimension is free, as that of some input is, and the graph calls it
    nothing else (apart). Without the score, which is looked at by itself."""
    if not any(t.shape and t.shape[0] == -1 for t in manifest.inputs):
        return ()
    score = manifest.score.output if manifest.score is not None else None
    free = (o.name for o in manifest.outputs if o.shape and o.shape[0] == -1)
    return tuple(name for name in free if name != score and name not in non_row_outputs)


def _verdict_outputs(manifest: Manifest) -> tuple[str, ...]:
    if manifest.score is None:
        return ()
    calibrated = ("probability", "probability_low", "probability_high") if manifest.calibration else ()
    return ("verdict", "score", *calibrated, "degraded")


_OUTPUT_DATATYPES: Final = {"verdict": "BYTES", "degraded": "BOOL"}


def _metadata(
    manifest: Manifest,
    verdict_outputs: tuple[str, ...],
    bundle: str,
    revision: str,
    service: str | None,
    points: Mapping[str, OperatingPoint],
    point: str | None,
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
        parameters["operating_points"] = {n: p.threshold for n, p in points.items()}
    if manifest.conformal is not None:
        parameters["conformal_error"] = manifest.conformal.error
    if service:
        parameters["feature_service"] = service
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
