"""How far apart Evidently finds the two samples of each file, by its defaults. Runs in Evidently's environment, with the folder as
its argument.

A file is NAME.npz with arrays `reference:COLUMN` and `current:COLUMN`. Prints JSON: NAME ->
"statistic" (the largest score of a column) and "cpu_s"."""

import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from evidently import Report
from evidently.presets import DataDriftPreset


def main(folder: Path) -> None:
    """Judge each file in the folder."""
    found = {}
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as arrays:
            samples = {
                which: pd.DataFrame(
                    {name.partition(":")[2]: arrays[name] for name in arrays.files if name.startswith(f"{which}:")}
                )
                for which in ("reference", "current")
            }
        began_s = time.process_time()
        metrics = Report([DataDriftPreset()]).run(samples["current"], samples["reference"]).dict()["metrics"]
        took_s = time.process_time() - began_s
        scores = [m["value"] for m in metrics if m["metric_name"].startswith("ValueDrift")]
        found[path.stem] = {"statistic": float(max(scores)), "cpu_s": took_s}
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
