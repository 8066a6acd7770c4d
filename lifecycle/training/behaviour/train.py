"""From a detector file of kind `behaviour` and its data to a bundle: windows counted, a model of what is usual, thresholds by quantile.

The windows are counted by the code that batch jobs run (serving.batch.behaviour). Same seed and data, same digest."""

import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from lifecycle.datasets.synthetic_flows import generate_flows
from lifecycle.errors import DataError
from lifecycle.training.behaviour.autoencoder import autoencoder_to_onnx, fit_autoencoder
from lifecycle.training.behaviour.declaration import BehaviourDetector
from lifecycle.training.behaviour.isolation_forest import fit_forest, to_onnx
from lifecycle.training.origin import code_commit, environment
from lifecycle.training.reference import QUANTILES
from serving.batch.behaviour.events import events_of
from serving.batch.behaviour.features import FEATURES, window_features
from serving.batch.behaviour.history import pair_hashes
from serving.batch.behaviour.spec import FILE, BehaviourSpec, Roles, UsualWindows
from serving.batch.data.columns import read_columns
from serving.batch.data.event_times import NO_TIME, event_times_us
from serving.batch.data.files import BatchFolder
from serving.batch.data.inputs import AT, is_timed, read_unit, scan
from serving.batch.data.source import Source, SourceColumn, SourceMatch, SourceTime
from serving.batch.plan import plan_windows
from serving.models.build import build_bundle
from serving.models.bundle import Bundle
from serving.models.manifest import FieldSpec, Lineage, OperatingPoint, ScoreSpec, TensorAssembly
from serving.models.onnx import OnnxModel
from serving.models.store import BundleStore

SCORE_STEPS: Final = 1000
FEATURE_STEPS: Final = 200
LEAST_WINDOWS: Final = 50
GOLDEN_ROWS: Final = 16


@dataclass(frozen=True, slots=True)
class EntityWindows:
    """One row for each entity and window. frame: entity, window (seconds since the epoch), events, and the features."""

    frame: Any
    digest: str


def source_of_behaviour(detector: BehaviourDetector) -> Source:
    """The columns that the windows are counted from."""
    names = dict.fromkeys(
        (detector.entity, detector.peer, detector.port, detector.bytes, detector.sent, detector.failed.column)
    )
    defaults = {detector.peer: "", detector.failed.column: ""}
    columns = tuple(_column(detector, name, defaults.get(name)) for name in names)
    spec = detector.event_time
    at, duration = (detector.columns[c].source or c if c is not None else None for c in (spec.column, spec.duration))
    return Source(columns, (detector.entity,), tuple(names), (SourceTime(str(at), spec.timezone, duration),))


def _column(detector: BehaviourDetector, name: str, default: str | None) -> SourceColumn:
    column = detector.columns[name]
    kind: Any = column.type
    return SourceColumn(name, kind, column.source, default)


def read_windows(detector: BehaviourDetector, place: Path) -> EntityWindows:
    """Count the windows of a file or folder. Raises DataError, BatchInputError."""
    folder, source = BatchFolder(str(place)), source_of_behaviour(detector)
    files = scan(folder, source, {})
    if not is_timed(files):
        raise DataError(f"{place}: no row has a time; the detector reads it from {detector.event_time.column!r}")
    units = plan_windows(files, identity="", window_s=detector.window_s)
    digests = sorted(file.digest for file in files)
    digest = digests[0] if len(digests) == 1 else f"sha256:{hashlib.sha256(' '.join(digests).encode()).hexdigest()}"
    return _counted(detector, source, ((u.from_us or 0, read_unit(folder, u, source)) for u in units), digest)


