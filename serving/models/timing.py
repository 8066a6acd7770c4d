"""How long one run of a bundle takes, on its own golden input."""

import time

from serving.models.bundle import Bundle
from serving.models.golden import decode_golden
from serving.ports import Model


def median_run_us(bundle: Bundle, model: Model, runs: int) -> float | None:
    """Median of `runs` runs on the first golden case, microseconds; None for a bundle without golden cases. Warms the model."""
    golden = bundle.manifest.golden
    if golden is None:
        return None
    inputs = decode_golden((bundle.folder / golden.file).read_bytes())[0].inputs
    times = []
    for _ in range(runs):
        start = time.perf_counter_ns()
        model.run(inputs)
        times.append(time.perf_counter_ns() - start)
    return sorted(times)[runs // 2] / 1000
