"""Runs that nobody waits for any more are ended, and the thread is free again."""

import asyncio
import threading
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from serving.errors import DeadlineExceeded
from serving.models import onnx
from serving.models.errors import RunError
from serving.models.onnx import OnnxModel
from serving.ports import StopSignal
from serving.resilience.bulkhead import Bulkheads
from serving.scoring.protection import unprotected
from serving.scoring.variant_runner import VariantRunner
from serving.telemetry.metrics import ServingMetrics
from tests.fakes.clock import ManualClock
from tests.waiting import HANG_S, until, until_so

WIDTH = 64
ENDLESS = 2**62
"""Turns of the loop: no machine comes to the end of them."""


@pytest.fixture(scope="module")
def long_model() -> OnnxModel:
    """Multiplies x by one as many times as `turns` says."""
    square, truth = [WIDTH, WIDTH], helper.make_tensor_value_info("going", TensorProto.BOOL, [])
    body = helper.make_graph(
        [helper.make_node("MatMul", ["before", "one"], ["after"]), helper.make_node("Identity", ["going"], ["goes_on"])],
        "turn",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            truth,
            helper.make_tensor_value_info("before", TensorProto.FLOAT, square),
        ],
        [
            helper.make_tensor_value_info("goes_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("after", TensorProto.FLOAT, square),
        ],
        [numpy_helper.from_array(np.eye(WIDTH, dtype=np.float32), "one")],
    )
    made = helper.make_graph(
        [helper.make_node("Loop", ["turns", "yes", "x"], ["y"], body=body)],
        "long",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, square),
            helper.make_tensor_value_info("turns", TensorProto.INT64, [1]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, square)],
        [numpy_helper.from_array(np.array(True), "yes")],
    )
    return OnnxModel(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString())


def feed(turns: int) -> dict[str, np.ndarray]:
    return {"x": np.ones((WIDTH, WIDTH), np.float32), "turns": np.array([turns])}


def test_a_run_that_is_stopped_ends_long_before_its_end(long_model):
    stop, outcomes = StopSignal(), []

    def run():
        with pytest.raises(RunError, match="terminate"):
            long_model.run(feed(ENDLESS), None, stop)
        outcomes.append("ended")

    running = threading.Thread(target=run, daemon=True)
    running.start()
    until(lambda: stop._end is not None, "it has begun")
    stop.request()
    running.join(HANG_S)
    assert outcomes == ["ended"]


def test_a_run_that_was_stopped_before_it_began_never_begins(long_model):
    stop = StopSignal()
    stop.request()
    with pytest.raises(RunError, match="before it began"):
        long_model.run(feed(ENDLESS), None, stop)


def test_a_stop_ends_no_other_run(long_model):
    stop = StopSignal()
    long_model.run(feed(3), None, stop)
    stop.request()
    assert long_model.run(feed(3))["y"].shape == (WIDTH, WIDTH)


@pytest.mark.parametrize("why", ["the deadline passes", "the client is gone"])
async def test_the_thread_of_a_run_nobody_waits_for_is_free_again(long_model, why):
    bulkheads, clock = Bulkheads(threads=1, queue=1), ManualClock()
    revision = SimpleNamespace(model=long_model, name="long", version="1", variant="stable", digest="r", run_us=1.0)
    group = SimpleNamespace(
        variant=SimpleNamespace(revision=revision), rows=SimpleNamespace(rows=1), plan=SimpleNamespace(to_run=["y"])
    )
    runner = VariantRunner(
        None, clock, ServingMetrics("r"), feature_timeout_s=0.05, protection=replace(unprotected(), bulkheads=bulkheads)
    )
    remaining_s = 0.05 if why == "the deadline passes" else 10 * HANG_S
    state = SimpleNamespace(deadline_s=clock.monotonic_s() + remaining_s, trace=None)
    task = asyncio.create_task(runner._run_in_thread(state, group, feed(ENDLESS), 1.0, bulkheads))
    if why == "the deadline passes":
        with pytest.raises(DeadlineExceeded, match="within the deadline"):
            await task
    else:
        await until_so(lambda: bulkheads.of("long/1/stable").under_way)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await bulkheads.of("long/1/stable").run(int, within_s=HANG_S, expected_s=0.0) == 0
    bulkheads.of("long/1/stable").close()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Invalid input name: x", "Invalid input name: x"),
        ("[ONNXRuntimeError] : 6 : FAIL : /build/core/session.cc:612 Run() bad", "Run() bad"),
        ("out of bounds, idx=1\nsecond line", "out of bounds, idx=1"),
        ("", "RuntimeError"),
    ],
)
def test_a_client_is_told_what_the_runtime_says_and_not_where_it_says_so(said, told):
    assert onnx._first_line(RuntimeError(said)) == told
