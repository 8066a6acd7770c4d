"""From replayed rows to a forecast: added alerts a day with their interval, flips by direction, latency. Pure.

The interval holds if the coming day is like the time replayed: it covers which entities happened to come, not what a night or a
weekend does. Rows of one entity are alike, so entities are resampled."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv  # scipy.stats has this law, and takes a second to import

from serving.models.verdicts import VERDICTS

MIN_ROWS: Final = 200
MIN_SPAN_S: Final = 10.0
_DAY_S: Final = 86_400.0
_RESAMPLES: Final = 2000
_ALERT: Final = 2
_FEW: Final = 10


class TooLittle(Exception):
    """There is not enough traffic to forecast from; the message says what there is and what is needed."""


@dataclass(slots=True)
class Replayed:
    """Rows of recent traffic, in the order they came, as both revisions judge them. Verdict codes: 0, 1, 2; -1: the candidate failed.

    span_s: from the first to the last of them. stable_us, candidate_us: time of each run, in microseconds."""

    entities: list[bytes] = field(default_factory=list)
    logged: list[int] = field(default_factory=list)
    stable: list[int] = field(default_factory=list)
    candidate: list[int] = field(default_factory=list)
    stable_us: list[float] = field(default_factory=list)
    candidate_us: list[float] = field(default_factory=list)
    requests: int = 0
    span_s: float = 0.0
    examples: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[tuple[str, Exception]] = field(default_factory=list)
    """Receipts of requests that could not be replayed, and why."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What the candidate would have changed. added_per_day: (estimate, low, high), 95 %. flips: rows by `stable>candidate`.

    reproduced_ratio: share of rows on which stable, replayed, gives the verdict that was logged; below 1 the replay differs from
    the service. failed_rows: rows on which the candidate fails and stable does not. skipped: requests that could not be replayed;
    first_skip_reason: why the first could not."""

    rows: int
    requests: int
    entities: int
    span_s: float
    stable_alerts: int
    candidate_alerts: int
    added_per_day: tuple[float, float, float]
    flips: dict[str, int]
    failed_rows: int
    reproduced_ratio: float
    stable_us: tuple[float, float]
    candidate_us: tuple[float, float]
    skipped: int = 0
    first_skip_reason: str | None = None


def forecast(replayed: Replayed, rng: np.random.Generator) -> Forecast:
    """Raises TooLittle."""
    rows = len(replayed.stable)
    first_skipped = f"{replayed.skipped[0][0]}: {replayed.skipped[0][1]}" if replayed.skipped else None
    if rows < MIN_ROWS or replayed.span_s < MIN_SPAN_S:
        lost = f" ({len(replayed.skipped)} requests were skipped, the first is {first_skipped})" if first_skipped else ""
        raise TooLittle(
            f"the prediction log has {rows} rows of {replayed.span_s:.0f} s to replay{lost}, at least {MIN_ROWS} rows "
            f"of {MIN_SPAN_S:.0f} s are needed; let more traffic come, or begin with a mirror step, which needs none"
        )
    stable, candidate = np.array(replayed.stable), np.array(replayed.candidate)
    change = (candidate == _ALERT).astype(np.int64) - (stable == _ALERT)
    change[candidate < 0] = 0
    _, owner = np.unique(np.array(replayed.entities, dtype=object).astype(str), return_inverse=True)
    flips = Counter(
        f"{VERDICTS[a]}>{VERDICTS[b]}" for a, b in zip(stable.tolist(), candidate.tolist(), strict=True) if b >= 0 and a != b
    )
    per_day = _DAY_S / replayed.span_s
    low, high = _interval(change, owner, rng)
    return Forecast(
        rows=rows,
        requests=replayed.requests,
        entities=int(owner.max()) + 1,
        span_s=replayed.span_s,
        stable_alerts=int((stable == _ALERT).sum()),
        candidate_alerts=int((candidate == _ALERT).sum()),
        added_per_day=(float(change.sum()) * per_day, low * per_day, high * per_day),
        flips=dict(flips.most_common()),
        failed_rows=int((candidate < 0).sum()),
        reproduced_ratio=float((np.array(replayed.logged) == stable).mean()),
        stable_us=_spread(replayed.stable_us),
        candidate_us=_spread(replayed.candidate_us),
        skipped=len(replayed.skipped),
        first_skip_reason=first_skipped,
    )


def _interval(change: NDArray[np.int64], owner: NDArray[np.intp], rng: np.random.Generator) -> tuple[float, float]:
    """95 % for the net change in a span like this one: entities resampled (Poisson bootstrap); where few of them changed, no
    narrower than exact Poisson bounds of the entities that gained and lost."""
    by_entity = np.bincount(owner, weights=change)
    changed = by_entity[by_entity != 0]
    draws = rng.poisson(1.0, size=(_RESAMPLES, len(changed))) @ changed if len(changed) else np.zeros(1)
    low, high = (float(v) for v in np.quantile(draws, [0.025, 0.975]))
    if len(changed) < _FEW:
        gained, lost = int((changed > 0).sum()), int((changed < 0).sum())
        size = float(np.abs(changed).mean()) if len(changed) else 1.0
        low = min(low, size * (_poisson(gained)[0] - _poisson(lost)[1]))
        high = max(high, size * (_poisson(gained)[1] - _poisson(lost)[0]))
    return low, high


def _poisson(count: int) -> tuple[float, float]:
    """Exact 97.5 % bounds of a Poisson mean (two of them hold together at 95 %). Garwood (1936), Biometrika 28."""
    low = gammaincinv(count, 0.0125) if count else 0.0
    return float(low), float(gammaincinv(count + 1, 0.9875))


def _spread(times_us: Sequence[float]) -> tuple[float, float]:
    """(median, 99th percentile)."""
    if not times_us:
        return 0.0, 0.0
    p50, p99 = np.quantile(times_us, [0.5, 0.99])
    return float(p50), float(p99)
