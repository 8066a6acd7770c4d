"""A batch job is one connected trace, from where it was started to the actors that score its units."""

import msgspec
import numpy as np
import pytest

from lifecycle.datasets.synthetic_flows import generate_flows
from operators.cli.batch.batch import job_of
from serving.app import compose
from serving.batch.errors import BatchError
from serving.batch.output import UnitDone
from serving.batch.ray_data import _Actor
from serving.batch.run import BatchCut, here, run_job
from serving.settings import ServingSettings
from serving.telemetry.tracing.tracer import Tracer
from tests.fakes.tracing.collected import loose_ends
from tests.waiting import until

pytestmark = pytest.mark.integration


@pytest.fixture
def job(flows_store, collector, tmp_path):
    generate_flows(1).head(400).to_parquet(tmp_path / "flows.parquet", index=False)
    settings = ServingSettings(store_dir=flows_store, otlp_endpoint=collector.url, trace_ratio=1.0)
    return job_of(settings, str(tmp_path / "flows.parquet"), str(tmp_path / "scored"), "flows", records="files")


def test_a_job_is_one_connected_trace_with_what_its_actors_do(job, collector):
    def by_an_actor(job, units):  # gets what Ray takes to it, in bytes
        actor = _Actor(msgspec.json.encode(job), compose)
        for row in actor({"units": np.array([msgspec.json.encode(units)], dtype=object)}):
            yield msgspec.json.decode(row["entry"][0], type=UnitDone)
        actor._scorer.close()

    summary = run_job(job, BatchCut(), by_an_actor, "test")
    until(lambda: {span.name for span in collector.spans()} >= {"batch", "unit", "model"})
    spans = collector.spans()
    (root,) = [span for span in spans if span.name == "batch"]
    assert (root.parent, root.attributes["vedette.rows"]) == ("", summary.rows)
    assert {span.trace for span in spans} == {root.trace}
    assert [span.name for span in spans if span is not root and span.parent == root.id] == ["unit"] * summary.units
    until(lambda: loose_ends(collector.spans(), f"00-{root.trace}-{root.parent}-01") == [])


def test_a_job_that_stops_is_an_error_of_its_unit_and_of_the_job(job, collector):
    def fails(job, units):
        raise BatchError("the input changed")
        yield

    with pytest.raises(BatchError):
        run_job(job, BatchCut(), fails, "test")
    (span,) = until(collector.spans)
    assert (span.name, span.is_error, span.attributes["error.type"]) == ("batch", True, "BatchError")


def test_a_job_that_is_not_sampled_has_no_spans_of_its_requests_either(job, collector):
    job = msgspec.structs.replace(job, settings={**job.settings, "trace_ratio": 0.0, "trace_kept_per_s": 0})
    run_job(job, BatchCut(), here(compose), "test")
    last = Tracer(1.0, collector.url)
    last.begin(None, "after the job").end()
    last.close()
    assert [span.name for span in until(collector.spans)] == ["after the job"]
