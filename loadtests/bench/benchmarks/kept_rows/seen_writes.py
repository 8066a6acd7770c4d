"""How soon requests see a write: 32 clients of the HTTP door of a replica that keeps rows, while another process writes rows to Redis.

The model answers one feature as it is, so each answer tells which write it saw. A write counts from when Redis' answer to it reached the
writer. An answer is stale if its request was sent later and it has an older value. `behind` is, for each write, the time until the last
stale answer had come, with all the time that this request took; 0 if no answer was stale. `behind/sent` is the time until the last request
of these was sent. `first seen` is the time until the first answer that has the write came: it contains the time in which nobody asked for
that host, so it is measured of a replica that keeps nothing too. A part of near_cache."""

import asyncio
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from urllib.request import urlopen

import numpy as np
import orjson
from onnx import TensorProto, checker, helper, numpy_helper

from loadtests.bench import targets
from loadtests.bench.benchmarks.features import NOW, SERVICE
from loadtests.bench.errors import BenchError
from loadtests.bench.load.connections import ClosedLoop, Judge, Load, SentRequest, http_post
from loadtests.bench.process import HOST, Running
from loadtests.bench.report import Row, row
from loadtests.bench.worlds.row_writer import Write, start_writer, writes_of

MODEL: Final = "as-it-is"
CLIENTS: Final = 32
HOT: Final = 51
WRITES_PER_S: Final = 1_000
CUT_EVERY_S: Final = 0.3
LONGEST_S: Final = 120.0
"""A load that has not made its checks by then ends with those that it made."""

Seen = tuple[float, float, int, float]
"""One answer: when its request was sent, when it came (monotonic seconds), its host, the value in it."""


@dataclass(frozen=True, slots=True)
class SeenWrites:
    """One stretch. By write, in milliseconds, shape (writes,): behind, behind_sent, first_seen (NaN if no answer had it). checks:
    answers that were judged. stale: of them, those whose request was sent more than the bound after a write that they do not have.

    hit_percent: of the rows that were asked for. degraded_percent: of the answers; they are not judged. cuts: of the connection."""

    behind_ms: np.ndarray[Any, Any]
    behind_sent_ms: np.ndarray[Any, Any]
    first_seen_ms: np.ndarray[Any, Any]
    checks: int
    stale: int
    hit_percent: float = 0.0
    degraded_percent: float = 0.0
    cuts: int = 0


def add_bundle(folder: Path, columns: Sequence[str], feature: str) -> None:
    """Put a model into the store that answers this one of the features that it takes."""
    from serving.models.build import build_bundle
    from serving.models.store import BundleStore

    place = numpy_helper.from_array(np.array([columns.index(feature)], dtype=np.int64), "place")
    wide, one = [None, len(columns)], [None, 1]
    graph = helper.make_graph(
        [helper.make_node("Gather", ["features", "place"], ["score"], axis=1)],
        MODEL,
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, wide)],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, one)],
        [place],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    bundle = build_bundle(
        folder / "draft",
        model=model.SerializeToString(),
        golden_inputs={"features": np.ones((2, len(columns)), dtype=np.float32)},
        name=MODEL,
        version="1",
        description="Answers one feature as it is, for benchmarks.",
        entity_keys=[{"name": "host", "datatype": "BYTES"}],
        feature_service=SERVICE,
        event_time_field="event_time",
        assembly=[{"tensor": "features", "columns": list(columns)}],
        score={"output": "score"},
        operating_points={"normal": {"threshold": 0.2, "investigate": 0.1, "requirement": "none: for benchmarks"}},
        default_operating_point="normal",
    )
    BundleStore(folder).add(bundle)


