"""A stream with known precision and recall, whose labels come late and not by chance: it is replayed to count how often 95 % intervals
hold the truth.

Scores are normal log-odds, so the figures of any threshold are exact. Alerts are labelled with a probability that may rise with the
score, quiet rows only in a random audit. Delays are log-normal, and false alarms are closed sooner than attacks are confirmed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from lifecycle.arrays import Mask
from lifecycle.metrics import Interval, wilson
from lifecycle.performance.baseline import Baseline
from lifecycle.performance.delays import DAY_US, delays_of
from lifecycle.performance.estimates import Assumed, estimate_performance
from lifecycle.performance.figures import Figure, is_estimate
from lifecycle.performance.labelled_rows import (
    ATTACK,
    BENIGN,
    BY_ALERT,
    BY_AUDIT,
    NO_LABEL,
    UNLABELLED,
    UNSURE,
    RowsWithLabels,
    together,
)
from lifecycle.performance.watching import FallSettings, begin, look

FIGURES: Final = ("precision", "recall", "f1")
START_US: Final = 1_767_225_600_000_000


@dataclass(frozen=True, slots=True)
class LateWorld:
    """A stream. rows_a_day: answers per day. attack_share: share of attacks. apart: standard deviations between the classes. threshold:
    log-odds from which a row alerts.

    alert_rate: share of alerts that are labelled. picky: that share rises with the score, from half of the rate to all of it.
    audit_rate: share of all rows in the audit. median_days: median delay of labels of (false alarms, attacks that alerted, audits).
    spread: sigma of the log-normal delay. noise: share of labels that are wrong. unsure: share of labels that are neither attack nor
    benign."""

    name: str
    rows_a_day: int = 5000
    attack_share: float = 0.05
    apart: float = 3.0
    threshold: float = 1.2
    alert_rate: float = 0.6
    picky: bool = False
    audit_rate: float = 0.05
    median_days: tuple[float, float, float] = (0.7, 2.0, 2.5)
    spread: float = 0.8
    noise: float = 0.0
    unsure: float = 0.03

    @property
    def truth(self) -> Mapping[str, float]:
        """The true figures of the stream."""
        recall, alarms = float(ndtr(self.apart / 2 - self.threshold)), float(ndtr(-self.apart / 2 - self.threshold))
        hits, wrong = self.attack_share * recall, (1 - self.attack_share) * alarms
        return {"precision": hits / (hits + wrong), "recall": recall, "f1": 2 * hits / (hits + wrong + self.attack_share)}

    def draw(self, rng: np.random.Generator, days: int, now_day: float) -> RowsWithLabels:
        """The rows of this many days, with the labels that are known at `now_day`. Both count from START_US."""
        n = self.rows_a_day * days
        times = START_US + np.sort(rng.integers(0, days * DAY_US, n))
        attack = rng.random(n) < self.attack_share
        scores = rng.normal(0, 1, n) + np.where(attack, self.apart / 2, -self.apart / 2)
        alert = scores >= self.threshold
        chance = np.full(n, self.alert_rate)
        if self.picky:
            chance = self.alert_rate * (0.5 + 0.5 * ndtr(2 * (scores - self.threshold - 0.7)))
        audit = rng.random(n) < self.audit_rate
        by_alert = alert & ~audit & (rng.random(n) < chance)
        median = np.where(audit, self.median_days[2], np.where(attack, self.median_days[1], self.median_days[0]))
        delay = median * np.exp(self.spread * rng.normal(0, 1, n)) * DAY_US
        in_by_now = (audit | by_alert) & (times + delay <= START_US + now_day * DAY_US)
        verdict = np.where(attack ^ (rng.random(n) < self.noise), ATTACK, BENIGN)
        verdict[rng.random(n) < self.unsure] = UNSURE
        route = np.where(audit, BY_AUDIT, BY_ALERT)
        return RowsWithLabels(
            times, alert, scores, np.where(in_by_now, verdict, NO_LABEL).astype(np.int8), np.full(n, "", dtype=object),
            np.where(in_by_now, route, UNLABELLED).astype(np.int8), np.where(in_by_now, np.floor(delay), np.nan),
            np.where(in_by_now & audit, self.audit_rate, np.nan),
        )  # fmt: skip


PLAIN: Final = LateWorld("plain")
WORLDS: Final = (
    PLAIN,
    LateWorld("picky", picky=True),
    LateWorld("rare", rows_a_day=20000, attack_share=0.01, threshold=1.5, audit_rate=0.02),
    LateWorld("few labels", alert_rate=0.1, audit_rate=0.02),
    LateWorld("noise", noise=0.02),
)
DAYS: Final = 14
AGE_DAYS: Final = 4


def naive(rows: RowsWithLabels) -> Mapping[str, Interval]:
    """Wilson's bounds over the labels that are known, regardless of how their rows were selected."""
    known = rows.is_definite
    hits = int((known & rows.alert & (rows.label == ATTACK)).sum())
    return {
        "precision": wilson(hits, int((known & rows.alert).sum())),
        "recall": wilson(hits, int((known & (rows.label == ATTACK)).sum())),
    }


