"""A short day of swaps in a replica of its own process: what is no longer served is let go, in memory and on the metrics page."""

from pathlib import Path

import pytest

from loadtests.bench.benchmarks.memory import day, fill
from serving.telemetry.counts import GONE
from tests.laws import share

pytestmark = pytest.mark.integration

MODELS, SWAPS, RELOADS = 2, share(150, 60), 3


@pytest.mark.law
def test_what_is_no_longer_served_is_let_go(tmp_path: Path):
    fill(tmp_path, MODELS)
    first, last = day(tmp_path, SWAPS, RELOADS)
    print(f"\n{first}\n{last}")
    assert last["sessions"] == MODELS, "sessions of models that were unloaded and loaded again are gone"
    assert last["memory_mib"] < 1.08 * first["memory_mib"]
    assert last["metrics_bytes"] < 3_000 * MODELS * (GONE + 3) + 60_000, "revisions long gone are not told any more"
    assert last["threads"] <= first["threads"] + 2
