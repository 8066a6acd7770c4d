"""Alert, false-positive and false-negative rates by segment, next to the rest of the rows. Pure.

Every segment is compared with all other rows, whether or not these are in a segment. A disparity is a finding where its p-value, corrected
for all comparisons of the report together, is at most alpha. What is too small to be judged is shown with its counts and judged by nobody.
How intervals are made is clusters.py's, how p-values are exact_tests.py's; where segments come from is segment_rows.py's."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from lifecycle.arrays import Mask
from lifecycle.evaluation.fairness.clusters import ClusterCounts, difference_interval, rate_interval, ratio_interval
from lifecycle.evaluation.fairness.exact_tests import Correction, adjusted, two_rates
from lifecycle.metrics import Interval

RateName = Literal["alert_rate", "false_positive_rate", "false_negative_rate"]
RATE_WORDS: Final[Mapping[RateName, str]] = {
    "alert_rate": "alerts, of all rows",
    "false_positive_rate": "alerts, of the benign rows",
    "false_negative_rate": "no alert, of the attacks",
}


@dataclass(frozen=True, slots=True)
class SegmentedRows:
    """Rows to be judged, arrays of shape (n,). benign, attack: rows known (or taken) to be so; a row may be neither.

    entity: None where rows name none. segments: column of the mapping -> each row's value, "" for none."""

    alert: Mask
    benign: Mask
    attack: Mask
    entity: NDArray[np.object_] | None
    segments: Mapping[str, NDArray[np.object_]]


@dataclass(frozen=True, slots=True)
class MinimumSizes:
    """What a segment and the rest need each before their rates are compared."""

    rows: int = 100
    """Rows that the rate is of. Of attacks (false-negative rate) a fifth is enough."""
    entities: int = 10
    """Different entities among them, where rows name entities."""
    eventful: float = 5.0
    """Over how many entities the events of both are spread at least (Kish's effective number), where rows name entities."""

    def missing(self, part: "SegmentRate", rate: RateName) -> str:
        """What is missing, in words; empty: nothing is."""
        rows = -(-self.rows // 5) if rate == "false_negative_rate" else self.rows
        if part.total < rows:
            return f"{part.total} rows, at least {rows} are needed"
        if part.entities is not None and part.entities < self.entities:
            return f"{part.entities} entities, at least {self.entities} are needed"
        return ""


@dataclass(frozen=True, slots=True)
class SegmentRate:
    """One rate of some rows. entities: different ones; None where rows name none."""

    events: int
    total: int
    entities: int | None
    interval: Interval


@dataclass(frozen=True, slots=True)
class Disparity:
    """One segment's rate next to that of all other rows.

    difference: of the rates; ratio: of the segment's to the rest's; each with 95 % bounds. p, adjusted: None where it is too small.
    too_small: what is missing, in words; empty: it was judged."""

    column: str
    value: str
    rate: RateName
    segment: SegmentRate
    rest: SegmentRate
    difference: Interval
    ratio: Interval
    p: float | None
    adjusted: float | None
    too_small: str
    is_finding: bool = False

    @property
    def name(self) -> str:
        """`column=value`."""
        return f"{self.column}={self.value}"


@dataclass(frozen=True, slots=True)
class FairnessReport:
    """All segments and rates. rows, unmapped: rows judged, and those of them in no segment at all."""

    disparities: tuple[Disparity, ...]
    rows: int
    unmapped: int
    is_by_entity: bool
    alpha: float
    correction: Correction

    @property
    def findings(self) -> tuple[Disparity, ...]:
        """Those that are too large to be chance."""
        return tuple(d for d in self.disparities if d.is_finding)


def judge_fairness(
    rows: SegmentedRows,
    *,
    alpha: float = 0.05,
    sizes: MinimumSizes = MinimumSizes(),
    correction: Correction = "holm",
    seed: int = 0,
) -> FairnessReport:
    """Compare every segment with the rest. alpha: bound on any finding where there is no disparity at all. seed: of the permutations."""
    rng = np.random.default_rng(seed)
    cluster = np.arange(len(rows.alert)) if rows.entity is None else _codes(rows.entity)
    found: list[Disparity] = []
    for column, values in rows.segments.items():
        codes, names = _codes(values), sorted(set(values.tolist()))
        for value in (v for v in names if v):
            inside = codes == names.index(value)
            found += [_compare(column, value, rate, rows, cluster, inside, sizes, rng) for rate in RATE_WORDS]
    tested = [i for i, d in enumerate(found) if d.p is not None]
    for i, p in zip(tested, adjusted([found[i].p or 0.0 for i in tested], correction), strict=True):
        found[i] = replace(found[i], adjusted=p, is_finding=p <= alpha and _leaves_out_zero(found[i].difference))
    in_none = np.ones(len(rows.alert), dtype=bool)
    for values in rows.segments.values():
        in_none &= values == ""
    return FairnessReport(tuple(found), len(rows.alert), int(in_none.sum()), rows.entity is not None, alpha, correction)


def _leaves_out_zero(difference: Interval) -> bool:
    """Whether the bounds say so too. Permutations alone take unequal traffic for a difference where few entities have events."""
    return difference.low is not None and difference.high is not None and (difference.low > 0 or difference.high < 0)


def _compare(
    column: str,
    value: str,
    rate: RateName,
    rows: SegmentedRows,
    cluster: NDArray[np.intp],
    inside: Mask,
    sizes: MinimumSizes,
    rng: np.random.Generator,
) -> Disparity:
    event, among = _events(rows, rate)
    parts, rates = [], []
    for side in (inside & among, ~inside & among):
        clusters = ClusterCounts.of(event[side], cluster[side])
        parts.append(clusters)
        entities = None if rows.entity is None else len(clusters.n)
        rates.append(SegmentRate(clusters.events, clusters.total, entities, rate_interval(clusters)))
    missing = sizes.missing(rates[0], rate) or (f"the rest: {left}" if (left := sizes.missing(rates[1], rate)) else "")
    both = ClusterCounts(np.concatenate([c.n for c in parts]), np.concatenate([c.k for c in parts]))
    if not missing and rows.entity is not None and 0 < both.eventful() < sizes.eventful:
        missing = f"the events are of {both.eventful():.1f} entities in effect, at least {sizes.eventful:g} are needed"
    p = None
    if not missing:
        p = two_rates(both, np.arange(len(both.n)) < len(parts[0].n), rng)
    difference, ratio = (
        difference_interval(rates[0].interval, rates[1].interval),
        ratio_interval(rates[0].interval, rates[1].interval),
    )
    return Disparity(column, value, rate, rates[0], rates[1], difference, ratio, p, None, missing)


def _events(rows: SegmentedRows, rate: RateName) -> tuple[Mask, Mask]:
    """(the event, among which rows)."""
    if rate == "alert_rate":
        return rows.alert, np.ones(len(rows.alert), dtype=bool)
    return (rows.alert, rows.benign) if rate == "false_positive_rate" else (~rows.alert, rows.attack)


def _codes(values: NDArray[np.object_]) -> NDArray[np.intp]:
    """Each value's place among the different values, sorted."""
    names = {name: place for place, name in enumerate(sorted(set(values.tolist())))}
    return np.fromiter((names[v] for v in values.tolist()), dtype=np.intp, count=len(values))
