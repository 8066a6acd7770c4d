"""A day of flows as files by hour."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lifecycle.datasets.synthetic_flows import generate_flows


@pytest.fixture(scope="session")
def flows_rows() -> pd.DataFrame:
    """Some thousand flows over six hours, in order of their start."""
    parts = [generate_flows(seed, hosts=120, flows_per_host=4) for seed in range(4)]
    for hours, part in enumerate(parts):
        part["StartTime"] = part["StartTime"] + np.timedelta64(5400 * hours, "s")
    return pd.concat(parts, ignore_index=True)


@pytest.fixture
def flows_folder(flows_rows: pd.DataFrame, tmp_path: Path) -> Path:
    """The same flows by the hour of their start: `date=.../hour=.../flows.parquet`, several row groups each."""
    folder = tmp_path / "flows"
    hours = flows_rows["StartTime"].dt.floor("h")
    for hour, rows in flows_rows.groupby(hours):
        place = folder / f"date={hour:%Y-%m-%d}" / f"hour={hour:%H}"
        place.mkdir(parents=True)
        rows.reset_index(drop=True).to_parquet(place / "flows.parquet", index=False, row_group_size=400)
    return folder
