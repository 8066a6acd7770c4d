"""How both recipes do on attack types that they have not seen: each is fitted again without a family, and judged on all of it.

Thresholds of models that differ cannot be shared, so each alerts on as many of the kept benign rows as the champion does. Source of the
idea: evaluation of detectors on left-out attack types, docs/decisions/0009."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lifecycle.arrays import Floats, Mask
from lifecycle.retraining.challenge.judge import LeftOutFamily
from lifecycle.retraining.challenge.paired_harm import PairedAlerts
from lifecycle.retraining.challenge.rows import families_of, owners_of, row_names
from lifecycle.training.train import Prepared, fit_rows


def left_out_families(
    prepared: Prepared,
    champion_rows: Mask,
    benign: Any,
    alert_share: float,
    *,
    most: int,
    seed: int,
    tell: Callable[[str], None] = lambda what: None,
) -> tuple[LeftOutFamily, ...]:
    """The families with the most attacks among the rows, each left out in turn; nothing where rows name no types.

    champion_rows: what the champion was trained on, shape (n,). benign: columns of kept benign rows; alert_share: of them, at which
    both alert. Raises TrainingError."""
    data = prepared.data
    if data.kind is None or most == 0:
        return ()
    family = families_of(prepared.detector, data.kind)
    names, counts = np.unique(family[data.attack & (family != "")].astype(str), return_counts=True)
    found = []
    for name in names[np.argsort(-counts, kind="stable")][:most].tolist():
        is_family = data.attack & (family == name)
        fits = [rows & ~is_family for rows in (champion_rows, prepared.parts.train)]
        if not all((rows & data.attack).any() for rows in fits):
            continue
        tell(f"fitting both recipes without {name}")
        first, second = (_alerts(prepared, rows, is_family, benign, alert_share, seed) for rows in fits)
        where = np.flatnonzero(is_family)
        frame = prepared.frame.iloc[where].reset_index(drop=True)
        owners = owners_of(prepared.detector, frame, row_names(where))
        rows = PairedAlerts(first, second, data.attack[where], family[where], owners, np.ones(len(where)))
        found.append(LeftOutFamily(name, rows))
    return tuple(found)


def _alerts(prepared: Prepared, rows: Mask, judged: Mask, benign: Any, alert_share: float, seed: int) -> Mask:
    """Alerts on the judged rows of a model fitted on `rows`."""
    encoding, fitted = fit_rows(prepared, rows, seed)
    threshold = _threshold(fitted.scores(encoding.matrix(benign)), alert_share)
    scores = fitted.scores(encoding.matrix(prepared.frame.iloc[np.flatnonzero(judged)]))
    return np.asarray(scores >= threshold)


def _threshold(benign: Floats | NDArray[np.float64], share: float) -> float:
    """The lowest threshold at which at most this share of the benign rows alerts."""
    ranked = np.sort(benign)[::-1]
    allowed = int(np.floor(len(ranked) * share))
    return float("inf") if len(ranked) == 0 else float(np.nextafter(ranked[min(allowed, len(ranked) - 1)], np.inf))
