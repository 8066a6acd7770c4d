"""One request, accounted for: the same receipt and trace in the answer, the record, the counts and the spans."""

import asyncio
import threading
from collections.abc import Mapping

import numpy as np
import pytest
from msgspec.structs import replace

from operators.labs.simple_model import build_simple
from serving.audit.reader import read_records
from serving.audit.writer import SegmentWriter
from serving.errors import NotFound
from serving.loading.served_file import newest_of_each
from serving.messages import InferRequest, Tensor
from serving.models.store import BundleStore
from serving.ports import FeatureInfo, FeatureServiceInfo, FieldInfo
from serving.replica.inference_service import ModelServer
from serving.scoring.scorer import Scorer, ScorerLimits
from serving.telemetry.metrics import ServingMetrics
from serving.telemetry.tracing.tracer import Tracer
from tests.fakes.clock import ManualClock
from tests.fakes.serving.audit import MemoryAudit
from tests.fakes.serving.features import FakeFeatureReader
from tests.fakes.tracing.memory_spans import MemorySpans
from tests.unit.serving.scoring import variants

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SAMPLED, UNSAMPLED = f"00-{TRACE_ID}-b7ad6b7169203331-01", f"00-{TRACE_ID}-b7ad6b7169203331-00"
ROW = np.arange(16, dtype=np.int32).reshape(1, 16)


class World:
    def __init__(self, store: BundleStore, ratio: float) -> None:
        self.spans, self.audit, self.metrics, self.clock = MemorySpans(), MemoryAudit(), ServingMetrics("r"), ManualClock()
        scorer = Scorer(
            features=None,
            audit=self.audit,
            clock=self.clock,
            metrics=self.metrics,
            limits=ScorerLimits(1.0, 0.05, 100),
            identity="r",
        )
        self.service = ModelServer(
            store=store,
            scorer=scorer,
            features=None,
            metrics=self.metrics,
            tracer=Tracer(ratio, None, exporter=self.spans.exporter),
            probe_timeout_s=60,
            model_threads=1,
            may_control=False,
        )


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> BundleStore:
    folder = tmp_path_factory.mktemp("accounts")
    store = BundleStore(folder / "store")
    store.add(build_simple(folder / "simple"))
    return store


def ask(model="simple", traceparent=None) -> InferRequest:
    inputs = (Tensor("INPUT0", "INT32", ROW), Tensor("INPUT1", "INT32", np.ones_like(ROW)))
    return InferRequest(model, None, inputs, traceparent=traceparent, door="grpc")


async def test_a_sampled_request_is_one_story_everywhere(store):
    world = World(store, ratio=0.0)
    await world.service.apply(newest_of_each(store))
    answer = await world.service.infer(ask(traceparent=SAMPLED))
    (record,) = world.audit.records
    assert answer.parameters["trace_id"] == record.trace_id == TRACE_ID
    assert answer.parameters["receipt"] == record.receipt
    assert answer.parameters["revision"] == record.revision
    assert not world.spans.finished(), "the door has not encoded the answer yet"
    answer.trace.encoded(7)
    await asyncio.sleep(0)
    model, audit, encode, root = world.spans.finished()
    assert (root.name, model.name) == ("inference.GRPCInferenceService/ModelInfer", "model")
    assert (audit.name, encode.name) == ("audit", "encode")
    assert {span.parent.span_id for span in (model, audit, encode)} == {root.context.span_id}
    assert root.attributes["vedette.revision"] == model.attributes["vedette.revision"] == record.revision
    assert root.attributes["vedette.receipt"] == record.receipt
    assert (root.attributes["rpc.response.status_code"], root.attributes["vedette.trace.kept"]) == ("OK", "sampled")
    assert b'vedette_requests_total{door="grpc",model="simple",outcome="ok",replica="r",variant="stable",version="1"} 1.0' in (
        world.metrics.render()
    )


@pytest.mark.parametrize(
    ("ratio", "traceparent", "is_traced"),
    [
        pytest.param(1.0, UNSAMPLED, False, id="the caller said no"),
        pytest.param(1.0, None, True, id="nobody said, the coin says yes"),
        pytest.param(0.0, None, False, id="nobody said, the coin says no"),
    ],
)
async def test_an_unsampled_request_has_a_record_and_no_spans(store, ratio, traceparent, is_traced):
    world = World(store, ratio)
    await world.service.apply(newest_of_each(store))
    answer = await world.service.infer(ask(traceparent=traceparent))
    await asyncio.sleep(0)
    assert bool(world.spans.finished()) is ("trace_id" in answer.parameters) is is_traced
    assert len(world.audit.records) == 1


