"""The judgement: every check of two samples, one level for the whole report, and the severity of each finding. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lifecycle.monitoring.drift.check import Checked, DriftCheck, DriftKind, Unjudged
from lifecycle.monitoring.drift.columns import check_column
from lifecycle.monitoring.drift.multivariate_checks import check_together
from lifecycle.monitoring.drift.sample import DriftSample
from lifecycle.monitoring.drift.settings import DEFAULTS, DriftSettings, DriftSeverity, Family
from lifecycle.monitoring.sequential.binning import text_of
from lifecycle.monitoring.statistics.labelled import concept_change, coverage_drop
from lifecycle.monitoring.statistics.multiplicity import benjamini_hochberg

SCORE, VERDICT, CONCEPT, COVERAGE = "score", "verdict", "attacks at equal score", "conformal coverage"
_ORDER = {"major": 0, "minor": 1, "trace": 2, "none": 3}


@dataclass(frozen=True, slots=True)
class DriftReport:
    """checks: findings first, the worst first. unjudged: what could not be checked."""

    reference: DriftSample
    current: DriftSample
    checks: tuple[DriftCheck, ...]
    unjudged: tuple[Unjudged, ...]
    settings: DriftSettings

    @property
    def findings(self) -> tuple[DriftCheck, ...]:
        """Checks that count."""
        return tuple(check for check in self.checks if check.is_finding)

    @property
    def kinds(self) -> tuple[DriftKind, ...]:
        """Which kinds of drift were found."""
        kinds: tuple[DriftKind, ...] = ("data", "prediction", "concept")
        return tuple(kind for kind in kinds if any(check.kind == kind for check in self.findings))

    @property
    def severity(self) -> DriftSeverity:
        """Of the worst check."""
        return self.checks[0].severity if self.checks else "none"

    @property
    def smallest_raw_p(self) -> float:
        """The smallest p of the report, each divided by its weight and times the number of checks, without a cap at 1: the evidence that
        the level is compared with."""
        return min((len(self.checks) * check.p / check.weight for check in self.checks), default=1.0)


def judge_drift(
    reference: DriftSample,
    current: DriftSample,
    settings: DriftSettings = DEFAULTS,
    *,
    by: str | None = None,
    seed: int = 0,
) -> DriftReport:
    """Compare a window with a reference. by: a column of both samples; each of its values is a segment. seed: of permutations and halves.

    On unchanged data of independent rows the report has any finding at most `settings.level` of the time. The level is divided between the
    families of checks that there are, within each evenly, and Benjamini-Hochberg with these weights judges them all at once: false
    findings stay a share `level` of the findings where something has changed. A finding must also be large enough to matter.
    Source: Genovese, Roeder & Wasserman (2006), Biometrika 93 (weights)."""
    rng = np.random.default_rng(seed)
    unseen = reference if reference.unseen is None else reference.unseen
    found = [
        *_data(reference, current, settings, rng),
        *_prediction(unseen, current, settings),
        *_concept(unseen, current if current.labelled is None else current.labelled, settings),
    ]
    if by is not None:
        found += _segments(reference, current, by, settings)
    checks = [check for check in found if isinstance(check, DriftCheck)]
    unjudged = tuple(one for one in found if isinstance(one, Unjudged))
    return DriftReport(reference, current, _judged(checks, settings), unjudged, settings)


def _data(reference: DriftSample, current: DriftSample, settings: DriftSettings, rng: np.random.Generator) -> Iterator[Checked]:
    common = [name for name in reference.columns if name in current.columns]
    judged = []
    for name in common:
        is_withheld = name in current.withheld
        check = check_column(name, reference.columns[name], current.columns[name], settings, is_withheld=is_withheld)
        if isinstance(check, DriftCheck) and check.bars is not None:  # there are values to compare
            judged.append(name)
        yield check
    for name in reference.columns.keys() ^ current.columns.keys():
        yield Unjudged(name, f"only {'the reference' if name in reference.columns else 'the window'} has this column")
    if judged:
        old, new = ({name: sample.columns[name] for name in judged} for sample in (reference, current))
        yield from check_together(old, new, settings, rng)


def _prediction(
    reference: DriftSample, current: DriftSample, settings: DriftSettings, segment: str | None = None
) -> Iterator[Checked]:
    family: Family = "prediction" if segment is None else "segment"
    for name, old, new in (
        (SCORE, reference.scores, current.scores), (VERDICT, reference.verdicts, current.verdicts),
    ):  # fmt: skip
        if old is not None and new is not None:
            yield check_column(name, old, new, settings, kind="prediction", family=family, segment=segment)
        elif segment is None:
            yield Unjudged(name, f"{'the reference' if old is None else 'the window'} has no {name}")


def _concept(reference: DriftSample, current: DriftSample, settings: DriftSettings) -> Iterator[Checked]:
    samples = [_labelled(reference), _labelled(current)]
    if any(sample is None for sample in samples):
        which = "the reference" if samples[0] is None else "the window"
        yield Unjudged(
            CONCEPT, f"{which} has no labelled rows with scores; whether the model still decides rightly is not known"
        )
    else:
        (old_scores, old_attack), (new_scores, new_attack) = (sample for sample in samples if sample is not None)
        if min(len(old_scores), len(new_scores)) < settings.least_labels:
            words = f"{len(old_scores):,} and {len(new_scores):,} labelled rows, {settings.least_labels:,} are needed in each"
            yield Unjudged(CONCEPT, f"too few labels: {words}")
        else:
            change = concept_change(old_scores, old_attack, new_scores, new_attack)
            words = f"at equal score {abs(change.difference):.1%} {'more' if change.difference > 0 else 'fewer'} of the rows are attacks"
            yield DriftCheck("concept", "concept", CONCEPT, {"attack_share": abs(change.difference)}, change.p, details=(words,),
                             figures={"difference": change.difference})  # fmt: skip
    if current.covered is None or current.set_error is None:
        return
    covered = current.covered[~np.isnan(current.covered)]
    if len(covered) < settings.least_labels:
        yield Unjudged(COVERAGE, f"too few labels: {len(covered):,}, {settings.least_labels:,} are needed")
        return
    drop = coverage_drop(covered == 1, current.set_error)
    words = f"sets hold the class of {drop.covered:.1%} of {drop.rows:,} labelled rows, {drop.promised:.1%} was promised"
    yield DriftCheck("concept", "concept", COVERAGE, {"coverage": max(0.0, drop.drop)}, drop.p, details=(words,))


def _labelled(sample: DriftSample) -> tuple[np.ndarray, np.ndarray] | None:
    if sample.scores is None or sample.attack is None:
        return None
    used = ~np.isnan(sample.attack) & ~np.isnan(sample.scores)
    return (sample.scores[used], sample.attack[used] == 1) if used.any() else None


def _segments(reference: DriftSample, current: DriftSample, by: str, settings: DriftSettings) -> Iterator[Checked]:
    if by not in reference.columns or by not in current.columns:
        yield Unjudged(f"segments by {by}", f"there is no such column; there are {sorted(reference.columns)}")
        return
    old, new = (
        np.array([_segment_name(v) for v in sample.columns[by].tolist()], dtype=object) for sample in (reference, current)
    )
    names, counts = np.unique(new.astype(str), return_counts=True)
    if len(names) > settings.most_segments:
        yield Unjudged(
            f"segments by {by}",
            f"{len(names) - settings.most_segments:,} smaller ones: only the {settings.most_segments} largest are judged",
        )
    largest = names[np.argsort(-counts, kind="stable")][: settings.most_segments].tolist()
    for name in largest:
        parts = reference.take(old == name), current.take(new == name)
        segment = f"{by}={name}"
        if min(map(len, parts)) < settings.least_rows:
            words = f"too few rows: {len(parts[0]):,} and {len(parts[1]):,}, {settings.least_rows:,} are needed in each"
            yield Unjudged("all columns", words, segment)
            continue
        for column in reference.columns:
            if column != by and column in current.columns:
                old_column, new_column = (part.columns[column] for part in parts)
                yield check_column(
                    column,
                    old_column,
                    new_column,
                    settings,
                    family="segment",
                    segment=segment,
                    is_withheld=column in current.withheld,
                )
        yield from _prediction(*parts, settings, segment)


def _segment_name(value: object) -> str:
    if value is None or value != value:  # noqa: PLR0124  (NaN)
        return "(missing)"
    return text_of(value)


def _judged(checks: Sequence[DriftCheck], settings: DriftSettings) -> tuple[DriftCheck, ...]:
    if not checks:
        return ()
    present = {check.family for check in checks}
    total = sum(settings.shares[family] for family in present)
    sizes = {family: sum(check.family == family for check in checks) for family in present}
    weights = np.array([len(checks) * settings.shares[c.family] / total / sizes[c.family] for c in checks])
    adjusted = benjamini_hochberg(np.minimum(np.array([check.p for check in checks]) / weights, 1.0))
    found = []
    for check, weight, p in zip(checks, weights.tolist(), adjusted.tolist(), strict=True):
        severity, decided_by = _severity(check, p, settings)
        found.append(replace(check, weight=weight, adjusted_p=p, severity=severity, decided_by=decided_by))
    return tuple(sorted(found, key=lambda c: (_ORDER[c.severity], -_excess(c, settings), c.adjusted_p, c.subject)))


def _severity(check: DriftCheck, adjusted_p: float, settings: DriftSettings) -> tuple[DriftSeverity, str]:
    if adjusted_p > settings.level or not check.effects:
        return "none", ""
    worst = max(check.effects, key=lambda name: _ratio(name, check.effects[name], settings))
    minor, _ = settings.levels[worst]
    value = check.effects[worst]
    if any(check.effects[name] >= settings.levels[name][1] for name in check.effects):
        return "major", worst
    return ("minor" if value >= minor else "trace"), worst


def _ratio(name: str, value: float, settings: DriftSettings) -> float:
    return value / settings.levels[name][1]


def _excess(check: DriftCheck, settings: DriftSettings) -> float:
    return max((_ratio(name, value, settings) for name, value in check.effects.items()), default=0.0)
