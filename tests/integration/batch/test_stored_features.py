"""Views that are not counted over the data are read from the offline store as of each event: the same verdicts where rows are the same."""

import msgspec
import numpy as np
import pytest

from lifecycle.datasets.synthetic_flows import generate_flows
from lifecycle.training.batch.offline import stored_views
from lifecycle.training.feast_store import FeastStore
from operators.cli.batch.batch import job_of
from serving.app import compose
from serving.batch.run import BatchCut, here, run_job
from serving.settings import ServingSettings
from tests.integration.batch.test_batch import by_row, verdicts

pytestmark = pytest.mark.integration


def test_stored_rows_give_the_verdicts_that_counting_gives(flows_store, tmp_path):
    generate_flows(1).to_parquet(tmp_path / "flows.parquet", index=False)  # what the store's model was trained on
    settings = ServingSettings(store_dir=flows_store)
    job = job_of(settings, str(tmp_path / "flows.parquet"), str(tmp_path / "counted"), "flows", records="files")
    assert job.offline == {}
    views = stored_views(FeastStore(settings.feast_dir), "flows_v1")
    assert set(views) == {"host_10s", "host_60s", "host_600s"}
    stored = msgspec.structs.replace(
        job, output=str(tmp_path / "stored"), source=msgspec.structs.replace(job.source, windows=None), offline=views
    )
    assert stored.identity != job.identity
    for one in (job, stored):
        run_job(one, BatchCut(max_rows=7000), here(compose), "test")
    counted, read = (by_row(verdicts(tmp_path / name)) for name in ("counted", "stored"))
    assert not counted["degraded"].all()
    assert (counted["degraded"] == read["degraded"]).all()
    assert np.array_equal(counted["score"], read["score"])