async def test_a_request_that_fails_is_counted_and_traced_and_leaves_no_record(store):
    world = World(store, ratio=0.0)
    await world.service.apply(newest_of_each(store))
    with pytest.raises(NotFound):
        await world.service.infer(ask(model="nobody's", traceparent=SAMPLED))
    (root,) = world.spans.finished()
    assert (root.attributes["error.type"], root.attributes["rpc.response.status_code"]) == ("NotFound", "NOT_FOUND")
    assert root.status.status_code.name == "UNSET", "an error of the client is none of the server's"
    text = world.metrics.render().decode()
    assert 'door="grpc",model="_unknown",outcome="client_error"' in text
    assert "nobody" not in text, "a client cannot make label values"
    assert world.audit.records == []


async def test_each_answer_has_a_receipt_of_its_own(store):
    world = World(store, ratio=0.0)
    await world.service.apply(newest_of_each(store))
    answers = [await world.service.infer(ask()) for _ in range(50)]
    receipts = [a.parameters["receipt"] for a in answers]
    assert len(set(receipts)) == 50
    assert [r.receipt for r in world.audit.records] == receipts


async def test_a_sampled_request_shows_how_long_its_door_took_to_read_it(store):
    world = World(store, ratio=0.0)
    await world.service.apply(newest_of_each(store))
    arrived_ns = world.clock.now_us() * 1000 - 5_000_000
    await world.service.infer(replace(ask(traceparent=SAMPLED), arrived_ns=arrived_ns))
    await asyncio.sleep(0)
    decode, *_, root = world.spans.finished()
    assert (decode.name, root.name) == ("decode", "inference.GRPCInferenceService/ModelInfer")
    assert decode.start_time == root.start_time == arrived_ns
    assert decode.end_time - decode.start_time == 5_000_000


class Lazy(FakeFeatureReader):
    """A reader whose columns are made when they are asked for, and whose tensors are not made of them."""

    def __init__(self, *services):
        super().__init__(*services)
        self.makers = []

    async def read(self, *args, **kwargs):
        rows = await super().read(*args, **kwargs)
        plain = rows.columns

        class Columns(Mapping):
            def __getitem__(_, name):
                self.makers.append(threading.current_thread().name)
                return plain[name]

            def __iter__(_):
                return iter(plain)

            def __len__(_):
                return len(plain)

        rows.columns = Columns()
        rows.direct = lambda _assembly, _fields: {"level": plain["hosts__level"].reshape(-1, 1)}
        return rows


async def test_the_columns_of_a_record_are_made_by_the_writers_thread(tmp_path):
    """They cost more than reading them did; while the loop makes them, it answers nobody."""
    feature = FeatureInfo("hosts__level", "FP32", "hosts", 0.0, None)
    reader = Lazy(FeatureServiceInfo("hosts", (FieldInfo("host", "BYTES"),), (), (feature,)))
    reader.put("hosts", (b"a",), {"level": 2.0}, 1_700_000_000_000_000 - 1_000_000)
    world = variants.World(tmp_path, features=reader)
    fields = {"request_fields": [], "assembly": [{"tensor": "level", "columns": ["hosts__level"]}], "feature_service": "hosts"}
    bundle = variants.threat(tmp_path / "bundle", "1", **fields)
    world.store.add(bundle)
    writer = world.scorer._audit = SegmentWriter(tmp_path / "log", segment_bytes=1 << 20, segments=0, queue=100)
    try:
        await world.service.apply(variants.spec(bundle))
        reader.makers.clear()
        asked = variants.request("a")
        await world.service.infer(replace(asked, inputs=asked.inputs[:1]))
    finally:
        writer.close()
    assert reader.makers == ["audit-writer"]
    (record,) = read_records(tmp_path / "log")
    assert (record.features, record.event_times_us) == ({"hosts__level": [2.0]}, {"hosts": [1_699_999_999_000_000]})
    assert record.verdicts == ["alert"]
