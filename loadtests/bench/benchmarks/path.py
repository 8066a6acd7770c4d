"""The cost of a request in the server's own code: CPU time from the body's bytes to the answer's, without sockets, HTTP and framework.

One process, in turn: `vedette` decodes, scores, accounts and encodes (score, verdict, probability; audit and cache off), its
stages timed one by one; `bare` is the handler of the bare server (parse, run, write; the score only); `onnxruntime` the session alone.
Figures are CPU time of the process per request: a busy machine makes them larger, not wrong, and their ratios hold. `beyond` is what
Vedette adds to the run of the model, as a share of what bare's whole handler costs. 1,000 rows come and go by the binary extension."""

import gc
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from loadtests.bench.errors import BenchError
from loadtests.bench.report import Row, row
from loadtests.bench.servers import bare
from loadtests.bench.targets import ratio
from loadtests.bench.vedette import fill_store
from loadtests.bench.workload import FEATURES, INPUT, MODEL, OUTPUT, Workload, build_workload, infer_request

ROWS: Final = 1_000
ROTATING: Final = 256
"""How many different requests there are. Repeating one request makes trees look too fast."""
TURN: Final = 8
"""Requests of one turn: so few that a busy machine lets most turns end before it gives the core to somebody else, whose work would
then be in the caches."""

Handler = Callable[[slice], Awaitable[None]]
"""Answers these requests (or one large one)."""


def run(*, quick: bool, rounds: int) -> list[Row]:
    """Measure. Raises BenchError if Vedette and onnxruntime disagree."""
    import uvloop

    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as folder:
        workload = build_workload(Path(folder), requests=ROTATING)
        fill_store(workload, Path(folder) / "store")
        found = uvloop.run(measure(workload, Path(folder) / "store", rounds=rounds, turns=8 if quick else 256))
    return list(rows(found))


async def measure(workload: Workload, store: Path, *, rounds: int, turns: int) -> dict[str, list[float]]:
    """Way -> microseconds per request: in each round the least of `turns` turns, which nothing interrupted."""
    from serving.app import compose
    from serving.settings import ServingSettings

    made = await compose(ServingSettings(store_dir=store, audit="off"))
    try:
        await made.service.apply(made.fallback())
        handlers = await _handlers(made.service, workload)
        gc.collect()
        gc.freeze()  # as the replica does
        found: dict[str, list[float]] = {name: [] for name in handlers}
        for _ in range(rounds):
            least = dict.fromkeys(handlers, float("inf"))
            for turn in range(turns):
                at = turn * TURN % ROTATING
                for name, (handler, requests) in handlers.items():
                    if requests == 1 and turn % 16:
                        continue  # large ones need fewer turns
                    began = time.process_time()
                    await handler(slice(at, at + TURN))
                    least[name] = min(least[name], (time.process_time() - began) / requests * 1e6)
            for name, value in least.items():
                found[name].append(value)
        return found
    finally:
        gc.unfreeze()
        await made.close()


async def _handlers(service: Any, workload: Workload) -> dict[str, tuple[Handler, int]]:
    from serving.doors.grpc.calls import CallContext, InferenceMethods
    from serving.doors.oip import binary_codec
    from serving.doors.oip.envelope import Envelope

    session, calls = bare.open_session(str(workload.model)), InferenceMethods(service)
    bodies = workload.json_bodies.read_bytes().splitlines()
    feeds = [{INPUT: r[None, :]} for r in workload.inputs]
    messages = [infer_request(r) for r in workload.inputs]
    wires = [m.SerializeToString() for m in messages]
    requests_read = [binary_codec.read_request(b, None, Envelope(MODEL)) for b in bodies]
    answers = [await service.infer(a) for a in requests_read]
    scores = [next(o.data.item() for o in answer.outputs if o.name == OUTPUT) for answer in answers]
    if not np.allclose(scores, workload.answers, rtol=1e-5):
        raise BenchError("path: Vedette and onnxruntime disagree on the scores")
    tensor = np.random.default_rng(11).standard_normal((ROWS, FEATURES), dtype=np.float32)
    large, length = _binary(tensor)

    async def onnxruntime(some: slice) -> None:
        for feed in feeds[some]:
            session.run([OUTPUT], feed)

    async def bare_json(some: slice) -> None:
        for body in bodies[some]:
            bare.answer_json(session, body)

    async def bare_grpc(some: slice) -> None:
        for wire in wires[some]:
            bare.answer_message(session, type(messages[0]).FromString(wire)).SerializeToString()

    async def decode(some: slice) -> None:
        for body in bodies[some]:
            binary_codec.read_request(body, None, Envelope(MODEL))

    async def infer(some: slice) -> None:
        for request in requests_read[some]:
            await service.infer(request)

    async def encode(some: slice) -> None:
        for answer, request in zip(answers[some], requests_read[some], strict=True):
            binary_codec.write_answer(answer, request)

    async def whole(some: slice) -> None:
        for body in bodies[some]:
            request = binary_codec.read_request(body, None, Envelope(MODEL))
            binary_codec.write_answer(await service.infer(request), request)

    async def grpc(some: slice) -> None:
        for wire in wires[some]:
            await calls.model_infer(wire, CallContext())

    async def rows_alone(_: slice) -> None:
        session.run([OUTPUT], {INPUT: tensor})

    async def rows_whole(_: slice) -> None:
        request = binary_codec.read_request(large, length, Envelope(MODEL))
        binary_codec.write_answer(await service.infer(request), request)

    one = {
        "onnxruntime": onnxruntime, "bare/json": bare_json, "bare/grpc": bare_grpc, "vedette/decode": decode,
        "vedette/infer": infer, "vedette/encode": encode, "vedette/json": whole, "vedette/grpc": grpc,
    }  # fmt: skip
    many = {"onnxruntime/1000": rows_alone, "vedette/1000": rows_whole}
    return {
        **{name: (handler, TURN) for name, handler in one.items()},
        **{name: (handler, 1) for name, handler in many.items()},
    }


def _binary(tensor: np.ndarray[Any, np.dtype[np.float32]]) -> tuple[bytes, int]:
    described = {
        "name": INPUT,
        "datatype": "FP32",
        "shape": tensor.shape,
        "parameters": {"binary_data_size": tensor.nbytes},
    }
    head = orjson.dumps({"inputs": [described], "parameters": {"binary_data_output": True}})
    return head + tensor.tobytes(), len(head)


def rows(found: Mapping[str, Sequence[float]]) -> Iterator[Row]:
    """The costs, and their ratios to those of bare."""

    def cost(name: str, against: str | None = None, **target: Any) -> Row:
        compared = None if against is None else (f"path/{against}", found[against])
        return row(f"path/{name}", found[name], "us", against=compared, **target)

    yield cost("onnxruntime")
    yield cost("bare/json")
    yield cost("vedette/json", "bare/json")
    for stage in ("decode", "infer", "encode"):
        yield cost(f"vedette/{stage}", "bare/json")
    beyond = [whole - alone for whole, alone in zip(found["vedette/json"], found["onnxruntime"], strict=True)]
    yield row("path/vedette/beyond", beyond, "us", against=("path/bare/json", found["bare/json"]))
    yield cost("bare/grpc")
    yield cost("vedette/grpc", "bare/grpc")
    yield cost("onnxruntime/1000")
    yield cost("vedette/1000", "onnxruntime/1000", target=ratio("<=", 2.0))
