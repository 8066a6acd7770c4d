"""Pairs of samples, one of which has a shift of a known kind or none. Seeded."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Columns = dict[str, NDArray[Any]]
ROWS: Final = 1500
_WORDS: Final = np.array(["http", "dns", "smtp", "ssh", "ftp", "other"])


def sample(rng: np.random.Generator, rows: int = ROWS, correlation: float = 0.0) -> Columns:
    """Ten columns: seven numbers, three of them as in flows (skewed, mostly zero, whole), and three of text."""
    pair = rng.multivariate_normal([0, 0], [[1, correlation], [correlation, 1]], rows)
    return {
        "first": pair[:, 0], "second": pair[:, 1], "normal": rng.normal(size=rows),
        "bytes": rng.lognormal(5, 1.5, rows), "zeros": np.where(rng.random(rows) < 0.8, 0.0, rng.gamma(2, 5, rows)),
        "count": rng.poisson(4, rows).astype(np.float64), "rate": rng.beta(2, 5, rows),
        "service": rng.choice(_WORDS, rows, p=[0.4, 0.25, 0.15, 0.1, 0.06, 0.04]), "flag": rng.choice(["SF", "S0", "REJ"], rows),
        "protocol": rng.choice(["tcp", "udp"], rows, p=[0.8, 0.2]),
    }  # fmt: skip


def mean(rng: np.random.Generator, columns: Columns) -> Columns:
    """Shift the mean of one column by 0.2 standard deviations."""
    return columns | {"normal": columns["normal"] + 0.2}


def variance(rng: np.random.Generator, columns: Columns) -> Columns:
    """Make the standard deviation of one column 15 % larger."""
    return columns | {"normal": columns["normal"] * 1.15}


def category(rng: np.random.Generator, columns: Columns) -> Columns:
    """Make one value of a text column 4 points more frequent."""
    changed = np.where(rng.random(len(columns["service"])) < 0.04, "ftp", columns["service"])
    return columns | {"service": changed}


def correlation(rng: np.random.Generator, columns: Columns) -> Columns:
    """Give two columns a correlation of 0.25; each column alone stays as it was."""
    shifted = sample(rng, len(columns["first"]), 0.25)
    return columns | {name: shifted[name] for name in ("first", "second")}


def contamination(rng: np.random.Generator, columns: Columns) -> Columns:
    """Move 1 % of the rows six standard deviations away in one column."""
    rows = len(columns["normal"])
    return columns | {"normal": np.where(rng.random(rows) < 0.01, columns["normal"] + 6, columns["normal"])}


SHIFTS: Final[Mapping[str, Callable[[np.random.Generator, Columns], Columns]]] = {
    "mean": mean, "variance": variance, "category": category, "correlation": correlation, "contamination": contamination,
}  # fmt: skip


def wide(rng: np.random.Generator, rows: int, columns: int) -> Columns:
    """A sample for timing: numbers, and in every eighth column text."""
    made: Columns = {}
    for number in range(columns):
        made[f"c{number}"] = rng.choice(_WORDS, rows) if number % 8 == 7 else rng.gamma(1 + number / 10, 2, rows)
    return made


def write(path: Path, reference: Columns, current: Columns) -> None:
    """Write one pair in the form that the peers' programs read."""
    arrays = {f"reference:{name}": column for name, column in reference.items()}
    arrays |= {f"current:{name}": column for name, column in current.items()}
    np.savez(path, allow_pickle=False, **arrays)
