"""The samples that are compared: a bundle's reference, what the prediction log holds, rows of a file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lifecycle.datasets.data import Dataset
from lifecycle.errors import EvaluationError
from lifecycle.evaluation.scored import Scored
from lifecycle.monitoring.drift.sample import DriftSample
from lifecycle.monitoring.windows.answered import NO_VERDICT, AnsweredRows
from serving.models.bundle import Bundle
from serving.models.manifest import Manifest
from serving.models.verdicts import VERDICTS, ConformalTable, verdict_codes

SAMPLE: Final = "reference/sample.json"
_BENIGN: Final = 0
"""The code of the verdict `benign`."""


def bundle_reference(bundle: Bundle) -> DriftSample:
    """The training rows that the bundle carries, with score, verdict and label. Raises EvaluationError if it carries none."""
    manifest = bundle.manifest
    path = bundle.folder / SAMPLE
    if SAMPLE not in manifest.files or not path.is_file():
        raise EvaluationError(
            f"bundle {manifest.name}/{manifest.version} has no {SAMPLE}, so there is nothing to compare with; "
            "give --reference FILE, or train it with `vedette train`"
        )
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        columns = {name: _column(values) for name, values in body["columns"].items()}
        scores = np.array(body["score"], dtype=np.float64)
        attack = np.array(body["attack"], dtype=np.float64)
        unseen = _unseen(manifest, body["unseen"]) if "unseen" in body else None
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise EvaluationError(f"{path}: is no sample of training rows ({problem}); build the bundle again") from problem
    words = f"{len(attack):,} training rows of {manifest.name} {manifest.version}"
    return DriftSample(words, columns, scores, _verdicts(manifest, scores), attack, unseen=unseen)


def answered_window(bundle: Bundle, rows: AnsweredRows, labels: Mapping[str, bool] | None = None) -> DriftSample:
    """Rows that were answered. labels: event -> whether it was an attack, as far as analysts said."""
    known = labels or {}
    attack = np.array([_label(known.get(str(event))) for event in rows.events.tolist()], dtype=np.float64)
    verdicts = None
    if len(rows) and (rows.verdicts != NO_VERDICT).all():
        verdicts = np.array([VERDICTS[code] for code in rows.verdicts.tolist()], dtype=object)
    manifest = bundle.manifest
    covered = _covered(manifest, rows, attack)
    notes = []
    if (others := sorted(set(map(str, rows.versions.tolist())) - {manifest.version})) != []:
        notes.append(f"the window also has answers of version {', '.join(others)}; its scores may differ for that reason")
    if rows.degraded.any():
        notes.append(f"{int(rows.degraded.sum()):,} answers were degraded: some of their features are declared defaults")
    scores = None if np.isnan(rows.scores).all() else rows.scores
    if ended := int((np.isnan(rows.scores) & (rows.verdicts == _BENIGN) & ~rows.degraded).sum()):
        scores = None  # what is left of them are scores of suspicious rows
        notes.append(f"triage ended {ended:,} rows, which have no score, so scores are not compared")
    return DriftSample(
        f"{len(rows):,} answered rows", _with_lost_columns(manifest, rows), scores, verdicts,
        attack if not np.isnan(attack).all() else None, covered,
        manifest.conformal.error if manifest.conformal is not None and covered is not None else None, tuple(notes),
        frozenset(manifest.personal),
    )  # fmt: skip


def _with_lost_columns(manifest: Manifest, rows: AnsweredRows) -> Mapping[str, NDArray[Any]]:
    """The columns, and those of the model that no record has: all missing. Where there are none of the model's, clients sent tensors."""
    names = model_columns(manifest)
    if not any(name in rows.columns for name in names):
        return rows.columns
    return {name: np.full(len(rows), np.nan) for name in names} | dict(rows.columns)


def file_sample(data: Dataset, frame: Any, columns: Sequence[str], what: str) -> DriftSample:
    """Rows of a file. frame: the file's columns, and features where they were joined. columns: which of them to compare."""
    found = {name: _frame_column(frame[name]) for name in columns if name in frame.columns}
    if not found:
        raise EvaluationError(f"{what}: has none of the columns {list(columns)}")
    return DriftSample(f"{len(data):,} rows of {what}", found, attack=None)


def scored_sample(sample: DriftSample, bundle: Bundle, scored: Scored) -> DriftSample:
    """The rows with the bundle's answers, and the labels that the file has."""
    scores = scored.score.astype(np.float64)
    attack = np.where(scored.verified | scored.attack, scored.attack.astype(np.float64), np.nan)
    return replace(sample, scores=scores, verdicts=_verdicts(bundle.manifest, scores), attack=attack)


def model_columns(manifest: Manifest) -> tuple[str, ...]:
    """The columns that a bundle's tensors are made of, each once."""
    return tuple(dict.fromkeys(column for tensor in manifest.assembly for column in tensor.columns))


def _unseen(manifest: Manifest, body: Mapping[str, Any]) -> DriftSample:
    scores, attack = np.array(body["score"], dtype=np.float64), np.array(body["attack"], dtype=np.float64)
    words = f"{len(scores):,} rows that {manifest.name} {manifest.version} was not fitted on"
    return DriftSample(words, {}, scores, _verdicts(manifest, scores), attack)


def _verdicts(manifest: Manifest, scores: NDArray[np.float64]) -> NDArray[np.object_] | None:
    if manifest.default_operating_point is None or (manifest.conformal is not None and manifest.conformal.unknown):
        return None
    codes = verdict_codes(scores.astype(np.float32), manifest.operating_points[manifest.default_operating_point])
    return np.array([VERDICTS[code] for code in codes.tolist()], dtype=object)


def _covered(manifest: Manifest, rows: AnsweredRows, attack: NDArray[np.float64]) -> NDArray[np.float64] | None:
    table = ConformalTable.of(manifest.conformal)
    if table is None or np.isnan(attack).all():
        return None
    groups = None
    if table.group is not None and table.group in rows.columns:
        groups = [str(value) for value in rows.columns[table.group].tolist()]
    has_benign, has_attack = table.sets(rows.scores.astype(np.float32), groups)
    covered = np.where(attack == 1, has_attack, has_benign).astype(np.float64)
    covered[np.isnan(attack) | np.isnan(rows.scores)] = np.nan
    return covered


def _label(is_attack: bool | None) -> float:
    return np.nan if is_attack is None else float(is_attack)


def _column(values: list[Any]) -> NDArray[Any]:
    if any(isinstance(value, str) for value in values):
        return np.array([None if value is None else str(value) for value in values], dtype=object)
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _frame_column(column: Any) -> NDArray[Any]:
    values = column.to_numpy()
    if values.dtype.kind in "biuf":
        return np.asarray(values, dtype=np.float64)
    return np.array([value if isinstance(value, str) else None for value in column.astype(object).tolist()], dtype=object)
