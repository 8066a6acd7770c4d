"""The check of one column of two samples, or the reason why it cannot be checked."""

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lifecycle.monitoring.drift.check import Checked, DriftCheck, DriftKind, ShareBars, Unjudged
from lifecycle.monitoring.drift.settings import DriftSettings, Family
from lifecycle.monitoring.sequential.binning import text_of
from lifecycle.monitoring.statistics.count_tests import CategoryFigures, category_counts, category_figures, hypergeometric_p
from lifecycle.monitoring.statistics.distances import counts_between, ks_distance, psi, quantile_edges, wasserstein
from lifecycle.monitoring.statistics.multiplicity import bonferroni
from lifecycle.monitoring.statistics.number_tests import number_tests, tail_excess
from lifecycle.monitoring.statistics.pooled import PooledSamples

IDENTIFIER: Final = 0.5
"""Text with more distinct values for each row identifies rows; its values are expected to be new."""
_NAMED: Final = 12
_SHOWN: Final = 3


def check_column(
    name: str,
    reference: NDArray[Any],
    current: NDArray[Any],
    settings: DriftSettings,
    *,
    kind: DriftKind = "data",
    family: Family = "column",
    segment: str | None = None,
    is_withheld: bool = False,
) -> Checked:
    """Compare one column. reference, current: (n,) and (m,), float64 with NaN or objects (str, None).

    is_withheld: the window does not show its values. Otherwise a window without any has lost them, which is a change."""
    is_text = reference.dtype.hasobject or current.dtype.hasobject
    old, new = (_known(column, is_text=is_text) for column in (reference, current))
    if is_withheld and not new.any():
        return Unjudged(name, "the window has no value: the log holds it redacted", segment)
    if not old.any():
        return Unjudged(name, "the reference has no value: it is not recorded or always missing", segment)
    if min(old.sum(), max(new.sum(), len(new) - new.sum())) < settings.least_rows:
        words = f"{int(old.sum()):,} and {int(new.sum()):,} values, {settings.least_rows:,} are needed in each"
        return Unjudged(name, f"too few rows: {words}", segment)
    if new.sum() < settings.least_rows:
        return _mostly_lost(name, old, new, kind, family, segment)
    found = (
        _text(name, _as_text(reference[old]), _as_text(current[new]))
        if is_text
        else _number(name, reference[old], current[new])
    )
    if isinstance(found, str):
        return Unjudged(name, found, segment)
    effects, tests, details, figures, bars = found
    missing = int((~old).sum()), int((~new).sum())
    if sum(missing):
        n, m = len(reference), len(current)
        effects = {**effects, "missing": abs(missing[1] / m - missing[0] / n)}
        # Whether a value is missing and what it is are two questions: half of the column's part each.
        p = bonferroni([bonferroni(tests.values()), hypergeometric_p(missing[1], sum(missing), m, n + m)])
        details = (*details, f"missing in {missing[0] / n:.1%} of the reference and {missing[1] / m:.1%} of the window")
    else:
        p = bonferroni(tests.values())
    return DriftCheck(kind, family, name, effects, p, tests, figures, details, segment, bars)


def _mostly_lost(
    name: str, old: NDArray[np.bool_], new: NDArray[np.bool_], kind: DriftKind, family: Family, segment: str | None
) -> DriftCheck:
    """The check of a column that has too few values left to compare them. old, new: which rows have one."""
    n, m = len(old), len(new)
    shares = 1 - float(old.mean()), 1 - float(new.mean())
    missing = m - int(new.sum())
    p = hypergeometric_p(missing, missing + n - int(old.sum()), m, n + m)
    details = (f"missing in {shares[0]:.1%} of the reference and {shares[1]:.1%} of the window",)
    return DriftCheck(kind, family, name, {"missing": abs(shares[1] - shares[0])}, p, {"missing": p}, {}, details, segment)


_Found = tuple[Mapping[str, float], Mapping[str, float], tuple[str, ...], Mapping[str, float], ShareBars]


