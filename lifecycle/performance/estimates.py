"""Precision, recall and F1 of a set of answered rows, from the labels that are in by now. Pure.

What is estimated is the model's figure in that time, of which the rows are a sample: with every label in, bounds are still those of so many
rows. Alerts and quiet rows are two strata. Precision is the share of attacks in the first; recall needs both, weighted by how many rows
each has."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from lifecycle.arrays import Floats
from lifecycle.performance.delays import Delays
from lifecycle.performance.figures import Estimate, Figure, NotEstimated
from lifecycle.performance.labelled_rows import ATTACK, UNSURE, RowsWithLabels
from lifecycle.performance.share_draws import DRAWS, WeightedShare, bounds, true_share
from lifecycle.performance.weights import alert_weights, quiet_weights

MATURE: Final = 0.5
"""Below this share of the labels in, there is no figure yet."""
UNNAMED: Final = "not named"


@dataclass(frozen=True, slots=True)
class Performance:
    """Precision, recall and F1 of one set of rows, from late labels. by_family: recall of each attack family that labels name.

    labelled_alerts: alerts with a definite label; audited: quiet rows that were labelled with a probability; set_aside: quiet rows that
    were labelled for another reason, which say nothing about the others; unsure: labels that are neither. maturity: of the two kinds of
    labels, the lower one; None: not known."""

    rows: int
    alerts: int
    precision: Figure
    recall: Figure
    f1: Figure
    attack_share: Figure
    by_family: dict[str, Figure]
    labelled_alerts: int
    audited: int
    set_aside: int
    unsure: int
    maturity: float | None


@dataclass(frozen=True, slots=True)
class Assumed:
    """Assumptions of an estimate from late labels. label_noise: share of labels that are wrong, either way. mature: the least share of
    labels in."""

    label_noise: float = 0.0
    mature: float = MATURE
    draws: int = DRAWS

    def __post_init__(self) -> None:
        if not 0 <= self.label_noise < 0.5:
            raise ValueError(f"label_noise is {self.label_noise}, expected a share from 0 to below 0.5, e.g. 0.02")


AS_GIVEN: Final = Assumed()


def estimate_performance(
    rows: RowsWithLabels, now_us: int, delays: Delays | None, *, assumed: Assumed = AS_GIVEN, seed: int = 0
) -> Performance:
    """Estimate from what is in at `now_us`. delays: of the model's labels (`delays_of`); None: labels take no time."""
    age = (now_us - rows.times_us).astype(np.float64)
    for_alerts, for_quiet = alert_weights(rows, age, delays), quiet_weights(rows, age, delays)
    attack = (rows.label == ATTACK).astype(np.float64)
    in_alerts, in_quiet = _share(for_alerts, attack), _share(for_quiet, attack)
    mature = tuple(
        None if delays is None else delays.maturity(of, age[which]) for of, which in ((True, rows.alert), (False, ~rows.alert))
    )
    found = _Draws(rows, in_alerts, in_quiet, assumed, seed)
    why_precision = _why_no_precision(rows, in_alerts, mature[0], assumed.mature)
    why_recall = why_precision if why_precision and why_precision.reason != "no_alerts" else None
    why_recall = why_recall or _why_no_recall(rows, in_quiet, mature[1], assumed.mature)
    precision, recall, f1, share = found.figures()
    return Performance(
        len(rows),
        int(rows.alert.sum()),
        why_precision or precision,
        why_recall or recall,
        why_recall or f1,
        why_recall or share,
        {} if why_recall else _by_family(rows, for_alerts, for_quiet, assumed, seed),
        int((rows.alert & rows.is_definite).sum()),
        int((for_quiet > 0).sum()),
        int((~rows.alert & rows.is_definite & (for_quiet == 0)).sum()),
        int((rows.label == UNSURE).sum()),
        min((m for m in mature if m is not None), default=None),
    )


def _share(weights: Floats, counts: Floats) -> WeightedShare | None:
    used = weights > 0
    return WeightedShare.of(weights[used], counts[used])


