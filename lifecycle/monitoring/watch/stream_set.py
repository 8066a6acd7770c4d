"""The evidence about one set of rows: all rows of a model, or those of one segment. Pure: a frozen value, `after` gives the next.

Every subject is a stream of its own. Rows wait until there is a block of them; so the evidence is the same however the rows were
batched. The rows of the baseline are counted only, then the bets begin."""

from dataclasses import dataclass, field, replace
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from lifecycle.arrays import Floats
from lifecycle.monitoring.sequential.betting import Capital, cells_of
from lifecycle.monitoring.sequential.binning import Bins
from lifecycle.monitoring.sequential.conformal import conformal_p_values
from lifecycle.monitoring.sequential.effects import (
    gap_noise,
    largest_gap,
    psi,
    psi_noise,
    total_variation,
    variation_noise,
)
from lifecycle.monitoring.sequential.rejection import rejection_thresholds
from lifecycle.monitoring.sequential.signs import ChangeSigns, Sign
from lifecycle.monitoring.watch.settings import WatchSettings

QUIET, MINOR, MAJOR = 0, 1, 2
"""What was alarmed about a stream."""
_WHOLE_MEMORY = 0.9
"""Share of the memory's rows that there must be before a change is over."""


@dataclass(frozen=True, slots=True)
class StreamFinding:
    """One stream that has drifted: with which evidence, how far, since when.

    psi, gap: how much beyond chance. since_us: since when, as far as is known."""

    subject: int
    severity: int
    e_value: float
    threshold: float
    psi: float
    gap: float
    rows: int
    since_us: int


@dataclass(frozen=True, slots=True)
class StreamSet:
    """The evidence about one set of rows: what was counted, and what was bet. Arrays are of shape (streams,) or (streams, bins)."""

    base: NDArray[np.int64]
    """Counts of the reference."""
    baseline_left: int
    """Rows that are still to be counted as reference before the bets begin."""
    counts: NDArray[np.int64]
    """Counts of the reference and the stream."""
    capital: Capital
    recent: Floats
    """Counts since the capital was last below its start, those long ago weighing less."""
    since_us: NDArray[np.int64]
    """When the capital was last below its start."""
    status: NDArray[np.int64]
    rounds: NDArray[np.int64]
    """How often the stream began anew after an alarm was over."""
    rows: int = 0
    blocks: int = 0
    waiting: Bins = field(default_factory=lambda: np.zeros((0, 0), dtype=np.int64))
    """Bins of the rows of the block that is not full, shape (rows, streams)."""
    signs: tuple[float, ...] = ()
    """What the quick detectors of the score were fed with."""

    @classmethod
    def start(cls, base: NDArray[np.int64], baseline_rows: int, settings: WatchSettings) -> "StreamSet":
        """Nothing seen yet. base: counts of the reference; all 0 if it is the first baseline_rows rows."""
        streams = len(base)
        return cls(
            base=base,
            baseline_left=baseline_rows,
            counts=base.copy(),
            capital=Capital.start(streams, settings.schedule),
            recent=np.zeros(base.shape),
            since_us=np.zeros(streams, dtype=np.int64),
            status=np.full(streams, QUIET),
            rounds=np.zeros(streams, dtype=np.int64),
            waiting=np.zeros((0, streams), dtype=np.int64),
        )

    def weights(self, settings: WatchSettings) -> Floats:
        """Share of the level that each stream has; a stream that began anew has less of it, so that all its lives share one level.

        Result: shape (streams,)."""
        even = np.full(len(self.base), 1 / max(len(self.base), 1))
        return even / ((self.rounds + 1) * (self.rounds + 2)) if settings.schedule == "level" else even

    def effects(self, is_text: NDArray[np.bool_]) -> tuple[Floats, Floats]:
        """(psi, gap) of each stream beyond what two samples of one distribution have on average.

        is_text: shape (streams,), which each result has too."""
        base = self.base.astype(np.float64)
        moved = np.maximum(psi(base, self.recent) - psi_noise(base, self.recent), 0.0)
        gap = np.where(
            is_text,
            total_variation(base, self.recent) - variation_noise(base, self.recent),
            largest_gap(base, self.recent) - gap_noise(base, self.recent),
        )
        has_rows = self.recent.sum(axis=1) > 0
        return np.where(has_rows, moved, 0.0), np.where(has_rows, np.maximum(gap, 0.0), 0.0)

    def severities(self, is_text: NDArray[np.bool_], settings: WatchSettings) -> NDArray[np.int64]:
        """How large the change of each stream is: QUIET for a negligible one, MINOR or MAJOR.

        is_text: shape (streams,), which the result has too."""
        moved, gap = self.effects(is_text)
        minor = (moved >= settings.minor_psi) | (gap >= settings.minor_gap)
        major = (moved >= settings.major_psi) | (gap >= settings.major_gap)
        return np.where(major, MAJOR, np.where(minor, MINOR, QUIET))

    def is_over(self, is_text: NDArray[np.bool_], settings: WatchSettings) -> NDArray[np.bool_]:
        """Which streams look like the reference again: over the whole memory, less than half of a minor change. So a change whose size
        wavers about a limit is one alarm.

        is_text: shape (streams,), which the result has too."""
        moved, gap = self.effects(is_text)
        is_long = self.recent.sum(axis=1) >= _WHOLE_MEMORY * settings.memory_rows
        found: NDArray[np.bool_] = is_long & (moved < settings.minor_psi / 2) & (gap < settings.minor_gap / 2)
        return found

    def thresholds(self, settings: WatchSettings, share: float) -> Floats:
        """The e-value from which on each stream has drifted, shape (streams,). share: of the level that these streams have."""
        return rejection_thresholds(self.capital.e_values, self.weights(settings), settings.level * share)