class _Answers(Judge):
    """Reads the answers. problem: the first that is none. degraded: how many had no feature from the store; they say nothing here."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.degraded, self.problem = 0, ""

    def answered(self, request: SentRequest, status: int, body: bytes, now: float) -> None:
        if status != 200:
            self.problem = self.problem or f"{status}: {body!r:.300}"
            return
        outputs = {output["name"]: output["data"][0] for output in orjson.loads(body)["outputs"]}
        if outputs["degraded"]:
            self.degraded += 1
        else:
            self.seen.append((request.sent, now, request.number % HOT, float(outputs["score"])))


async def see_writes(
    up: Running, url: str, keys: Sequence[bytes], field: bytes, folder: Path, *, seconds: float, checks: int = 0
) -> SeenWrites:
    """Measure one stretch. keys: of the HOT first hosts. checks: how many answers to check while the connection is cut again and
    again; 0: no cut, for `seconds`."""
    from serving.features.stores.redis import BOUND_S

    at_us = int(NOW.timestamp() * 1e6)
    requests = [http_post(up.http_port, f"/v2/models/{MODEL}/infer", _body(f"host-{place}", at_us)) for place in range(HOT)]
    longest_s = LONGEST_S if checks else seconds
    writer = await asyncio.to_thread(start_writer, url, keys, field, folder, rate=WRITES_PER_S, seconds=longest_s)
    answers, before, until_s, cuts = _Answers(), rows_asked(up), time.monotonic() + longest_s, 0
    with closing(Load(up.http_port, answers, lambda number, _: requests[number % HOT], keeps_connecting=True)) as load:
        await load.connect(CLIENTS)
        load.begin(ClosedLoop())
        while time.monotonic() < until_s and (not checks or len(answers.seen) < checks):
            await asyncio.sleep(CUT_EVERY_S if checks else 0.05)
            if checks:
                cuts += await asyncio.to_thread(cut, url)
    if answers.problem:
        raise BenchError(f"near_cache: a request was answered {answers.problem}")
    after = rows_asked(up)
    if checks:
        writer.terminate()  # it writes down what it wrote
    writes = await asyncio.to_thread(writes_of, writer, folder)
    asked = {outcome: after[outcome] - before.get(outcome, 0.0) for outcome in after}
    hits = 100 * asked.get("hit", 0.0) / max(sum(asked.values()), 1.0)
    degraded = 100 * answers.degraded / max(answers.degraded + len(answers.seen), 1)
    return replace(judge(writes, answers.seen, BOUND_S), hit_percent=hits, degraded_percent=degraded, cuts=cuts)


def _body(host: str, at_us: int) -> bytes:
    key = {"name": "host", "datatype": "BYTES", "shape": [1], "data": [host]}
    return orjson.dumps({"inputs": [key, {"name": "event_time", "datatype": "INT64", "shape": [1], "data": [at_us]}]})


def rows_asked(up: Running) -> dict[str, float]:
    """Rows that were asked for since the replica began, by outcome; none if it keeps nothing."""
    with urlopen(f"http://{HOST}:{up.http_port}/metrics", timeout=10) as page:  # nosec B310  # our own server
        lines = page.read().decode().splitlines()
    found = (line.split() for line in lines if line.startswith("vedette_near_cache_rows_total{"))
    return {name.partition('outcome="')[2].partition('"')[0]: float(value) for name, value in found}


def cut(url: str) -> int:
    """Cut every connection that is told of changes; how many there were."""
    import redis

    with redis.Redis.from_url(url) as client:
        ours, cuts = client.client_id(), 0
        for each in client.client_list():
            if each.get("resp") == "3" and int(each["id"]) != ours:
                cuts += bool(client.client_kill_filter(_id=each["id"]))
        return cuts


def judge(writes: Sequence[Write], seen: Sequence[Seen], bound_s: float) -> SeenWrites:
    """writes: by time. seen: in any order.

    >>> writes = [(0, 1.0, 10.0), (0, 2.0, 20.0)]
    >>> found = judge(writes, [(10.001, 10.002, 0, 1.0), (20.05, 20.08, 0, 1.0), (20.06, 20.09, 0, 2.0)], 0.1)
    >>> [ms.round().tolist() for ms in (found.behind_ms, found.behind_sent_ms, found.first_seen_ms)]
    [[0.0, 80.0], [0.0, 50.0], [2.0, 90.0]]
    >>> judge(writes, [(20.05, 20.06, 0, 1.0), (20.2, 20.21, 0, 1.0)], 0.1).stale
    1
    """
    answers: dict[int, list[Seen]] = {}
    for answer in seen:
        answers.setdefault(answer[2], []).append(answer)
    times: dict[int, tuple[list[float], list[float]]] = {}
    for key, value, at_s in writes:
        values, ats = times.setdefault(key, ([], []))
        values.append(value)
        ats.append(at_s)
    behind: list[tuple[float, float, float]] = []
    stale = checks = 0
    for key, (values, ats) in times.items():
        came, sent, first = [0.0] * len(ats), [0.0] * len(ats), [float("nan")] * len(ats)
        seen_up_to = 0
        for sent_s, now_s, _, value in sorted(answers.get(key, ()), key=lambda answer: answer[1]):
            checks += 1
            done, unseen = bisect_right(ats, sent_s), bisect_right(values, value)
            for write in range(unseen, done):
                came[write] = max(came[write], now_s - ats[write])
                sent[write] = max(sent[write], sent_s - ats[write])
            for write in range(seen_up_to, unseen):
                first[write] = now_s - ats[write]
            seen_up_to = max(seen_up_to, unseen)
            stale += unseen < done and sent_s - ats[unseen] > bound_s
        behind += zip(came, sent, first, strict=True)
    found = np.array(behind).reshape(-1, 3) * 1e3
    return SeenWrites(found[:, 0], found[:, 1], found[:, 2], checks, stale)


def seen_rows(kept: Sequence[SeenWrites], read: Sequence[SeenWrites], cuts: Sequence[SeenWrites], checks: int) -> Iterator[Row]:
    """The figures of a replica that keeps rows, beside one that keeps none; then those with cuts. checks: how many are wanted."""
    if not all(len(each.behind_ms) for each in (*kept, *read)):
        raise BenchError("near_cache: nothing was written")
    if not all(each.checks for each in (*kept, *read)):  # without an answer none is stale
        raise BenchError("near_cache: no answer had a feature of the store, so nothing is known of how soon writes are seen")
    shares = (("p50", 50), ("p99", 99), ("max", 100))
    for name, share in shares:
        values = [float(np.percentile(each.behind_ms, share)) for each in kept]
        target = targets.value("<=", 5) if name == "p99" else None
        yield row(f"near_cache/kept/seen-writes/behind/{name}", values, "ms", target=target)
    for name, share in shares:
        values = [float(np.percentile(each.behind_sent_ms, share)) for each in kept]
        yield row(f"near_cache/kept/seen-writes/behind/sent/{name}", values, "ms")
    without = [float(np.nanpercentile(each.first_seen_ms, 99)) for each in read]
    yield row("near_cache/read/seen-writes/first seen/p99", without, "ms")
    first = [float(np.nanpercentile(each.first_seen_ms, 99)) for each in kept]
    yield row(
        "near_cache/kept/seen-writes/first seen/p99",
        first,
        "ms",
        against=("near_cache/read/seen-writes/first seen/p99", without),
    )
    late = [float(100 * np.mean(each.behind_ms > 0)) for each in kept]
    yield row("near_cache/kept/seen-writes/writes with a stale answer", late, "%")
    yield row("near_cache/read/seen-writes/behind/max", [float(each.behind_ms.max()) for each in read], "ms")
    yield row("near_cache/kept/seen-writes/hits", [each.hit_percent for each in kept], "%")
    yield row("near_cache/kept/seen-writes/degraded", [each.degraded_percent for each in kept], "%")
    yield row("near_cache/kept/seen-writes/writes", [float(len(each.behind_ms)) for each in kept], "writes")
    yield row("near_cache/kept/seen-writes/checks", [float(each.checks) for each in kept], "answers")
    stale = [sum(each.stale for each in kept)]  # in all rounds together: a median would forgive
    yield row("near_cache/kept/seen-writes/stale", stale, "answers", target=targets.value("<=", 0))
    yield row("near_cache/cut/seen-writes/cuts", [float(each.cuts) for each in cuts], "cuts", target=targets.value(">=", 1))
    enough = targets.value(">=", checks)
    yield row("near_cache/cut/seen-writes/checks", [float(each.checks) for each in cuts], "answers", target=enough)
    yield row("near_cache/cut/seen-writes/hits", [each.hit_percent for each in cuts], "%")
    yield row(
        "near_cache/cut/seen-writes/stale", [float(each.stale) for each in cuts], "answers", target=targets.value("<=", 0)
    )
