"""Jobs on a Ray cluster, and over a bucket: the same rows as here."""

import json

import fsspec
import pandas as pd
import pyarrow.dataset as ds
import pytest

from serving.batch.errors import OutputInUse
from tests.fakes.s3 import BUCKET, s3_server
from tests.integration.batch.test_batch import by_row, run, verdicts

pytestmark = pytest.mark.integration
SAME = ["source_file", "source_row", "event_time", "host", "verdict", "score", "degraded", "revision"]


@pytest.mark.slow
@pytest.mark.xdist_group("a batch on a Ray of its own")
def test_actors_on_ray_give_the_rows_that_one_process_gives(flows_store, flows_folder, tmp_path):
    here = run(flows_store, flows_folder, tmp_path / "here", "--max-rows-per-partition", "900")
    there = run(flows_store, flows_folder, tmp_path / "there", "--max-rows-per-partition", "900", "--workers", "2")
    assert there["scored_units"] == here["scored_units"] > 4
    assert there["counts"] == here["counts"]
    mine, theirs = (by_row(verdicts(tmp_path / name))[SAME] for name in ("there", "here"))
    pd.testing.assert_frame_equal(mine, theirs, check_categorical=False)


def test_a_bucket_holds_input_and_output(flows_store, flows_folder):
    source, target = f"s3://{BUCKET}/flows", f"s3://{BUCKET}/verdicts"
    with s3_server():
        fs = fsspec.filesystem("s3", skip_instance_cache=True)
        fs.put(f"{flows_folder}/", f"{BUCKET}/flows/", recursive=True)
        first = run(flows_store, source, target)
        assert run(flows_store, source, target)["scored_units"] == 0
        fs.invalidate_cache()
        found = ds.dataset(f"{BUCKET}/verdicts", filesystem=fs, partitioning="hive").to_table()
        assert found.num_rows == first["rows"] == first["scored_rows"]
        entries = fs.find(f"{BUCKET}/verdicts/_vedette/units")
        assert {json.loads(fs.cat(entry))["model"] for entry in entries} == {"flows"}
        fs.pipe(f"{BUCKET}/verdicts/_vedette/lock", b"another pod, process 1")
        with pytest.raises(OutputInUse, match="another pod, process 1 writes to it"):
            run(flows_store, source, target)
