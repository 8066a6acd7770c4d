"""One request, accounted for: the same receipt and trace in the answer, the record, the counts and the spans."""

import time

import numpy as np
import pytest
from msgspec.structs import replace

from serving.errors import NotFound
from serving.models.simple import build_simple
from serving.models.store import BundleStore
from serving.protocol.messages import InferRequest, Tensor
from serving.scorer import Scorer, ScorerLimits
from serving.served_file import newest_of_each
from serving.service import Inference
from serving.telemetry.metrics import ServingMetrics
from serving.telemetry.tracing import MemorySpans, Tracer
from tests.fakes.audit import MemoryAudit
from tests.fakes.clock import ManualClock

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SAMPLED, UNSAMPLED = f"00-{TRACE_ID}-b7ad6b7169203331-01", f"00-{TRACE_ID}-b7ad6b7169203331-00"
ROW = np.arange(16, dtype=np.int32).reshape(1, 16)


class World:
    def __init__(self, store: BundleStore, ratio: float) -> None:
        self.spans, self.audit, self.metrics = MemorySpans(), MemoryAudit(), ServingMetrics("r")
        scorer = Scorer(
            features=None,
            audit=self.audit,
            clock=ManualClock(),
            metrics=self.metrics,
            limits=ScorerLimits(1.0, 0.05, 100),
            identity="r",
        )
        self.service = Inference(
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
    model, root = world.spans.finished()
    assert (root.name, model.name) == ("grpc infer", "model")
    assert model.parent.span_id == root.context.span_id
    assert root.attributes["revision"] == record.revision
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
    assert bool(world.spans.finished()) is ("trace_id" in answer.parameters) is is_traced
    assert len(world.audit.records) == 1


async def test_a_request_that_fails_is_counted_and_traced_and_leaves_no_record(store):
    world = World(store, ratio=0.0)
    await world.service.apply(newest_of_each(store))
    with pytest.raises(NotFound):
        await world.service.infer(ask(model="nobody's", traceparent=SAMPLED))
    (root,) = world.spans.finished()
    assert root.status.status_code.name == "ERROR"
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
    arrived_ns = time.time_ns() - 5_000_000
    await world.service.infer(replace(ask(traceparent=SAMPLED), arrived_ns=arrived_ns))
    decode, _, root = world.spans.finished()
    assert (decode.name, root.name) == ("decode", "grpc infer")
    assert decode.start_time == root.start_time == arrived_ns
    assert decode.end_time - decode.start_time >= 5_000_000
