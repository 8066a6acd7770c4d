"""What the benchmarks with features share: a Redis that Feast filled, a model of 20 of its features, and the servers.

Vedette gets the host and the event's time, reads the 20 features in 3 views from Redis and decides. The bare server gets the same 20
numbers in the request and answers the score. This module measures nothing."""

import http.client
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from loadtests.bench.benchmarks.doors import BARE, bare
from loadtests.bench.benchmarks.features import HOSTS, NOW, SERVICE, fill, redis_server
from loadtests.bench.errors import BenchError
from loadtests.bench.process import HOST, Running, running
from loadtests.bench.vedette import NAME as OURS
from loadtests.bench.vedette import SHIPPED, decision, serving, watched
from loadtests.bench.workload import INFER_PATH, INPUT, MODEL, OUTPUT, Workload, build_workload

ASKED: Final = 256
"""How many hosts are asked for, in turn."""
EVENT_US: Final = int(NOW.timestamp() * 1e6)
TOLERANCE: Final = 1e-5


@dataclass(frozen=True, slots=True)
class Featured:
    """The running servers. bodies: a file with one JSON body per line, of the same hosts as the bare server's. feast: the store's
    folder.

    shipped: Vedette with every setting as it ships; None if it was not asked for."""

    url: str
    feast: Path
    workload: Workload
    bodies: Path
    bare: Running
    vedette: Running
    shipped: Running | None = None

    def bodies_of(self, server: Running) -> Path:
        """The file with the requests for this server."""
        return self.workload.json_bodies if server.name == BARE else self.bodies


@contextmanager
def featured(folder: Path, *, has_shipped: bool = False, is_watched: bool = False, **settings: str) -> Iterator[Featured]:
    """Fill Redis, start the servers and check them; stop them at the end. is_watched: Vedette's replica notes what
    `servers.watched` reads. settings: of Vedette, in place of the defaults. Raises BenchError."""
    with redis_server() as url, ExitStack() as stack:
        feast = fill(folder, url)
        names, inputs = rows_of(feast, [f"host-{i}" for i in range(ASKED)])
        workload = build_workload(folder, inputs=inputs)
        _bundle(workload, folder, names)
        bodies = folder / "hosts.jsonl"
        bodies.write_bytes(b"\n".join(body(i) for i in range(ASKED)) + b"\n")
        server = serving(folder, OURS, redis_url=url, **settings)
        ours = stack.enter_context(running(watched(server) if is_watched else server))
        _check(ours, workload)
        shipped = stack.enter_context(running(serving(folder, SHIPPED, redis_url=url))) if has_shipped else None
        if shipped is not None:
            _check(shipped, workload)
        yield Featured(url, folder / "feast", workload, bodies, stack.enter_context(running(bare(workload))), ours, shipped)


def rows_of(feast: Any, hosts: list[str]) -> tuple[list[str], Any]:
    """The features of these hosts as Feast itself reads them: names in the model's order, and values, shape (n, 20)."""
    found = feast.get_online_features(
        feast.get_feature_service(SERVICE), [{"host": host} for host in hosts], full_feature_names=True
    ).to_dict()
    del found["host"]
    return list(found), np.array(list(found.values()), dtype=np.float32).T.copy()


def body(host: int) -> bytes:
    """A request for one host's decision."""
    key = {"name": "host", "datatype": "BYTES", "shape": [1], "data": [f"host-{host % HOSTS}"]}
    time = {"name": "event_time", "datatype": "INT64", "shape": [1], "data": [EVENT_US]}
    return orjson.dumps({"inputs": [key, time]})


def _bundle(workload: Workload, folder: Path, names: list[str]) -> None:
    from serving.models.build import build_bundle
    from serving.models.store import BundleStore

    bundle = build_bundle(
        folder / "draft",
        model=workload.model,
        golden_inputs={INPUT: workload.inputs[:4]},
        name=MODEL,
        version="1",
        entity_keys=[{"name": "host", "datatype": "BYTES"}],
        feature_service=SERVICE,
        event_time_field="event_time",
        assembly=[{"tensor": INPUT, "columns": names}],
        **decision(workload.answers),
    )
    BundleStore(folder).add(bundle)


def _check(server: Running, workload: Workload) -> None:
    """Check that a few hosts are decided on from their features, as onnxruntime scores Feast's own values. Raises BenchError."""
    for host in (0, 7, ASKED - 1):
        connection = http.client.HTTPConnection(HOST, server.http_port, timeout=10)
        try:
            connection.request("POST", INFER_PATH, body(host), {"Content-Type": "application/json"})
            answer = orjson.loads(connection.getresponse().read())
        finally:
            connection.close()
        outputs = {o["name"]: o["data"][0] for o in answer.get("outputs", [])}
        expected = float(workload.answers[host])
        if outputs.get("degraded", True) or abs(outputs.get(OUTPUT, np.inf) - expected) > TOLERANCE:
            raise BenchError(f"{server.name} answered host-{host} with {answer}, where Feast's values score {expected}")
