"""One look at whether precision or recall has fallen from the bundle's own figures, by more than a relative margin, with evidence.

Rows are judged in blocks (days), each when it is so old that most of its labels are in; labels that come later are not counted, so that
each is in with a known probability. A look at any time is free: it judges what has become old enough and otherwise changes nothing. What
the log holds is asked of a port, `read`; the state can be stored."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import msgspec
import numpy as np

from lifecycle.arrays import Floats
from lifecycle.monitoring.alarm import Alarm, alarm_id_of
from lifecycle.performance.baseline import Baseline
from lifecycle.performance.delays import DAY_US, Delays, delays_of
from lifecycle.performance.fall_test import FallState, bet
from lifecycle.performance.labelled_rows import ATTACK, RowsWithLabels
from lifecycle.performance.weights import alert_weights, quiet_weights

FallSubject = Literal["precision", "recall"]
SUBJECTS: Final[tuple[FallSubject, ...]] = ("precision", "recall")
MOST_WEIGHT: Final = 4.0
"""A label counts for at most so many times the average one of its kind: one label decides nothing."""
MAJOR: Final = 0.10
"""A relative fall from which on it is major."""
BEFORE_DELAYS_ARE_KNOWN: Final = 7.0
"""Days that a block waits while delays are not known."""

BLOCKS_A_READ: Final = 8
"""Blocks that are read at once, at most: each read goes through the log, and the rows of all its blocks are held."""
LOOKS_A_BLOCK: Final = 4
"""How often in a block's time delays are estimated anew."""
STATISTIC: Final = "e-process"
_MOST_SHOWN: Final = 1e12
"""Evidence is shown up to here: JSON has no infinity, and more says no more."""


class ReadRows(Protocol):
    """Reads the rows of the watched revision."""

    def __call__(self, since_us: int, until_us: int, *, only_labelled: bool = False) -> RowsWithLabels:
        """Rows that were answered from since_us on and before until_us, with the labels that are in by now. only_labelled: those with a
        definite label only."""
        ...


@dataclass(frozen=True, slots=True)
class FallSettings:
    """When a fall of precision or recall is an alarm. fall: relative margin. alpha: bound on a false alarm of a model in a year, over
    both figures. share_in: a block is judged when this share of its labels is in. label_noise: share of labels that are wrong.
    history_days: labels that delays are estimated from.

    again_after: blocks after an alarm before the figure is watched anew."""

    fall: float = 0.05
    alpha: float = 0.05
    block_us: int = DAY_US
    share_in: float = 0.8
    label_noise: float = 0.0
    history_days: float = 30.0
    again_after: int = 14

    @property
    def threshold(self) -> float:
        """The e-value of an alarm: the same chance for each figure."""
        return len(SUBJECTS) / self.alpha


AS_A_RULE: Final = FallSettings()