def generated_windows(detector: BehaviourDetector) -> EntityWindows:
    """Windows of generated flows."""
    rows = generate_flows(detector.model.seed)
    place = pa.Table.from_pandas(rows, preserve_index=False)
    source = source_of_behaviour(detector)
    at_us = event_times_us(place, source.times[0])
    table = place.append_column(AT, pa.array(at_us)).take(pa.array(np.argsort(at_us, kind="stable")))
    windows = np.unique(table[AT].to_numpy() // (detector.window_s * 1_000_000))
    starts = windows * detector.window_s * 1_000_000
    parts = (
        (int(s), table.filter(pa.array((table[AT].to_numpy() // (detector.window_s * 1_000_000)) == w)))
        for s, w in zip(starts, windows, strict=True)
    )
    return _counted(detector, source, parts, f"generated:{detector.model.seed}")


def _counted(detector: BehaviourDetector, source: Source, tables: Any, digest: str) -> EntityWindows:
    roles, frames = roles_of(detector), []
    seen: NDArray[np.uint64] | None = None
    for start_us, table in tables:
        rows, at_us = read_columns(table, source), table[AT].to_numpy()
        is_good = at_us != NO_TIME
        is_good[list(rows.why)] = False
        pairs = pair_hashes(*(rows.columns[name].values[is_good] for name in (roles.entity, roles.peer)))
        events, keys = events_of(rows, at_us, roles, is_good, None if seen is None else np.isin(pairs, seen))
        codes, features, numbers = window_features(events)
        seen = np.unique(pairs if seen is None else np.concatenate([seen, pairs]))
        counted = {f"_{name}": values for name, values in features.items()}
        named = {"entity": keys[codes], "window": start_us // 1_000_000, "events": numbers}
        frames.append(pd.DataFrame({**named, **counted}))
    frame = pd.concat(frames, ignore_index=True)
    return EntityWindows(frame[frame["events"] >= detector.model.least_events].reset_index(drop=True), digest)


def roles_of(detector: BehaviourDetector) -> Roles:
    """Which column says what."""
    where = detector.failed.where
    failed = SourceMatch(where.equals, where.contains, where.not_equals)
    return Roles(detector.entity, detector.peer, detector.port, detector.bytes, detector.sent, detector.failed.column, failed)


def matrix_of(detector: BehaviourDetector, windows: EntityWindows) -> NDArray[np.float32]:
    """The model's inputs, shape (n, features)."""
    return np.column_stack([windows.frame[f"_{name}"].to_numpy(dtype=np.float32) for name in detector.features])


def train_behaviour(detector: BehaviourDetector, windows: EntityWindows, store: BundleStore) -> Bundle:
    """Fit the model and add its bundle to the store. Raises DataError."""
    if len(windows.frame) < LEAST_WINDOWS:
        raise DataError(
            f"detector {detector.name!r}: {len(windows.frame)} windows with at least {detector.model.least_events} events; "
            f"at least {LEAST_WINDOWS} are needed to say what is usual: give more data, or a shorter window_s"
        )
    rows = matrix_of(detector, windows)
    graph, scores = _fit(detector, rows)
    spec = BehaviourSpec(
        roles_of(detector),
        source_of_behaviour(detector),
        UsualWindows(
            _quantiles(scores, SCORE_STEPS),
            {name: _quantiles(rows[:, at], FEATURE_STEPS) for at, name in enumerate(detector.features)},
            len(rows),
        ),
        detector.window_s,
        detector.history_days * 86_400,
        detector.model.least_events,
        detector.reasons,
    )
    golden = rows[np.linspace(0, len(rows) - 1, min(GOLDEN_ROWS, len(rows))).astype(int)]
    summary = _summary(detector, rows, scores)
    files = {FILE: msgspec.json.format(msgspec.json.encode(spec, order="sorted")), "reference/summary.json": summary}
    fields = _manifest(detector, windows, scores)
    version = store.next_version(detector.name)
    with tempfile.TemporaryDirectory(prefix="vedette-") as scratch:
        build = {"model": graph, "golden_inputs": {"features": golden}, "files": files, **fields}
        for at, entry in enumerate([e for e in store.entries() if e.name == detector.name][-1:]):
            again = build_bundle(Path(scratch) / f"again-{at}", version=entry.version, **build)
            if again.digest == entry.digest:
                return store.resolve(detector.name, entry.version)
        store.add(build_bundle(Path(scratch) / "new", version=version, **build))
    return store.resolve(detector.name)


def _fit(detector: BehaviourDetector, rows: NDArray[np.float32]) -> tuple[bytes, NDArray[np.float32]]:
    """The graph, and its scores of these rows."""
    model = detector.model
    if model.kind == "autoencoder":
        graph = autoencoder_to_onnx(fit_autoencoder(rows, hidden=min(model.hidden, rows.shape[1] - 1)))
    else:
        graph = to_onnx(fit_forest(rows, trees=model.trees, sample=model.sample, seed=model.seed))
    return graph, OnnxModel(graph).run({"features": rows}, ["anomaly"])["anomaly"]


def _manifest(detector: BehaviourDetector, windows: EntityWindows, scores: NDArray[np.float32]) -> dict[str, Any]:
    points = {}
    for name, share in detector.operating_points.items():
        threshold, lower = (float(np.quantile(scores, q)) for q in (share, 1 - 2 * (1 - share) if share > 0.5 else share / 2))
        points[name] = OperatingPoint(
            threshold=threshold,
            investigate=min(lower, threshold),
            requirement=f"more unusual than {share:.2%} of the training windows",
        )
    lineage = Lineage(
        data_digest=windows.digest
        if windows.digest.count("+") == 0
        else f"files:{len(windows.digest.split('+'))}:{windows.digest[:80]}",
        data={"windows": len(windows.frame), "entities": int(windows.frame["entity"].nunique())},
        code_commit=code_commit(),
        seed=detector.model.seed,
        parameters=detector.model.model_dump(mode="json"),
        environment=environment(),
        detector=detector.model_dump(mode="json", by_alias=True),
    )
    return {
        "name": detector.name,
        "description": detector.description,
        "entity_keys": (FieldSpec(name=detector.entity, datatype="BYTES"),),
        "request_fields": tuple(FieldSpec(name=n, datatype="FP64", description=FEATURES[n]) for n in detector.features),
        "assembly": (TensorAssembly(tensor="features", columns=detector.features),),
        "score": ScoreSpec(output="anomaly"),
        "operating_points": points,
        "default_operating_point": detector.default_operating_point,
        "lineage": lineage,
    }


def _summary(detector: BehaviourDetector, rows: NDArray[np.float32], scores: NDArray[np.float32]) -> bytes:
    body: Mapping[str, Any] = {
        "rows": len(rows),
        "numbers": {n: [float(q) for q in np.quantile(rows[:, at], QUANTILES)] for at, n in enumerate(detector.features)},
        "text": {},
        "score": [float(q) for q in np.quantile(scores, QUANTILES)],
        "quantiles": list(QUANTILES),
    }
    return (json.dumps(body, sort_keys=True) + "\n").encode()


def _quantiles(values: NDArray[Any], steps: int) -> tuple[float, ...]:
    return tuple(float(q) for q in np.quantile(values.astype(np.float64), np.linspace(0, 1, steps + 1)))