def _number(name: str, reference: NDArray[Any], current: NDArray[Any]) -> _Found:
    pooled = PooledSamples.of(reference, current)
    edges = quantile_edges(reference)
    old, new = counts_between(pooled, edges)
    by_chance = (len(old) - 1) * (1 / len(reference) + 1 / len(current))
    value = psi(old, new)
    effects = {
        "psi": max(0.0, value - by_chance),
        "ks": ks_distance(pooled),
        "tail_excess": max(0.0, tail_excess(pooled)),
    }
    if math.isfinite(distance := wasserstein(pooled)):  # a constant reference has no standard deviation to count in
        effects["wasserstein"] = distance
    medians = float(np.median(reference)), float(np.median(current))
    figures = {"psi": value, "median_reference": medians[0], "median_current": medians[1]}
    old_words, new_words = _told_apart(*medians, ".4g", ".15g")
    words = (f"median {old_words}, now {new_words}",)
    if medians[0] == medians[1]:
        shares = _told_apart(float(np.mean(reference == medians[0])), float(np.mean(current == medians[0])), ".1%", ".4%")
        words = (f"{old_words} in {shares[0]} of the rows, now in {shares[1]}",)
    return effects, number_tests(pooled), words, figures, _number_bars(edges, old, new)


def _told_apart(first: float, second: float, form: str, longer: str) -> tuple[str, str]:
    """Two numbers in words, with more digits where they would look the same and are not."""
    words = format(first, form), format(second, form)
    return words if words[0] != words[1] or first == second else (format(first, longer), format(second, longer))


def _number_bars(edges: NDArray[Any], old: NDArray[np.int64], new: NDArray[np.int64]) -> ShareBars:
    names = [f"to {edges[0]:.4g}", *(f"to {edge:.4g}" for edge in edges[1:]), f"over {edges[-1]:.4g}"]
    for place, edge in enumerate(edges.tolist()):
        if edge == 0 and place and edges[place - 1] == np.nextafter(0.0, -1.0):
            names[place - 1], names[place] = "below 0", "0"
    used = (old + new) > 0
    shares = [tuple((c / c.sum())[used].tolist()) for c in (old, new)]
    return ShareBars(tuple(n for n, keep in zip(names, used.tolist(), strict=True) if keep), shares[0], shares[1])


def _text(name: str, reference: NDArray[Any], current: NDArray[Any]) -> _Found | str:
    figures = category_figures(reference, current)
    if figures.distinct > IDENTIFIER * (len(reference) + len(current)):
        return f"{figures.distinct:,} distinct values in {len(reference) + len(current):,} rows: it identifies rows"
    by_chance = (figures.distinct - 1) * (1 / len(reference) + 1 / len(current))
    effects = {"psi": max(0.0, figures.psi - by_chance), "total_variation": figures.total_variation}
    others = {"psi": figures.psi, "new_values": float(len(figures.new)), "vanished_values": float(len(figures.vanished))}
    return effects, {"categories": figures.p}, tuple(_category_words(figures)), others, _text_bars(reference, current)


def _category_words(figures: CategoryFigures) -> list[str]:
    found = [f"{value!r} {old:.1%}, now {new:.1%}" for value, old, new in figures.changed[:_SHOWN]]
    if figures.new:
        found.append("new: " + ", ".join(f"{value!r} ({count:,})" for value, count in figures.new[:_SHOWN]))
    if figures.vanished:
        found.append("vanished: " + ", ".join(f"{value!r} (was {count:,})" for value, count in figures.vanished[:_SHOWN]))
    return found


def _text_bars(reference: NDArray[Any], current: NDArray[Any]) -> ShareBars:
    names, old, new = category_counts(reference, current)
    a, b = old / old.sum(), new / new.sum()
    order = np.argsort(-(a + b), kind="stable")
    first, rest = order[:_NAMED].tolist(), order[_NAMED:]
    more = [f"{len(rest)} others"] if len(rest) else []
    tails = [[float(s[rest].sum())] if len(rest) else [] for s in (a, b)]
    bars = [(*(float(s[i]) for i in first), *tail) for s, tail in zip((a, b), tails, strict=True)]
    return ShareBars((*(names[i] for i in first), *more), bars[0], bars[1])


def _known(column: NDArray[Any], *, is_text: bool) -> NDArray[np.bool_]:
    if not is_text or not column.dtype.hasobject:
        return np.asarray(~np.isnan(column))
    return np.array([isinstance(v, str) for v in column.tolist()], dtype=bool)  # None and NaN are missing


def _as_text(column: NDArray[Any]) -> NDArray[Any]:
    return column if column.dtype.hasobject else np.array([text_of(v) for v in column.tolist()], dtype=object)