class _Draws:
    """Draws of the shares, and the figures that follow."""

    def __init__(
        self, rows: RowsWithLabels, in_alerts: WeightedShare | None, in_quiet: WeightedShare | None, assumed: Assumed, seed: int
    ) -> None:
        rng = np.random.default_rng(seed)
        alerts, quiet = int(rows.alert.sum()), int((~rows.alert).sum())
        self._shares, self._noise = (in_alerts, in_quiet), assumed.label_noise
        self._at = alerts / len(rows) if len(rows) else 0.0
        self._alert_share = rng.beta(alerts + 0.5, quiet + 0.5, assumed.draws)
        self._drawn = tuple(
            np.ones(assumed.draws) if share is None else true_share(share.draws(rng, assumed.draws), self._noise)
            for share in self._shares
        )

    def figures(self) -> tuple[Figure, Figure, Figure, Figure]:
        """precision, recall, F1, share of attacks; as if both shares were known."""
        values = [0.0 if s is None else float(true_share(np.array([s.value]), self._noise)[0]) for s in self._shares]
        points = _figures(np.array([self._at]), np.array([values[0]]), np.array([values[1]]))
        drawn = _figures(self._alert_share, *self._drawn)
        both = [s for s in self._shares if s is not None]
        found: list[Figure] = []
        for place, (point, draws) in enumerate(zip(points, drawn, strict=True)):
            used = both[:1] if place == 0 else both
            if np.isnan(point[0]) or np.isnan(draws).all():
                found.append(NotEstimated("no_attacks"))
                continue
            low, high = bounds(draws)
            value = float(point[0])
            found.append(
                Estimate(
                    value,
                    min(low, value),
                    max(high, value),
                    sum(s.rows for s in used),
                    min((s.effective for s in used), default=0.0),
                )
            )
        return found[0], found[1], found[2], found[3]


def _figures(alert_share: Floats, in_alerts: Floats, in_quiet: Floats) -> Sequence[Floats]:
    """precision, recall, F1, share of attacks, NaN where there is nothing to count."""
    hits, missed = alert_share * in_alerts, (1.0 - alert_share) * in_quiet
    attacks = hits + missed
    recall = np.divide(hits, attacks, out=np.full_like(hits, np.nan), where=attacks > 0)
    both = alert_share + attacks
    return in_alerts, recall, np.divide(2.0 * hits, both, out=np.full_like(hits, np.nan), where=both > 0), attacks


def _why_no_precision(
    rows: RowsWithLabels, share: WeightedShare | None, maturity: float | None, mature: float
) -> NotEstimated | None:
    if not len(rows):
        return NotEstimated("no_rows")
    if not rows.alert.any():
        return NotEstimated("no_alerts")
    return _immature(maturity, mature) or (NotEstimated("no_labels") if share is None else None)


def _why_no_recall(
    rows: RowsWithLabels, share: WeightedShare | None, maturity: float | None, mature: float
) -> NotEstimated | None:
    if rows.alert.all():
        return None
    return _immature(maturity, mature) or (NotEstimated("no_audit") if share is None else None)


def _immature(maturity: float | None, mature: float) -> NotEstimated | None:
    return NotEstimated("immature", maturity) if maturity is not None and maturity < mature else None


def _by_family(rows: RowsWithLabels, for_alerts: Floats, for_quiet: Floats, assumed: Assumed, seed: int) -> dict[str, Figure]:
    attack = rows.label == ATTACK
    names = np.where(rows.family == "", UNNAMED, rows.family)
    families = sorted({str(name) for name in names[attack & ((for_alerts > 0) | (for_quiet > 0))].tolist()})
    if families in ([], [UNNAMED]):
        return {}
    found: dict[str, Figure] = {}
    for family in families:
        counts = (attack & (names == family)).astype(np.float64)
        found[family] = _Draws(
            rows, _share(for_alerts, counts), _share(for_quiet, counts), Assumed(0.0, assumed.mature, assumed.draws), seed
        ).figures()[1]
    return found
