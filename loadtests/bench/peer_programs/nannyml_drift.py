"""How far apart NannyML finds the two samples of each file, by its defaults. Runs in NannyML's environment, with the folder as its
argument.

Files as for evidently_drift.py. Prints JSON: NAME -> "statistic" (the largest Jensen-Shannon distance of a column), "reconstruction"
(by how much the error of the multivariate detector differs from the reference's) and "cpu_s" of both."""

import json
import sys
import time
import warnings
from pathlib import Path

import nannyml
import numpy as np
import pandas as pd


def main(folder: Path) -> None:
    """Judge each file in the folder; the whole window is one chunk."""
    warnings.simplefilter("ignore")
    found = {}
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as arrays:
            samples = {
                which: pd.DataFrame(
                    {name.partition(":")[2]: arrays[name] for name in arrays.files if name.startswith(f"{which}:")}
                )
                for which in ("reference", "current")
            }
        columns, rows = list(samples["reference"]), len(samples["current"])
        began_s = time.process_time()
        univariate = nannyml.UnivariateDriftCalculator(column_names=columns, chunk_size=rows)
        univariate.fit(samples["reference"])
        table = univariate.calculate(samples["current"]).filter(period="analysis").to_df()
        together = nannyml.DataReconstructionDriftCalculator(column_names=columns, chunk_size=rows)
        together.fit(samples["reference"])
        errors = together.calculate(samples["current"]).to_df()[("reconstruction_error", "value")]
        took_s = time.process_time() - began_s
        distances = [float(table[(name, "jensen_shannon", "value")].iloc[0]) for name in columns]
        error = float(errors.iloc[-1] / errors.iloc[:-1].mean())
        found[path.stem] = {"statistic": max(distances), "reconstruction": abs(error - 1), "cpu_s": took_s}
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
