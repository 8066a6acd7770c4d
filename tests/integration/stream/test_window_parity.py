"""The windows of a stream are training's for every row of the flows, replayed with the disorder that they really had."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lifecycle.datasets.declarations import read_detector
from lifecycle.datasets.synthetic_flows import generate_flows
from loadtests.bench.worlds.flow_windows import ReplayedRows, WindowReplay, replayed, run

pytestmark = pytest.mark.integration
PARTITIONS = 4


def real_flows():
    folder = os.environ.get("VEDETTE_DATA_DIR")
    if not folder:
        pytest.skip("needs real data: set VEDETTE_DATA_DIR to the folder with flows/")
    return pd.read_parquet(Path(folder) / "flows" / "ctu13_s11_capture20110818-2.parquet")


def generated_flows():
    """Out of order by up to half a minute, as a recorder writes that closes flows late."""
    frame = generate_flows(3, hosts=1500)
    lag_s = np.random.default_rng(3).exponential(5.0, len(frame)).clip(0, 30)
    return frame.iloc[np.argsort(frame["StartTime"].to_numpy() + (lag_s * 1e6).astype("timedelta64[us]"), kind="stable")]


@pytest.fixture(scope="module", params=[pytest.param("real", marks=pytest.mark.slow), "generated"])
def rows(request) -> ReplayedRows:
    frame = real_flows() if request.param == "real" else generated_flows()
    return replayed(read_detector("flows"), frame.reset_index(drop=True), partitions=PARTITIONS)


@pytest.fixture(scope="module")
def held(rows) -> WindowReplay:
    """Events held for as long as they were out of order."""
    return run(rows, disorder_s=rows.lag_s + 0.001, lateness_s=120)


def test_no_value_of_any_row_differs_when_events_are_held_for_their_disorder(rows, held):
    assert rows.lag_s > 5
    assert (held.late, held.sketched) == (0, 0)
    assert not np.isnan(held.values).any()
    assert held.differences(rows.expected) == (0, 0)


def test_the_state_at_the_end_does_not_depend_on_how_long_events_were_held(rows):
    """Late events are counted where they belong."""
    held, late = (run(rows, disorder_s=d, lateness_s=10_000) for d in (rows.lag_s + 0.001, 1.0))
    assert late.late > 0
    assert late.dropped == 0
    assert held.digests == late.digests


def test_the_longer_events_are_held_the_fewer_rows_differ(rows, held):
    differing = []
    for share in (0.0, 0.1, 0.5, 1.0):
        found = held if share == 1.0 else run(rows, disorder_s=rows.lag_s * share + 0.001, lateness_s=120)
        of_rows, values = found.differences(rows.expected)
        print(f"disorder_s {rows.lag_s * share:.1f}: {found.late} late, {of_rows} of {rows.rows} rows, {values} values differ")
        differing.append(of_rows)
    assert differing == sorted(differing, reverse=True)
    assert differing[0] > differing[-1] == 0
