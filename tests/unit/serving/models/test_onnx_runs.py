"""Runs that nobody waits for any more are ended, and the thread is free again."""

import asyncio
import itertools
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from serving.errors import DeadlineExceeded
from serving.models import onnx
from serving.models.errors import RunError
from serving.models.onnx import OnnxModel
from serving.ports import Stop
from serving.resilience.bulkhead import Bulkheads
from serving.resilience.protection import unprotected
from serving.stages import Stages
from serving.telemetry.metrics import ServingMetrics
from tests.fakes.clock import ManualClock

WIDTH, NODES = 256, 300


@pytest.fixture(scope="module")
def long_model() -> OnnxModel:
    """Hundreds of nodes of some milliseconds each."""
    weight = numpy_helper.from_array(np.eye(WIDTH, dtype=np.float32), "w")
    names = ["x", *(f"h{i}" for i in range(NODES - 1)), "y"]
    nodes = [helper.make_node("MatMul", [a, "w"], [b]) for a, b in itertools.pairwise(names)]
    shape = [None, WIDTH]
    made = helper.make_graph(
        nodes,
        "long",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [weight],
    )
    return OnnxModel(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString())


@pytest.fixture(scope="module")
def whole_s(long_model) -> float:
    """How long a run takes that nobody stops."""
    began = time.perf_counter()
    long_model.run(FEED)
    return time.perf_counter() - began


FEED = {"x": np.ones((WIDTH, WIDTH), np.float32)}


def test_a_run_that_is_stopped_ends_long_before_its_end(long_model, whole_s):
    stop, began = Stop(), time.perf_counter()
    timer = threading.Timer(whole_s / 20, stop.ask)
    timer.start()
    with pytest.raises(RunError, match="terminate"):
        long_model.run(FEED, None, stop)
    assert time.perf_counter() - began < whole_s * 0.7


def test_a_run_that_was_stopped_before_it_began_never_begins(long_model):
    stop = Stop()
    stop.ask()
    with pytest.raises(RunError, match="before it began"):
        long_model.run(FEED, None, stop)


def test_a_stop_ends_no_other_run(long_model):
    small = {"x": np.ones((1, WIDTH), np.float32)}
    stop = Stop()
    long_model.run(small, None, stop)
    stop.ask()
    assert long_model.run(small)["y"].shape == (1, WIDTH)


@pytest.mark.parametrize("why", ["the deadline passes", "the client is gone"])
async def test_the_thread_of_a_run_nobody_waits_for_is_free_again(long_model, whole_s, why):
    bulkheads, clock = Bulkheads(threads=1, queue=1), ManualClock()
    served = SimpleNamespace(model=long_model, name="long", version="1", variant="stable", revision="r", run_us=1.0)
    part = SimpleNamespace(
        member=SimpleNamespace(served=served), rows=SimpleNamespace(rows=1), way=SimpleNamespace(to_run=["y"])
    )
    stages = Stages(
        None, clock, ServingMetrics("r"), feature_timeout_s=0.05, protection=replace(unprotected(), bulkheads=bulkheads)
    )
    remaining_s = whole_s / 20 if why == "the deadline passes" else 60.0
    work = SimpleNamespace(deadline_s=clock.monotonic_s() + remaining_s, trace=None)
    task = asyncio.create_task(stages._run_aside(work, part, FEED, 1.0, bulkheads))
    if why == "the deadline passes":
        with pytest.raises(DeadlineExceeded, match="within the deadline"):
            await task
    else:
        await asyncio.sleep(whole_s / 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    began = time.perf_counter()
    await bulkheads.of("long/1/stable").run(int, within_s=60.0, expected_s=0.0)
    assert time.perf_counter() - began < whole_s * 0.7
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
