"""How often, and how soon, the judge is right: simulated rollouts next to a fixed-threshold judge on the same streams. Pure.

Seeded; each row of `TABLE` is played `runs` times through the very functions that judge a rollout (operators.rollout.judging.eprocess),
many runs at once. What is printed is `vedette rollout simulate`'s."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from operators.labs import rollout_streams
from operators.labs.rollout_streams import Ints, Looks
from operators.rollout.judging.eprocess import Floats, bets_against, log_factors, log_sum
from operators.rollout.judging.gate_state import LIVE_SHARE, SHARE
from operators.rollout.judging.paired import log_e_either

ALPHA = 0.05
WINDOW = 1000
"""Requests the threshold judge measures at a time, the newest."""
ALLOWED = 0.01
"""It fails a measurement whose error rate is this much above stable's..."""
FAILURE_LIMIT = 3
"""...and aborts when more measurements than this have failed (Argo Rollouts' `failureLimit`)."""
_POINTS = 100


@dataclass(frozen=True, slots=True)
class SimulatedRow:
    """One setting. stable, candidate: rates of bad events; of pairs, the shares that flip down and up. margin: the gate's. asks: which
    verdict stops a run. most: bound on the share of runs stopped, where the verdict would be false; least, median: what the
    reference reaches where it is right. unit: independent requests, pairs, or requests of few entities; a fifth of the runs there."""

    name: str
    stable: float
    candidate: float
    every: int = 100
    margin: float = 0.0
    asks: str = "worse"
    most: float | None = None
    least: float | None = None
    median: int | None = None
    reference: str = "-"
    unit: str = "independent"
    replicas: int = 1
    weight: float = 0.1
    until: int = 40_000

    @property
    def is_false(self) -> bool:
        """Whether the verdict asked for would be false."""
        return self.most is not None


TABLE = (
    SimulatedRow("1 % : 1 %", 0.01, 0.01, most=0.05, reference="2.0 %"),
    SimulatedRow("0.1 % : 0.1 %", 0.001, 0.001, most=0.05, reference="1.4 %"),
    SimulatedRow("1 % : 2 %", 0.01, 0.02, least=0.97, median=11_200, reference="97 % at 11,200 (1,120)"),
    SimulatedRow("1 % : 3 %", 0.01, 0.03, least=1.0, median=3_600, reference="100 % at 3,600 (360)"),
    SimulatedRow("1 % : 5 %", 0.01, 0.05, least=1.0, median=1_300, reference="100 % at 1,300 (130)"),
    SimulatedRow("0.1 % : 1 %", 0.001, 0.01, least=1.0, median=3_400, reference="100 % at 3,400 (340)"),
    SimulatedRow("1 % : 1 %, a look every 5", 0.01, 0.01, every=5, most=0.05, reference="0.9 %"),
)
"""docs/reference/judgement.md, "What it must show"."""

BESIDES = (
    SimulatedRow("1 % : 2 %, margin 1 point", 0.01, 0.02, margin=0.01, most=0.05),
    SimulatedRow("no worse, 1 % : 1 %, margin 1 point", 0.01, 0.01, margin=0.01, asks="no_worse", least=0.9),
    SimulatedRow("no worse, 1 % : 2 %, margin 1 point", 0.01, 0.02, margin=0.01, asks="no_worse", most=0.05),
    SimulatedRow("alerts, 1 % : 1 %, mirrored pairs, 0.5 % flip each way", 0.005, 0.005, unit="pair", most=0.05, until=20_000),
    SimulatedRow(
        "alerts, 1 % : 1.5 %, mirrored pairs, 0.2 % : 0.7 % flip", 0.002, 0.007, unit="pair", least=0.97, until=20_000
    ),
    SimulatedRow("few entities make the traffic, unit request", 0.01, 0.01, unit="request", until=20_000),
    SimulatedRow("the same, unit entity", 0.01, 0.01, unit="entity", most=0.05, until=20_000),
    SimulatedRow("the same, unit entity, 3 replicas", 0.01, 0.01, unit="entity", replicas=3, most=0.05, until=20_000),
)
"""Margins, the mirror image, and requests that are not independent."""


@dataclass(frozen=True, slots=True)
class SimulatedOutcome:
    """Of one judge in one row. stopped: share of runs with the verdict. median, median_candidate: requests until then over all runs;
    None: fewer than half. curve: (requests, share stopped by then)."""

    stopped: float
    median: float | None
    median_candidate: float | None
    curve: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class Played:
    """One row's outcome. threshold: the fixed-threshold judge's; None where it has no such verdict."""

    row: SimulatedRow
    runs: int
    ours: SimulatedOutcome
    threshold: SimulatedOutcome | None

    @property
    def is_met(self) -> bool | None:
        """Whether the row meets its bounds; None: it has none. A share is held to three standard errors of it."""
        row, ours = self.row, self.ours
        if row.most is not None:
            return ours.stopped <= row.most
        if row.least is None:
            return None
        slack = 3 * math.sqrt(row.least * (1 - row.least) / self.runs)
        is_soon = row.median is None or (ours.median is not None and ours.median <= row.median)
        return ours.stopped >= row.least - slack and is_soon


def play(rows: tuple[SimulatedRow, ...], runs: int, seed: int, tell: Callable[[str, float], None]) -> Iterator[Played]:
    """Each row in turn. tell: (row's name, share done 0..1). The same seed gives the same figures."""
    for number, row in enumerate(rows):
        rng = np.random.default_rng([seed, number])
        yield _play(row, runs, rng, lambda share, name=row.name: tell(name, share))  # type: ignore[misc]