def unlabelled_are_benign(rows: RowsWithLabels) -> Mapping[str, Interval]:
    """The same, with every row without a label counted as benign."""
    hits = int((rows.alert & (rows.label == ATTACK)).sum())
    return {"precision": wilson(hits, int(rows.alert.sum())), "recall": wilson(hits, int((rows.label == ATTACK).sum()))}


@dataclass(frozen=True, slots=True)
class Coverage:
    """The results of many replays. given: how often there was a figure. held: how often its interval held the truth. width: mean width
    of the interval.

    bias: mean error of the estimate. is_rule: whether it is the rule that is used."""

    given: int
    held: int
    width: float
    bias: float


def replay(world: LateWorld, *, replays: int, seed: int, age_days: float = AGE_DAYS) -> Mapping[str, Mapping[str, Coverage]]:
    """How often the intervals of one day, which is age_days old, hold the truth: rule -> figure -> coverage. Each replay is a stream of
    its own."""
    rng = np.random.default_rng(seed)
    truth = world.truth
    seen: dict[str, dict[str, list[tuple[float, float, float]]]] = {}
    for _ in range(replays):
        rows = world.draw(rng, DAYS, DAYS)
        now_us = START_US + DAYS * DAY_US
        day = rows.take(_between(rows.times_us, DAYS - age_days - 1, DAYS - age_days))
        found = estimate_performance(day, now_us, delays_of(rows, now_us), assumed=Assumed(label_noise=world.noise))
        by_rule = {
            "weighted": {name: _triple(getattr(found, name)) for name in FIGURES},
            "naive": {name: _bounds(one) for name, one in naive(day).items()},
            "unlabelled as benign": {name: _bounds(one) for name, one in unlabelled_are_benign(day).items()},
        }
        for rule, figures in by_rule.items():
            for name, one in figures.items():
                seen.setdefault(rule, {}).setdefault(name, []).extend([one] if one is not None else [])
    return {rule: {name: _coverage(each, truth[name]) for name, each in figures.items()} for rule, figures in seen.items()}


def _between(times_us: NDArray[np.int64], first_day: float, last_day: float) -> Mask:
    return (times_us >= START_US + first_day * DAY_US) & (times_us < START_US + last_day * DAY_US)


def _triple(figure: Figure) -> tuple[float, float, float] | None:
    return (figure.value, figure.low, figure.high) if is_estimate(figure) else None


def _bounds(one: Interval) -> tuple[float, float, float] | None:
    return None if one.value is None or one.low is None or one.high is None else (one.value, one.low, one.high)


def _coverage(each: list[tuple[float, float, float]], truth: float) -> Coverage:
    values = np.array(each).reshape(-1, 3)
    held = int(((values[:, 1] <= truth) & (truth <= values[:, 2])).sum())
    return Coverage(len(values), held, float((values[:, 2] - values[:, 1]).mean()), float(values[:, 0].mean() - truth))


@dataclass(frozen=True, slots=True)
class Watched:
    """The results of many streams. alarmed: how many alarmed. days: the day of each first alarm."""

    streams: int
    alarmed: int
    days: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class StreamReader:
    """Reads a stream as it was known at a moment."""

    stream: RowsWithLabels
    now_us: int

    def __call__(self, since_us: int, until_us: int, *, only_labelled: bool = False) -> RowsWithLabels:
        """The rows of a span of time, as lifecycle.performance.watching.ReadRows."""
        ends = np.searchsorted(self.stream.times_us, [since_us, min(until_us, self.now_us)])
        rows = as_of(self.stream.take(slice(*ends.tolist())), self.now_us)
        return rows.take(rows.is_definite) if only_labelled else rows


def as_of(rows: RowsWithLabels, now_us: int) -> RowsWithLabels:
    """The rows as they were known at a moment: without the labels that came later."""
    return rows.seen_within((now_us - rows.times_us).astype(np.float64))


def watch(
    before: LateWorld,
    after: LateWorld,
    baseline: Baseline,
    *,
    subject: str,
    changes_day: int,
    days: int,
    streams: int,
    seed: int,
) -> Watched:
    """Look once a day at streams that change from one world to another on `changes_day`. Alarms about the subject are counted."""
    rng = np.random.default_rng(seed)
    settings = FallSettings(label_noise=before.noise)
    first: list[float] = []
    for _ in range(streams):
        parts = [before.draw(rng, changes_day, np.inf)] if changes_day else []
        if days > changes_day:
            changed = after.draw(rng, days - changes_day, np.inf)
            parts.append(replace(changed, times_us=changed.times_us + changes_day * DAY_US))
        stream = together(parts)
        state = begin("sha256:0", START_US, settings)
        for day in range(1, days + 1):
            now_us = START_US + day * DAY_US

            state, falls = look(state, StreamReader(stream, now_us), baseline, now_us, settings)
            if any(fall.subject == subject for fall in falls):
                first.append(day)
                break
    return Watched(streams, len(first), tuple(first))


def own_figures(world: LateWorld, *, recall: float = 1.0, precision: float = 1.0) -> Baseline:
    """What a bundle would say of this world. recall, precision: factors by which its figures are wrong."""
    truth = world.truth
    return Baseline(
        "siem_alerting", truth["precision"] * precision, truth["recall"] * recall, truth["f1"], 0.0, world.attack_share, 1
    )