class WatchedPerformance(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered between looks, of one revision. next_us: the first row that was not judged. tests: by subject.

    quiet_until_us: by subject, until when nothing is watched after an alarm. retry_us: before then a look has nothing to do."""

    revision: str
    next_us: int
    tests: Mapping[FallSubject, FallState] = {}
    quiet_until_us: Mapping[FallSubject, int] = {}
    retry_us: int = 0


@dataclass(frozen=True, slots=True)
class Fall:
    """An alarm that precision or recall has fallen. figure: since `began_us`, by labels; wanted: the bundle's own; allowed: the bound.
    evidence: the e-value."""

    subject: FallSubject
    revision: str
    figure: float
    wanted: float
    allowed: float
    evidence: float
    threshold: float
    began_us: int
    time_us: int
    labels: int

    @property
    def severity(self) -> Literal["minor", "major"]:
        """By the size of the fall."""
        return "major" if self.figure <= (1 - MAJOR) * self.wanted else "minor"

    @property
    def words(self) -> str:
        """For people."""
        seen = f"{self.subject} is {self.figure:.3f} by {self.labels:,} labels"
        bound = f"the bundle's own is {self.wanted:.3f}, and {self.allowed:.3f} was allowed"
        return f"{seen}; {bound} (evidence {self.evidence:.3g}, alarm from {self.threshold:.3g})"

    @property
    def advice(self) -> str:
        """What to do."""
        if self.subject == "precision":
            return "Look at the newest false alarms; raise the threshold, or retrain with them as benign rows."
        return "Look at the attacks that the audit found; lower the threshold, or retrain with them as attacks."


def alarm_of(fall: Fall, model: str) -> Alarm:
    """The fall as an alarm."""
    named = alarm_id_of(
        model=model,
        revision=fall.revision,
        kind="performance",
        subject=fall.subject,
        segment=None,
        statistic=STATISTIC,
        began_us=fall.began_us,
    )
    return Alarm(
        alarm_id=named,
        model=model,
        revision=fall.revision,
        kind="performance",
        subject=fall.subject,
        severity=fall.severity,
        statistic=STATISTIC,
        value=min(fall.evidence, _MOST_SHOWN),
        threshold=fall.threshold,
        began_us=fall.began_us,
        time_us=fall.time_us,
        words=f"{model}: {fall.words}.",
        advice=fall.advice,
    )


def begin(revision: str, since_us: int, settings: FallSettings) -> WatchedPerformance:
    """Watch from the block on that holds this moment: when the revision began to answer."""
    return WatchedPerformance(revision=revision, next_us=since_us - since_us % settings.block_us)


def is_due(state: WatchedPerformance, now_us: int, settings: FallSettings) -> bool:
    """Whether a look would do anything."""
    return now_us >= max(state.retry_us, state.next_us + settings.block_us)


def look(
    state: WatchedPerformance, read: ReadRows, baseline: Baseline, now_us: int, settings: FallSettings
) -> tuple[WatchedPerformance, tuple[Fall, ...]]:
    """Judge what has become old enough. Twice at the same moment: the second one changes nothing.

    The state counts blocks and not looks, so it does not matter how often one looks."""
    block = settings.block_us
    if not is_due(state, now_us, settings):
        return state, ()
    first = min(state.next_us, now_us - int(settings.history_days * DAY_US))
    delays = delays_of(read(first, now_us, only_labelled=True), now_us)
    age_us = max(delays.age_with(settings.share_in) or BEFORE_DELAYS_ARE_KNOWN * DAY_US, 0.0)
    falls: list[Fall] = []
    while (due := int((now_us - age_us - state.next_us) // block)) > 0:
        since_us, until_us = state.next_us, state.next_us + min(due, BLOCKS_A_READ) * block
        several = read(since_us, until_us).seen_within(age_us)
        for begins_us in range(since_us, until_us, block):
            rows = several.take((several.times_us >= begins_us) & (several.times_us < begins_us + block))
            state, found = _judge(state, rows, np.full(len(rows), age_us), delays, baseline, now_us, settings)
            falls += found
    wait_us = max(1, min(int(state.next_us + block + age_us) - now_us, block // LOOKS_A_BLOCK))
    return msgspec.structs.replace(state, retry_us=now_us + wait_us), tuple(falls)


def _judge(
    state: WatchedPerformance,
    rows: RowsWithLabels,
    age_us: Floats,
    delays: Delays,
    baseline: Baseline,
    now_us: int,
    settings: FallSettings,
) -> tuple[WatchedPerformance, list[Fall]]:
    for_alerts, for_quiet = alert_weights(rows, age_us, delays), quiet_weights(rows, age_us, delays)
    tests, waits, falls = dict(state.tests), dict(state.quiet_until_us), []
    for subject in SUBJECTS:
        if state.next_us < waits.get(subject, 0):
            continue
        wanted = baseline.precision if subject == "precision" else baseline.recall
        allowed = (1 - settings.fall) * wanted
        before = tests.get(subject, FallState())
        before = FallState() if before.is_over else before
        seen = _precision_bets(rows, for_alerts, allowed, settings) if subject == "precision" else None
        seen = seen or _recall_bets(rows, for_alerts, for_quiet, allowed, settings)
        after = bet(before, seen.excess, seen.most, block_us=state.next_us, gain=seen.gain, weight=seen.weight)
        tests[subject] = after
        if after.evidence >= settings.threshold:
            figure = after.figure if after.figure is not None else allowed
            falls.append(
                Fall(
                    subject, state.revision, figure, wanted, allowed, after.evidence, settings.threshold, after.since_us, now_us,
                    after.labels,
                )
            )  # fmt: skip
            tests[subject] = FallState()
            waits[subject] = state.next_us + (1 + settings.again_after) * settings.block_us
    after_block = msgspec.structs.replace(state, next_us=state.next_us + settings.block_us, tests=tests, quiet_until_us=waits)
    return after_block, falls


@dataclass(frozen=True, slots=True)
class _Bets:
    excess: Floats
    most: float
    gain: float
    weight: float


def _precision_bets(rows: RowsWithLabels, weights: Floats, allowed: float, settings: FallSettings) -> _Bets:
    """Labelled alerts: each says `attack or not` less what is allowed."""
    used = np.flatnonzero(weights > 0)
    relative = np.minimum(weights[used] / weights[used].mean(), MOST_WEIGHT) if len(used) else weights[used]
    attack = _without_noise(rows, used, settings.label_noise)
    most = MOST_WEIGHT * ((1 - settings.label_noise) / (1 - 2 * settings.label_noise) - allowed)
    return _Bets(relative * (attack - allowed), max(most, 1e-9), float(relative @ attack), float(relative.sum()))


def _recall_bets(rows: RowsWithLabels, for_alerts: Floats, for_quiet: Floats, allowed: float, settings: FallSettings) -> _Bets:
    """Attacks that alerted speak for the recall, attacks that the audit found against it, each by how many rows it stands for.

    A block in which nobody audited says nothing, else it would speak for the recall alone."""
    noise = settings.label_noise
    quiet, alerts = np.flatnonzero(for_quiet > 0), np.flatnonzero(for_alerts > 0)
    if not len(quiet):
        return _Bets(np.zeros(0), 1.0, 0.0, 0.0)
    found = _without_noise(rows, alerts, noise) * _capped(for_alerts[alerts])
    missed = _without_noise(rows, quiet, noise) * _capped(for_quiet[quiet])
    excess = np.concatenate([(1 - allowed) * found, -allowed * missed])
    order = np.argsort(np.concatenate([rows.times_us[alerts], rows.times_us[quiet]]), kind="stable")
    by_alert = MOST_WEIGHT * float(for_alerts[alerts].mean()) if len(alerts) else 1.0
    most = (1 - allowed) * by_alert * (1 - noise) / (1 - 2 * noise)
    most = max(most, allowed * MOST_WEIGHT * float(for_quiet[quiet].mean()) * noise / (1 - 2 * noise), 1e-9)
    kept = excess[order]
    return _Bets(kept[kept != 0], most, float(found.sum()), float(found.sum() + missed.sum()))


def _capped(weights: Floats) -> Floats:
    return np.minimum(weights, MOST_WEIGHT * weights.mean()) if len(weights) else weights


def _without_noise(rows: RowsWithLabels, which: np.ndarray, noise: float) -> Floats:
    """1 of attacks and 0 of benign rows, on average, where this share of labels is wrong. Shape (len(which),)."""
    attack = (rows.label[which] == ATTACK).astype(np.float64)
    return np.asarray((attack - noise) / (1 - 2 * noise))
