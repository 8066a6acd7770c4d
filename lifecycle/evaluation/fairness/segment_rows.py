"""The segments of rows, by their entities and a mapping that is kept beside the model. Pure."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from lifecycle.arrays import Mask, entity_codes
from lifecycle.datasets.detector import Detector
from lifecycle.evaluation.fairness.disparity import FairnessReport, SegmentedRows, judge_fairness
from serving.models.manifest import Manifest
from serving.segments.mapping import SegmentMap


def segments_of(mapping: SegmentMap, entity: NDArray[np.object_]) -> Mapping[str, NDArray[np.object_]]:
    """Column of the mapping -> the value of each row, "" for none; (n,). entity: each row's key as text, UTF-8 or whole numbers."""
    values, which = entity_codes(entity)
    found = {column: np.full(len(values), "", dtype=object) for column in mapping.columns}
    for place, value in enumerate(values.tolist()):
        for segment in mapping.find(value.encode("utf-8", "surrogateescape")):
            column, _, name = mapping.segments[segment].partition("=")
            found[column][place] = name
    return {column: of_values[which] for column, of_values in found.items()}


def refuse_as_inputs(mapping: SegmentMap, manifest: Manifest) -> None:
    """Raise SegmentMapError if the bundle's model takes one of the mapping's columns."""
    names = {c for tensor in manifest.assembly for c in tensor.columns} | {f.name for f in manifest.request_fields}
    names |= {k.name for k in manifest.entity_keys} | {t.name for t in manifest.inputs}
    mapping.refuse_inputs(names, f"model {manifest.name!r} version {manifest.version}")


def refuse_as_features(mapping: SegmentMap, detector: Detector) -> None:
    """The same of a detector's declaration, before anything is trained."""
    features = () if detector.features is None else detector.features.aggregates
    entity = () if detector.entity is None else (detector.entity.key,)
    names = {*detector.request_fields, *features, *detector.model.columns, *entity}
    mapping.refuse_inputs(names, f"detector {detector.name!r}")


def fairness_of(
    alert: Mask, attack: Mask, entity: NDArray[np.object_] | None, mapping: SegmentMap, *, seed: int = 0
) -> FairnessReport | None:
    """Judge rows with known labels; what is no attack is benign. None where rows name no entity: then none is in a segment."""
    if entity is None:
        return None
    return judge_fairness(SegmentedRows(alert, ~attack, attack, entity, segments_of(mapping, entity)), seed=seed)