def _play(row: SimulatedRow, runs: int, rng: np.random.Generator, tell: rollout_streams.Progress) -> Played:
    if row.unit == "pair":
        return _play_pairs(row, runs, rng, tell)
    drawn = 0.0 if row.unit == "independent" else 0.7
    size = {"every": row.every, "until": row.until}
    if row.unit == "independent":
        requests = looks = rollout_streams.independent(
            rng, runs, stable=row.stable, candidate=row.candidate, weight=row.weight, **size
        )
    else:
        runs = max(1, runs // 5)
        requests, by_entity = rollout_streams.heavy_tailed(
            rng, runs, bad=row.stable, weight=row.weight, replicas=row.replicas, tell=lambda share: tell(drawn * share), **size
        )
        looks = by_entity if row.unit == "entity" else requests
    share = SHARE if row.unit == "entity" else LIVE_SHARE
    stops = first_verdict(looks, row.margin, row.asks, share, row.replicas, lambda done: tell(drawn + (1 - drawn) * done))
    fixed = None if row.asks != "worse" else _outcome(threshold_stops(requests, row.every), requests, row)
    tell(1.0)
    return Played(row, runs, _outcome(stops, requests, row), fixed)


def _play_pairs(row: SimulatedRow, runs: int, rng: np.random.Generator, tell: rollout_streams.Progress) -> Played:
    flips = rng.multinomial(
        row.every, [row.candidate, row.stable, 1 - row.candidate - row.stable], (runs, row.until // row.every)
    )
    up, down, same = (np.cumsum(flips[:, :, i], axis=1, dtype=np.float64) for i in range(3))
    capital = SHARE * np.exp(log_e_either(up, down, same, row.margin)) + (1 - SHARE)
    is_over = capital >= 1 / ALPHA
    stops = np.where(is_over.any(axis=1), is_over.argmax(axis=1), -1)
    every = np.full_like(flips[:, :, 0], row.every)
    tell(1.0)
    return Played(row, runs, _outcome(stops, Looks(every, every, every, every), row), None)


def first_verdict(looks: Looks, margin: float, asks: str, share: float, copies: int, tell: rollout_streams.Progress) -> Ints:
    """The look at which each run first says so, from 0; -1: never. asks: worse or no_worse. Shape (runs,)."""
    runs, count = looks.n_a.shape
    offset, limit = (margin, math.log(1 / ALPHA)) if asks == "worse" else (-margin, math.log(1 / ALPHA))
    bets = bets_against(offset)
    idle = math.log1p(-share) if asks == "worse" else -math.inf
    shares = bets.log_shares[:, None]
    stops = np.full(runs, -1, dtype=np.int64)
    alive = np.arange(runs)
    logs = np.zeros((len(bets.shares), runs))
    past = np.zeros((4, runs))
    for look in range(count):
        new = np.array([part[alive, look] for part in (looks.n_a, looks.k_a, looks.n_b, looks.k_b)], dtype=np.float64)
        n_a, k_a, n_b, k_b = new
        x, y, before = ((n_a, k_a), (n_b, k_b), past) if asks == "worse" else ((n_b, k_b), (n_a, k_a), past[[2, 3, 0, 1]])
        logs += log_factors(x, y, tuple(before), offset, bets) / copies
        past += new
        capital = np.logaddexp(log_sum(logs + shares) + math.log(share), idle)
        has_stopped = capital >= limit
        if has_stopped.any():
            stops[alive[has_stopped]] = look
            alive, logs, past = alive[~has_stopped], logs[:, ~has_stopped], past[:, ~has_stopped]
            if not len(alive):
                break
        if look % 50 == 0:
            tell(look / count)
    return stops


def threshold_stops(looks: Looks, every: int) -> Ints:
    """The same of the fixed-threshold judge: at every look the last WINDOW requests are one measurement."""
    span = max(1, WINDOW // every)

    def windowed(new: Ints) -> Floats:
        total = np.cumsum(new, axis=1, dtype=np.float64)
        total[:, span:] -= total[:, :-span].copy()
        return total

    n_a, k_a, n_b, k_b = (windowed(part) for part in (looks.n_a, looks.k_a, looks.n_b, looks.k_b))
    fails = (k_b / np.maximum(n_b, 1) > k_a / np.maximum(n_a, 1) + ALLOWED) & (n_b > 0)
    fails[:, : span - 1] = False
    is_over = np.cumsum(fails, axis=1) > FAILURE_LIMIT
    return np.where(is_over.any(axis=1), is_over.argmax(axis=1), -1)


def _outcome(stops: Ints, requests: Looks, row: SimulatedRow) -> SimulatedOutcome:
    runs, count = requests.n_a.shape
    has = stops >= 0
    met = np.cumsum(requests.n_b, axis=1)[np.arange(runs), np.maximum(stops, 0)]
    until = np.where(has, (stops + 1) * row.every, np.inf)
    of_candidate = np.where(has, met, np.inf)
    marks = np.unique(np.linspace(1, count, min(count, _POINTS)).astype(int))
    curve = tuple((int(m) * row.every, float(np.mean(has & (stops < m)))) for m in marks)
    middle, middle_candidate = float(np.median(until)), float(np.median(of_candidate))
    is_known = math.isfinite(middle)
    return SimulatedOutcome(float(np.mean(has)), middle if is_known else None, middle_candidate if is_known else None, curve)
