"""Explained answers over HTTP beside plain ones, and what they do to the plain ones that are answered at the same time.

The benchmark's model (200 trees, 40 columns); `parameters.explain` is `shap` (exact TreeSHAP) or `counterfactual`. Closed: one client, one
request at a time. Beside: plain requests in an open loop at a steady rate, alone and with one explained request to every 20 of them from
a generator of its own; `alone-again` is `alone` once more, so that its ratio is the noise. Latencies count from when requests were due."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import orjson

from loadtests.bench import targets
from loadtests.bench.benchmarks.doors import say
from loadtests.bench.load.http_load import load_http
from loadtests.bench.load.open_load import OpenSample, load_open
from loadtests.bench.load.results import Sample
from loadtests.bench.process import Running, running
from loadtests.bench.report import Row, row
from loadtests.bench.vedette import fill_store, serving
from loadtests.bench.workload import INFER_PATH, build_workload

PLAIN: Final = "plain"
METHODS: Final = ("shap", "counterfactual")
EVERY: Final = 20
RATE: Final = 200.0
CLIENTS: Final = 8
ALONE, AGAIN, BESIDE = "alone", "alone-again", "beside-explained"
GOLDEN_ROWS: Final = 128
"""Golden rows of the bundle. They are the background of the explanations, because the bundle has no training sample."""


def run(*, quick: bool, rounds: int) -> list[Row]:
    """Measure. Raises BenchError if the server fails."""
    duration_s = 1.0 if quick else 3.0
    closed: dict[str, list[Sample]] = {PLAIN: [], **{method: [] for method in METHODS}}
    mixed: dict[str, list[OpenSample]] = {ALONE: [], AGAIN: [], BESIDE: []}
    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as scratch:
        folder = Path(scratch)
        workload = build_workload(folder / "workload")
        fill_store(workload, folder / "store", golden_rows=GOLDEN_ROWS)
        bodies = {PLAIN: workload.json_bodies, **{m: _asking(workload.json_bodies, m, folder) for m in METHODS}}
        with running(serving(folder / "store")) as server:
            for body in bodies.values():
                load_http(
                    server.http_port, INFER_PATH, body, clients=1, duration_s=1.0
                )  # the explainer is made at its first use
            for index in range(rounds):
                for who in closed if index % 2 else reversed(closed):
                    closed[who].append(load_http(server.http_port, INFER_PATH, bodies[who], clients=1, duration_s=duration_s))
                for who in mixed if index % 2 else reversed(mixed):
                    mixed[who].append(_beside(server, bodies, with_explained=who == BESIDE, duration_s=2 * duration_s))
                seen = {who: samples[-1].p99_ms for who, samples in closed.items()}
                seen |= {who: samples[-1].p99_ms for who, samples in mixed.items()}
                p99s = ", ".join(f"{who} {p99_ms:.2f}" for who, p99_ms in seen.items())
                say(f"explained_answers round {index + 1}/{rounds}: p99 in ms: {p99s}")
    return [*closed_rows(closed), *mixed_rows(mixed)]


def closed_rows(closed: Mapping[str, Sequence[Sample]]) -> Iterator[Row]:
    """Each kind of answer beside the plain one."""
    for who, samples in closed.items():
        for figure, attribute in (("p50", "p50_ms"), ("p99", "p99_ms")):
            plain = (f"explained-answer/{PLAIN}/{figure}", [getattr(s, attribute) for s in closed[PLAIN]])
            values = [getattr(s, attribute) for s in samples]
            yield row(f"explained-answer/{who}/{figure}", values, "ms", against=None if who == PLAIN else plain)


def mixed_rows(mixed: Mapping[str, Sequence[OpenSample]]) -> Iterator[Row]:
    """Plain answers alone, alone again (the noise), and beside explained ones."""
    for who, samples in mixed.items():
        for figure, attribute in (("p50", "p50_ms"), ("p99", "p99_ms"), ("generator-late-p99", "late_p99_ms")):
            alone = (f"plain-answers/{ALONE}/{figure}", [getattr(s, attribute) for s in mixed[ALONE]])
            target = targets.ratio("<=", 1.2) if (who, figure) == (BESIDE, "p99") else None
            values = [getattr(s, attribute) for s in samples]
            yield row(f"plain-answers/{who}/{figure}", values, "ms", against=None if who == ALONE else alone, target=target)


def _beside(server: Running, bodies: Mapping[str, Path], *, with_explained: bool, duration_s: float) -> OpenSample:
    """Plain requests at a steady rate, with or without explained ones beside them."""
    with ThreadPoolExecutor(2) as pool:
        plain = pool.submit(
            load_open, server.http_port, INFER_PATH, bodies[PLAIN], rate=RATE, clients=CLIENTS, duration_s=duration_s
        )
        if with_explained:
            rate, explained = RATE / EVERY, bodies[METHODS[0]]
            pool.submit(
                load_open, server.http_port, INFER_PATH, explained, rate=rate, clients=CLIENTS, duration_s=duration_s
            ).result()
        return plain.result()


def _asking(bodies: Path, method: str, folder: Path) -> Path:
    """The file with the same requests, which ask for an explanation."""
    asked = [{**orjson.loads(line), "parameters": {"explain": method}} for line in bodies.read_bytes().splitlines()]
    made = folder / f"{method}.jsonl"
    made.write_bytes(b"\n".join(orjson.dumps(body) for body in asked) + b"\n")
    return made