@dataclass(frozen=True, slots=True)
class SetView:
    """What does not change about a set of rows: its name, its settings, its share of the level.

    signed: the stream whose quick signs are looked for; None: none."""

    key: str
    is_text: NDArray[np.bool_]
    settings: WatchSettings
    share: float
    signed: int | None = None


def after_rows(
    state: StreamSet, view: SetView, bins: Bins, times_us: NDArray[np.int64]
) -> tuple[StreamSet, list[StreamFinding], list[tuple[Sign, int]]]:
    """(the set after these rows; what was found; the quick signs, each with its time).

    bins: shape (rows, streams), in order of time; times_us: shape (rows,)."""
    findings: list[StreamFinding] = []
    signs: list[tuple[Sign, int]] = []
    detectors = ChangeSigns(state.signs) if view.signed is not None else None
    left = state.baseline_left
    if left:
        state = _with_baseline(state, bins[:left])
        bins, times_us = bins[left:], times_us[left:]
    size = view.settings.block_rows
    waited = len(state.waiting)
    together = np.concatenate([state.waiting, bins]) if waited else bins
    whole = len(together) // size * size
    for begin in range(0, whole, size):
        end_us = int(times_us[begin + size - 1 - waited])
        state, found, mean = _after_block(state, view, together[begin : begin + size], end_us)
        findings += found
        if detectors is not None:
            signs += [(sign, end_us) for sign in detectors.see(mean)]
    state = replace(
        state,
        waiting=together[whole:].copy(),
        rows=state.rows + len(bins),
        signs=detectors.history if detectors is not None else (),
    )
    return state, findings, signs


def _with_baseline(state: StreamSet, bins: Bins) -> StreamSet:
    base = state.base.copy()
    np.add.at(base, (np.broadcast_to(np.arange(base.shape[0]), bins.shape), bins), 1)
    return replace(
        state, base=base, counts=base.copy(), baseline_left=state.baseline_left - len(bins), rows=state.rows + len(bins)
    )


def _after_block(state: StreamSet, view: SetView, bins: Bins, end_us: int) -> tuple[StreamSet, list[StreamFinding], float]:
    settings = view.settings
    p_values, counts = conformal_p_values(state.counts, bins, _ties(view.key, state.blocks, bins.shape))
    capital = state.capital.after(cells_of(p_values))
    rest = 1.0 if settings.schedule == "level" else float(settings.block_rows)
    is_resting = (capital.e_values <= rest) & (state.status == QUIET)
    seen = np.zeros(state.recent.shape)
    np.add.at(seen, (np.broadcast_to(np.arange(len(seen)), bins.shape), bins), 1.0)
    kept = np.exp(-len(bins) / settings.memory_rows)
    recent = np.where(is_resting[:, None], 0.0, state.recent * kept + seen)
    since_us = np.where(is_resting | (state.since_us == 0), end_us, state.since_us)
    state = replace(state, counts=counts, capital=capital, recent=recent, since_us=since_us, blocks=state.blocks + 1)
    state, findings = _judged(state, view)
    mean = (float(p_values[:, view.signed].mean()) - 0.5) * float(np.sqrt(12 * len(bins))) if view.signed is not None else 0.0
    return state, findings, mean


def _judged(state: StreamSet, view: SetView) -> tuple[StreamSet, list[StreamFinding]]:
    """Alarm about streams that have drifted and were not alarmed so severely yet; those whose change is over begin anew."""
    settings = view.settings
    enough = state.recent.sum(axis=1) >= min(settings.least_rows, settings.memory_rows / 2)
    severity = np.where(enough, state.severities(view.is_text, settings), QUIET)
    e_values, thresholds = state.capital.e_values, state.thresholds(settings, view.share)
    is_new = (e_values >= thresholds) & (severity > state.status)
    findings: list[StreamFinding] = []
    if is_new.any():
        moved, gap = state.effects(view.is_text)
        findings = [
            StreamFinding(
                subject=int(s),
                severity=int(severity[s]),
                e_value=float(e_values[s]),
                threshold=float(thresholds[s]),
                psi=float(moved[s]),
                gap=float(gap[s]),
                rows=round(float(state.recent[s].sum())),
                since_us=int(state.since_us[s]),
            )
            for s in np.flatnonzero(is_new)
        ]
    status = np.where(is_new, severity, state.status)
    may_be_over = (status > QUIET) & ~is_new
    is_over = may_be_over & state.is_over(view.is_text, settings) if may_be_over.any() else may_be_over
    if is_over.any():
        state = replace(
            state,
            capital=state.capital.restarted(is_over),
            counts=np.where(is_over[:, None], state.base, state.counts),
            recent=np.where(is_over[:, None], 0.0, state.recent),
            rounds=state.rounds + is_over,
        )
        status = np.where(is_over, QUIET, status)
    return replace(state, status=status), findings


def _ties(key: str, block: int, shape: tuple[int, ...]) -> Floats:
    """How ties are broken in a block: random, and the same whenever the block is looked at again."""
    seed = int.from_bytes(sha256(f"{key}\x00{block}".encode()).digest()[:16], "big")
    return np.random.Generator(np.random.Philox(seed)).random(shape)
