"""Rows through a bundle's own graph, as it is served: tensors by its assembly, score, calibrated probability, named family."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lifecycle.arrays import Mask
from lifecycle.datasets.data import Dataset
from lifecycle.datasets.detector import Detector
from lifecycle.errors import EvaluationError
from lifecycle.evaluation.attacks import family_names
from lifecycle.evaluation.scored import Scored
from serving.messages import DTYPES
from serving.models.bundle import Bundle
from serving.models.manifest import Manifest, ScoreSpec, TensorSpec
from serving.models.onnx import OnnxModel
from serving.models.parts.triage import TRIAGE_MODEL
from serving.models.verdicts import CalibrationTable, scores_of

FAMILY: Final = "family"
"""The output that names a row's attack family, where a graph has one."""
_ROWS_AT_ONCE: Final = 50_000


def score_rows(bundle: Bundle, detector: Detector, judged: Dataset, frame: Any) -> Scored:
    """Score rows with the bundle's graph. frame: the columns that its assembly names. Raises EvaluationError."""
    manifest = bundle.manifest
    score, families = _outputs(bundle, frame, with_families=True)
    table = CalibrationTable.of(manifest.calibration)
    return Scored(
        score, judged.attack, judged.verified,
        entity=judged.frame[detector.entity.key].to_numpy(dtype=object) if detector.entity else None,
        at_us=judged.at_us,
        segments={s: judged.frame[s].astype(str).to_numpy(dtype=object) for s in manifest.segments if s in judged.frame},
        probability=None if table is None else table.merged[table.look_up(score)].astype(np.float64),
        family=family_names(detector, judged.kind, judged.attack),
        answered_family=families,
        group=_group(manifest, judged),
        ended=_ended(bundle, frame),
    )  # fmt: skip


def _ended(bundle: Bundle, frame: Any) -> Mask | None:
    """Which rows the bundle's triage ends, by its own graph; None: it has none. Raises EvaluationError."""
    spec = bundle.manifest.triage
    if spec is None:
        return None
    session, score = OnnxModel(bundle.folder / TRIAGE_MODEL), ScoreSpec(output=spec.output, column=spec.column)
    ended = []
    for first in range(0, len(frame), _ROWS_AT_ONCE):
        part = frame.iloc[first : first + _ROWS_AT_ONCE]
        made = session.run(tensors_of_rows(bundle.manifest, part), [spec.output])
        ended.append(_scores(bundle.manifest, made, score, len(part)) < np.float32(spec.bound))
    return np.concatenate(ended) if ended else np.zeros(0, dtype=bool)


def row_scores(bundle: Bundle, frame: Any) -> NDArray[np.float32]:
    """The scores alone, shape (n,). frame: the columns that the bundle's assembly names. Raises EvaluationError."""
    return _outputs(bundle, frame, with_families=False)[0]


def _outputs(bundle: Bundle, frame: Any, *, with_families: bool) -> tuple[NDArray[np.float32], NDArray[np.object_] | None]:
    """Scores, and the family that the model names for each row, where it names any and there are rows."""
    manifest = bundle.manifest
    spec = _score_of(manifest)
    session = OnnxModel(bundle.model_path)
    names_families = with_families and any(t.name == FAMILY and t.datatype == "BYTES" for t in manifest.outputs)
    wanted = [spec.output, *([FAMILY] if names_families else [])]
    scores, families = [], []
    for first in range(0, len(frame), _ROWS_AT_ONCE):
        part = frame.iloc[first : first + _ROWS_AT_ONCE]
        outputs = session.run(tensors_of_rows(manifest, part), wanted)
        scores.append(_scores(manifest, outputs, spec, len(part)))
        if names_families:
            families.append(np.array([_text(v) for v in outputs[FAMILY].ravel()], dtype=object))
    score = np.concatenate(scores) if scores else np.zeros(0, dtype=np.float32)
    if not np.isfinite(score).all():
        raise EvaluationError(
            f"model {manifest.name!r} gives {int((~np.isfinite(score)).sum())} rows a score that is not a number"
        )
    return score, np.concatenate(families) if families else None


def _group(manifest: Manifest, judged: Dataset) -> NDArray[np.object_] | None:
    """The group of each row, where the bundle's conformal sets have groups and the rows have their column."""
    name = manifest.conformal.group if manifest.conformal is not None else None
    if name is None or name not in judged.frame:
        return None
    return np.array([str(v) for v in judged.frame[name].tolist()], dtype=object)


def tensors_of_rows(manifest: Manifest, frame: Any) -> dict[str, NDArray[Any]]:
    """The graph's inputs. Raises EvaluationError for a bundle that takes no columns, or columns that the rows do not have."""
    if not manifest.assembly:
        raise EvaluationError(
            f"model {manifest.name!r} takes whole tensors, not columns, so it cannot score rows; build its bundle with columns"
        )
    if missing := sorted({c for part in manifest.assembly for c in part.columns} - set(frame.columns)):
        raise EvaluationError(
            f"model {manifest.name!r} needs the columns {missing}, which the rows do not have; judge it by a detector that declares them"
        )
    specs = {t.name: t for t in manifest.inputs}
    return {part.tensor: _tensor(specs[part.tensor], frame, part.columns) for part in manifest.assembly}


def _tensor(spec: TensorSpec, frame: Any, columns: tuple[str, ...]) -> NDArray[Any]:
    kind = object if spec.datatype == "BYTES" else DTYPES[spec.datatype]
    values = np.column_stack([frame[c].to_numpy(dtype=kind) for c in columns])
    return values.ravel() if len(spec.shape) == 1 else values


def _score_of(manifest: Manifest) -> ScoreSpec:
    if manifest.score is None:
        raise EvaluationError(f"model {manifest.name!r} names no score, so there is nothing to judge; give its bundle `score`")
    return manifest.score


def _scores(manifest: Manifest, outputs: dict[str, NDArray[Any]], spec: ScoreSpec, rows: int) -> NDArray[np.float32]:
    try:
        return scores_of(outputs, spec, rows)
    except ValueError as problem:
        raise EvaluationError(f"model {manifest.name!r}: {problem}") from problem


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
