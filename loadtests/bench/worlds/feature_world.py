"""A model that needs features, a feature store in Redis, and the right score of every entity.

onnxruntime computes the right scores from the values that were written, so they use nothing that is under test. This module writes files
and Redis, and starts no server."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from loadtests.bench.workload import FEATURES, INPUT, MODEL, OUTPUT, TREES, tree_model

HOSTS: Final = 500
SERVICE: Final = "bench"
NOW: Final = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PATH: Final = f"/v2/models/{MODEL}/infer"


@dataclass(frozen=True, slots=True)
class FeatureWorld:
    """folder: the store, ready to be served. bodies: one infer request per host, as JSON. scores: the right ones, shape (hosts,).
    default_score: the score if no feature could be read."""

    folder: Path
    bodies: Sequence[bytes]
    scores: NDArray[np.float32]
    default_score: float


def build_feature_world(folder: Path, redis_url: str, *, hosts: int = HOSTS, trees: int = TREES) -> FeatureWorld:
    """Apply views and a service through Feast, write every host's row to Redis, and put a bundle that reads them into the store.

    trees: of the model; with more trees a run takes longer."""
    columns, values = _fill(folder, redis_url, hosts)
    columns, values = (*columns, *columns), np.concatenate([values, values], axis=1)  # the model takes FEATURES inputs
    model = tree_model(7, trees=trees)
    scores = _scores(model, np.concatenate([values, np.zeros_like(values[:1])]))
    _add_bundle(folder, model, columns)
    at_us = int(NOW.timestamp() * 1e6)
    bodies = [_body(f"host-{i}", at_us) for i in range(hosts)]
    return FeatureWorld(folder, bodies, scores[:-1], float(scores[-1]))


def _fill(folder: Path, redis_url: str, hosts: int) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """Feature names in the service's order, and their values, shape (hosts, 20)."""
    import pandas as pd
    from feast import FeatureService

    from feature_repo import views
    from feature_repo.flows import FLOWS
    from lifecycle.training.feast_store import FeastStore

    store, rng = FeastStore(folder / "feast", redis_url), np.random.default_rng(0)
    names = [f"host-{i}" for i in range(hosts)]
    store.apply(FLOWS)
    last = [aggregate.name for aggregate in FLOWS.aggregates[:-1]]
    store.apply([FeatureService(name=SERVICE, features=[views.host_10s, views.host_60s, views.host_600s[last]])])
    columns: dict[str, NDArray[np.float64]] = {}
    for window in FLOWS.windows:
        rows = {a.name: rng.standard_normal(hosts) for a in FLOWS.aggregates}
        store.write_rows(FLOWS.view(window), pd.DataFrame({"host": names, "event_timestamp": NOW, **rows}))
        columns |= {f"{FLOWS.view(window)}__{name}": column for name, column in rows.items()}
    store.materialize(NOW - timedelta(hours=1), NOW + timedelta(seconds=1))
    columns.popitem()  # the one that the service leaves out
    return tuple(columns), np.stack(list(columns.values()), axis=1).astype(np.float32)


def _scores(model: bytes, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    found: Any = np.concatenate([session.run([OUTPUT], {INPUT: row[None, :]})[0].reshape(-1) for row in inputs])
    return np.asarray(found, dtype=np.float32)


def _add_bundle(folder: Path, model: bytes, columns: Sequence[str]) -> None:
    from serving.models.build import build_bundle
    from serving.models.store import BundleStore

    bundle = build_bundle(
        folder / "draft",
        model=model,
        golden_inputs={INPUT: np.random.default_rng(8).standard_normal((4, FEATURES), dtype=np.float32)},
        name=MODEL,
        version="1",
        description="Trees with seeded random splits over features from Redis, for benchmarks.",
        entity_keys=({"name": "host", "datatype": "BYTES"},),
        feature_service=SERVICE,
        event_time_field="event_time",
        assembly=({"tensor": INPUT, "columns": tuple(columns)},),
        score={"output": OUTPUT},
        operating_points={"normal": {"threshold": 0.2, "investigate": 0.1, "requirement": "none: for benchmarks"}},
        default_operating_point="normal",
    )
    BundleStore(folder).add(bundle)


def _body(host: str, at_us: int) -> bytes:
    inputs = [
        {"name": "host", "datatype": "BYTES", "shape": [1], "data": [host]},
        {"name": "event_time", "datatype": "INT64", "shape": [1], "data": [at_us]},
    ]
    return orjson.dumps({"inputs": inputs})
