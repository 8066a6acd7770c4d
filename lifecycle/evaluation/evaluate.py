"""Evaluating a detector: train it, build its bundle, score unseen rows with the code that serves, report.

A bundle is written, read back and verified, and its ONNX graph and thresholds are judged; nothing is chosen here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from lifecycle.datasets.data import Dataset
from lifecycle.datasets.detector import Detector
from lifecycle.evaluation.attacks import EpisodeReport, FamilyAnswers, FamilyReport, by_episode, by_family, named_families
from lifecycle.evaluation.confidence import ConfidenceReport, confidence_of
from lifecycle.evaluation.fairness.disparity import FairnessReport
from lifecycle.evaluation.fairness.segment_rows import fairness_of, refuse_as_features, refuse_as_inputs
from lifecycle.evaluation.held_out import judged_rows
from lifecycle.evaluation.report import SegmentReport, UnitReport, by_segment, report
from lifecycle.evaluation.scored import Scored
from lifecycle.evaluation.scoring import score_rows
from lifecycle.evaluation.triage import TriageReport, triage_of
from lifecycle.training.features import FeatureStore, with_features
from lifecycle.training.train import Prepared, Progress, prepare, train, write_bundle
from serving.models.bundle import Bundle
from serving.models.manifest import OperatingPoint
from serving.segments.mapping import SegmentMap


@dataclass(frozen=True, slots=True)
class SeedReport:
    """The figures of one seed's bundle."""

    seed: int
    digest: str
    units: tuple[UnitReport, ...]
    segments: tuple[SegmentReport, ...]
    families: tuple[FamilyReport, ...] = ()
    answers: FamilyAnswers | None = None
    episodes: tuple[EpisodeReport, ...] = ()
    fairness: FairnessReport | None = None
    """By the segments of a mapping, at the default operating point; None: there is no mapping, or rows name no entity."""
    confidence: ConfidenceReport | None = None
    """Of the bundle's conformal sets; None: it has none."""
    triage: TriageReport | None = None
    """Of the bundle's triage; None: it has none."""
    points: Mapping[str, OperatingPoint] = field(default_factory=dict)
    """As the bundle has them, with what is promised of them."""


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """The whole result. test: where the judged rows come from; parts: rows, attacks and entities of each part."""

    detector: Detector
    data_digest: str
    test: str
    parts: dict[str, dict[str, int]]
    seeds: tuple[SeedReport, ...]
    notes: tuple[str, ...]


def evaluate(
    detector: Detector,
    data: Dataset,
    test: Dataset | None,
    store: FeatureStore,
    *,
    seeds: int,
    progress: Progress | None = None,
    mapping: SegmentMap | None = None,
) -> EvaluationResult:
    """Train and judge once per seed. test: rows of a file kept for evaluation; None: the part that the split takes off.

    mapping: segments of entities, for the rates by segment. Raises TrainingError, BundleError, EvaluationError, SegmentMapError."""
    if mapping is not None:
        refuse_as_features(mapping, detector)
    tell = progress or (lambda what, share: None)
    prepared = prepare(detector, data, store, with_test=test is None, progress=tell)
    detector = prepared.detector
    if test is None:
        judged, frame = data.take(prepared.parts.test), prepared.frame.iloc[np.flatnonzero(prepared.parts.test)]
    else:
        judged = judged_rows(detector, test)
        frame, _ = with_features(detector, judged, store)
    results = [
        _one_seed(prepared, judged, frame, detector.model.seed + i, _within(tell, i, seeds), mapping) for i in range(seeds)
    ]
    return EvaluationResult(
        detector, data.digest, "split" if test is None else test.digest, _parts(prepared, judged), tuple(results), data.notes
    )


def judge(bundle: Bundle, detector: Detector, scored: Scored, seed: int, mapping: SegmentMap | None = None) -> SeedReport:
    """Every figure of a bundle on scored rows. Raises SegmentMapError."""
    points, how = bundle.manifest.operating_points, detector.evaluation
    default = bundle.manifest.default_operating_point or next(iter(points))
    families = tuple(detector.split.families) or tuple(sorted(set(scored.family.tolist()))) if scored.family is not None else ()
    return SeedReport(
        seed, bundle.digest, report(scored, points, window_s=how.window_s, minutes_per_alert=how.minutes_per_alert),
        by_segment(scored, default, points[default]), by_family(scored, points),
        named_families(scored, default, points[default], families), by_episode(scored, points, how.episode_gap_s),
        _fairness(bundle, scored, default, mapping, seed), _confidence(bundle, scored, points[default]),
        _triage(bundle, scored, points[default]), points,
    )  # fmt: skip


def _fairness(bundle: Bundle, scored: Scored, scenario: str, mapping: SegmentMap | None, seed: int) -> FairnessReport | None:
    """By the mapping's segments; unverified rows count as benign."""
    if mapping is None:
        return None
    refuse_as_inputs(mapping, bundle.manifest)
    alert = scored.alerts(bundle.manifest.operating_points[scenario].threshold)
    return fairness_of(alert, scored.attack, scored.entity, mapping, seed=seed)


def _confidence(bundle: Bundle, scored: Scored, point: OperatingPoint) -> ConfidenceReport | None:
    spec = bundle.manifest.conformal
    return None if spec is None else confidence_of(spec, point, scored.score, scored.attack, scored.group)


def _triage(bundle: Bundle, scored: Scored, point: OperatingPoint) -> TriageReport | None:
    spec = bundle.manifest.triage
    if spec is None or scored.ended is None:
        return None
    return triage_of(spec, scored.ended, scored.attack, scored.alerts(point.threshold))


def _one_seed(
    prepared: Prepared, judged: Dataset, frame: Any, seed: int, tell: Progress, mapping: SegmentMap | None
) -> SeedReport:
    trained = train(prepared, seed=seed, progress=tell)
    with TemporaryDirectory(prefix="vedette-") as scratch:
        bundle = write_bundle(trained, Path(scratch) / "bundle")
        scored = score_rows(bundle, prepared.detector, judged, frame)
    tell("judging", 0.95)
    return judge(bundle, prepared.detector, scored, seed, mapping)


def _within(tell: Progress, i: int, of: int) -> Callable[[str, float], None]:
    return lambda what, share: tell(f"seed {i + 1} of {of}: {what}", (i + share) / of)


def _parts(prepared: Prepared, judged: Dataset) -> dict[str, dict[str, int]]:
    data, parts = prepared.data, prepared.parts
    found = {"train": data.take(parts.train), "validation": data.take(parts.validation), "test": judged}
    return {name: counts_of(prepared.detector, part) for name, part in found.items() if len(part)}


def counts_of(detector: Detector, part: Dataset) -> dict[str, int]:
    """Rows, attacks, and entities where there are some."""
    counts = {
        "rows": len(part), "attacks": int(part.attack.sum()),
        "verified_benign": int((part.verified & ~part.attack).sum()), "unverified": int((~part.verified).sum()),
    }  # fmt: skip
    if detector.entity:
        key = part.frame[detector.entity.key]
        counts |= {"entities": int(key.nunique()), "attacked_entities": int(key[part.attack].nunique())}
    return counts
