"""The gain of batching across requests: requests that reach one turn of the event loop run together, compared with one by one.

The runs alone, without door or answer, as the gain must come from them: 32 rows that arrived as 32 requests (and 8 as 8), run one by one
or stacked, run once and taken apart. CPU time of this thread per request, one onnxruntime thread. The first request of a batch waits for
the whole run, so batching must not only gain: its run for the batch has to be short beside the others' waits. Trees: the model of all
benchmarks; mlp: 40 -> 256 -> 256 -> 1, and a small one, 40 -> 32 -> 1."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from loadtests.bench.report import Row, row
from loadtests.bench.workload import FEATURES, INPUT, OUTPUT, tree_model

SIZES: Final = (8, 32)
MODELS: Final[Mapping[str, Callable[[], bytes]]] = {
    "trees": lambda: tree_model(7),
    "mlp": lambda: mlp(FEATURES, 256, 256, 1),
    "small-mlp": lambda: mlp(FEATURES, 32, 1),
}
ROTATING: Final = 256


def run(*, quick: bool, rounds: int) -> list[Row]:
    """Measure every model and size, in turn."""
    inputs = np.random.default_rng(3).standard_normal((ROTATING, FEATURES), dtype=np.float32)
    sessions = {name: _open(make()) for name, make in MODELS.items()}
    found: dict[tuple[str, int, str], list[float]] = {}
    for _ in range(rounds):
        for name, session in sessions.items():
            for size in SIZES:
                for mode, one in (("single", singly), ("batched", together)):
                    cost = min(_cost_us(one, session, inputs, size) for _ in range(3 if quick else 15))
                    found.setdefault((name, size, mode), []).append(cost)
    return list(rows(found))


def singly(session: Any, requests: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """Run each request by itself."""
    return [session.run([OUTPUT], {INPUT: request}, None)[0] for request in requests]


def together(session: Any, requests: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """Stack the requests, run them once and split the result."""
    answers = session.run([OUTPUT], {INPUT: np.concatenate(requests)}, None)[0]
    return [answers[at : at + 1] for at in range(len(requests))]


def mlp(*widths: int) -> bytes:
    """An ONNX model of dense layers with ReLU between them and a sigmoid at the end."""
    rng, nodes, tensors, last = np.random.default_rng(5), [], [], INPUT
    for number, (before, after) in enumerate(pairwise(widths)):
        weight = rng.standard_normal((before, after), dtype=np.float32) / np.sqrt(before, dtype=np.float32)
        tensors += [
            numpy_helper.from_array(weight, f"w{number}"),
            numpy_helper.from_array(np.zeros(after, np.float32), f"b{number}"),
        ]
        nodes.append(helper.make_node("Gemm", [last, f"w{number}", f"b{number}"], [f"h{number}"]))
        is_last = number == len(widths) - 2
        last = OUTPUT if is_last else f"a{number}"
        nodes.append(helper.make_node("Sigmoid" if is_last else "Relu", [f"h{number}"], [last]))
    shapes = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [None, w]) for n, w in ((INPUT, widths[0]), (OUTPUT, 1))]
    graph = helper.make_graph(nodes, "mlp", shapes[:1], shapes[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = model.SerializeToString()
    return content


def _open(content: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _cost_us(one: Callable[..., object], session: Any, inputs: NDArray[np.float32], size: int) -> float:
    groups = [[inputs[i : i + 1] for i in range(at, at + size)] for at in range(0, len(inputs), size)]
    began = time.thread_time()
    for group in groups:
        one(session, group)
    return (time.thread_time() - began) / len(inputs) * 1e6


def rows(found: Mapping[tuple[str, int, str], Sequence[float]]) -> Iterator[Row]:
    """Microseconds per request: batched beside one by one."""
    for (name, size, mode), values in found.items():
        single = f"batching/single/{name}/{size}"
        against = None if mode == "single" else (single, found[name, size, "single"])
        yield row(f"batching/{mode}/{name}/{size}", values, "us", against=against)
