"""The same for Vedette's own report: a process of its own with one thread, as the peers have. With the folder as its argument.

Prints JSON: NAME -> "statistic" (-log of the smallest p of the report, corrected for its checks) and "cpu_s" of all checks."""

import json
import sys
import time
from pathlib import Path

import numpy as np

from lifecycle.monitoring.drift.judge import judge_drift
from lifecycle.monitoring.drift.sample import DriftSample


def main(folder: Path) -> None:
    """Judge each file in the folder. The first one is judged twice, because the first use imports modules."""
    paths = sorted(folder.glob("*.npz"))
    found = {}
    for path in [*paths[:1], *paths]:
        with np.load(path) as arrays:
            samples = [
                DriftSample(
                    which,
                    {name.partition(":")[2]: _column(arrays[name]) for name in arrays.files if name.startswith(f"{which}:")},
                )
                for which in ("reference", "current")
            ]
        began_s = time.process_time()
        report = judge_drift(samples[0], samples[1])
        took_s = time.process_time() - began_s
        if report.unjudged and len(report.checks) < len(samples[0].columns):
            raise SystemExit(f"{path.name}: not every column was judged: {report.unjudged}")
        found[path.stem] = {"statistic": float(-np.log(max(report.smallest_raw_p, 1e-300))), "cpu_s": took_s}
    print(json.dumps(found))


def _column(values: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    return values.astype(object) if values.dtype.kind == "U" else values


if __name__ == "__main__":
    main(Path(sys.argv[1]))
