"""Drift reports: what 10,000 rows of 40 columns cost on one core, and which share of planted shifts is found, beside Evidently and NannyML.

`found` is power at equal false-alarm rate: each detector's statistic is compared with its own 95 % quantile over unchanged samples of
1,500 rows, whatever its own threshold would say. Vedette's statistic is the smallest corrected p of the report; Evidently's the largest
score of a column by its default methods; NannyML's the largest Jensen-Shannon distance, and (`nannyml_pca`) the error of its
multivariate detector. `delay` is how many windows a shift lasts until it is found, at that rate: the mean over the shifted draws, each
taken as the first window of the shift."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from loadtests.bench import peers
from loadtests.bench.errors import BenchError
from loadtests.bench.report import Row, row, unmeasured
from loadtests.bench.targets import value
from loadtests.bench.worlds.planted_shifts import SHIFTS, Columns, sample, wide, write

IS_LONG: Final = True
NULL_DRAWS: Final = 200
SHIFTED_DRAWS: Final = 100
QUICK_SHARE: Final = 10
LEVEL: Final = 0.05
MOST_S: Final = 0.5
_HOURS_S: Final = 3600


def run(*, quick: bool, rounds: int) -> list[Row]:
    """Measure time, then power. Raises BenchError if a figure of Vedette cannot be had. A peer that cannot be had becomes a row."""
    share = QUICK_SHARE if quick else 1
    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as name:
        timing, power = Path(name) / "timing", Path(name) / "power"
        timing.mkdir()
        power.mkdir()
        rng = np.random.default_rng(1)
        for number in range(rounds):
            write(timing / f"wide-{number}.npz", wide(rng, 10_000, 40), wide(rng, 10_000, 40))
        for label, pair in draws(NULL_DRAWS // share, SHIFTED_DRAWS // share).items():
            write(power / f"{label}.npz", *pair)
        rows, statistics = [], {}
        for who in ("vedette", "evidently", "nannyml"):
            try:
                times, found = asked(who, timing), asked(who, power)
            except BenchError as problem:
                if who == "vedette":
                    raise
                rows.append(unmeasured(f"time/{who}", str(problem)))
                continue
            target = value("<=", MOST_S) if who == "vedette" else None
            rows.append(
                row(f"time/{who}/10,000 x 40", [one["cpu_s"] for one in times.values()], "s of one core", target=target)
            )
            statistics[who] = {label: one["statistic"] for label, one in found.items()}
            if who == "nannyml":
                statistics["nannyml_pca"] = {label: one["reconstruction"] for label, one in found.items()}
    return rows + [one for shift in SHIFTS for one in (*power_rows(shift, statistics), *delay_rows(shift, statistics))]


def draws(null: int, shifted: int) -> Mapping[str, tuple[Columns, Columns]]:
    """Pairs by name: `none-N`, and `SHIFT-N` for each kind of shift."""
    found = {}
    for number in range(null):
        rng = np.random.default_rng([number, 0])
        found[f"none-{number}"] = sample(rng), sample(rng)
    for place, (kind, shift) in enumerate(SHIFTS.items(), start=1):
        for number in range(shifted):
            rng = np.random.default_rng([number, place])
            found[f"{kind}-{number}"] = sample(rng), shift(rng, sample(rng))
    return found


def power_rows(shift: str, statistics: Mapping[str, Mapping[str, float]]) -> list[Row]:
    """Share found of one kind of shift, by detector; Vedette's target is the best of the others."""
    found = {name: float(np.mean(which_are_found(shift, of))) for name, of in statistics.items()}
    best = max((power for name, power in found.items() if name != "vedette"), default=None)
    return [
        row(
            f"found/{name}/{shift}", [power], "of the draws",
            target=value(">=", best) if name == "vedette" and best is not None else None,
        )
        for name, power in found.items()
    ]  # fmt: skip


def delay_rows(shift: str, statistics: Mapping[str, Mapping[str, float]]) -> list[Row]:
    """Windows until one kind of shift is found, by detector; Vedette's target is the best of the others."""
    delays = {name: windows_until_found(which_are_found(shift, of)) for name, of in statistics.items()}
    best = min((delay for name, delay in delays.items() if name != "vedette" and delay is not None), default=None)
    rows = []
    for name, delay in delays.items():
        label, unit = f"delay/{name}/{shift}", "windows"
        target = value("<=", best) if name == "vedette" and best is not None else None
        rows.append(
            row(label, [delay], unit, target=target)
            if delay is not None
            else unmeasured(label, "no draw was found", unit=unit, target=target)
        )
    return rows


def which_are_found(shift: str, statistic: Mapping[str, float]) -> NDArray[np.bool_]:
    """Which of the shifted draws have a statistic above the null draws' quantile, shape (n,), in their order."""
    null = np.array([v for label, v in statistic.items() if label.startswith("none-")])
    bound = np.quantile(null, 1 - LEVEL, method="higher")
    numbers = sorted(int(label.removeprefix(f"{shift}-")) for label in statistic if label.startswith(f"{shift}-"))
    return np.array([statistic[f"{shift}-{number}"] > bound for number in numbers])


def windows_until_found(found: NDArray[np.bool_]) -> float | None:
    """Mean number of windows to the first that is found, it included, over all windows as the first; after the last comes the first
    again. None if none is found.

    >>> windows_until_found(np.array([True, False, True, False]))
    1.5
    """
    places = np.flatnonzero(found)
    if not len(places):
        return None
    gaps = np.diff(np.append(places, places[0] + len(found)))
    return float(np.sum(gaps * (gaps + 1) / 2) / len(found))


def asked(who: str, folder: Path) -> dict[str, dict[str, float]]:
    """The statistics that the program of Vedette or of a peer finds in the files of a folder. Raises BenchError."""
    python = Path(sys.executable) if who == "vedette" else peers.environment(who) / "python"
    script = Path(__file__).parents[2] / "peer_programs" / f"{who}_drift.py"
    variables = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "NML_DISABLE_USAGE_LOGGING": "1", "DO_NOT_TRACK": "1"}
    if who == "vedette":
        variables["PYTHONPATH"] = str(peers.ROOT)
    try:
        done = subprocess.run(
            [str(python), str(script), str(folder)],
            capture_output=True, text=True, encoding="utf-8", timeout=_HOURS_S, check=False, env=variables,
        )  # fmt: skip
    except subprocess.TimeoutExpired as problem:
        raise BenchError(f"{who} took more than {_HOURS_S} s") from problem
    if done.returncode != 0:
        raise BenchError(f"{who} ended with {done.returncode}: {done.stderr[-600:]}")
    answer: dict[str, dict[str, float]] = json.loads(done.stdout.splitlines()[-1])
    return answer
