"""The surroundings of the demonstration: a store with a stable detector, a better one, bad candidates, and events to send.

The traffic is generated; everything else is real: features through Feast, models trained, exported and probed as usual."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lifecycle.datasets.data import Dataset, check_data
from lifecycle.datasets.declarations import read_detector
from lifecycle.datasets.detector import Detector
from lifecycle.datasets.synthetic_flows import generate_flows
from lifecycle.training.export import tensors_of
from lifecycle.training.feast_store import FeastStore
from lifecycle.training.train import Prepared, Trained, add_to_store, prepare, train
from operators.cli.demo import candidates
from operators.cli.demo.traffic import TrafficRow
from operators.cli.models.train import materialize
from serving.models.bundle import Bundle
from serving.models.store import BundleStore

MODEL: Final = "flows"
EVENTS: Final = 4000
CALM: Final = 6
"""Of the infected hosts, one in so many is among the events: most traffic is benign, and too many alerts must show."""
DATATYPES: Final = {"string": "BYTES", "float": "FP64", "int": "INT64", "port": "INT64"}


@dataclass(frozen=True, slots=True)
class World:
    """Bundles by role, and the events to send. eager: a threshold at which the good one alerts at a fifth of the events."""

    stable: Bundle
    good: Bundle
    failing: Bundle
    failing_again: Bundle
    slow: Bundle
    flooding: Bundle
    broken: Bundle
    eager: float
    events: tuple[TrafficRow, ...]
    alert_share: float


def build(store_dir: Path, tell: Callable[[str], None], *, slow_ms: float) -> World:
    """Train, make the candidates, fill the online store. Some twenty seconds."""
    began = time.monotonic()
    detector = read_detector(MODEL)
    tell("generating a network of many hosts")
    rows_of_network = check_data(detector, generate_flows(detector.model.seed), where="generated flows")
    data = replace(rows_of_network, is_generated=True)
    feast = FeastStore(store_dir / "feast")
    tell("joining features through Feast, training two detectors")
    prepared = prepare(detector, data, feast, with_test=True)
    store = BundleStore(store_dir)
    first = train(prepared)
    stable = add_to_store(first, store)
    good = add_to_store(train(prepared, seed=7), store)
    if prepared.service is not None and data.at_us is not None:
        materialize(feast, data.at_us, prepared.service.name, lambda what, share: None)
    newest = _newest_of_each(data)
    rows = _rows(prepared, first, newest)
    tell("making candidates that go wrong")
    flooding = candidates.flooding(stable, rows, 0.4, store)
    world = World(
        stable=stable,
        good=good,
        failing=candidates.failing(stable, rows, 0.1, store),
        failing_again=candidates.failing(stable, rows, 0.15, store),
        slow=candidates.slow(stable, rows, slow_ms, store),
        flooding=flooding,
        broken=candidates.mislabelled(stable, flooding, store),
        eager=candidates.threshold_for(good, rows, 0.2),
        events=_events(detector, data, newest),
        alert_share=candidates.alert_share(stable, rows),
    )
    tell(f"ready after {time.monotonic() - began:.0f} s")
    return world


def _newest_of_each(data: Dataset) -> NDArray[np.intp]:
    """The last row of each host but of most infected ones: what the online store has features of."""
    hosts = data.frame["host"].astype(str).to_numpy()
    names, last = np.unique(hosts[::-1], return_index=True)
    infected = np.flatnonzero(np.isin(names, hosts[data.attack]))
    kept = np.setdiff1d(np.arange(len(names)), np.delete(infected, np.s_[::CALM]))
    chosen = len(hosts) - 1 - last[kept]
    return np.random.default_rng(1).permutation(chosen)[:EVENTS]


def _rows(prepared: Prepared, trained: Trained, which: NDArray[np.intp]) -> NDArray[np.float32]:
    """The model's input for these rows."""
    (tensor,) = tensors_of(trained.encoding, prepared.frame.iloc[which]).values()
    return np.ascontiguousarray(tensor, dtype=np.float32)


def _events(detector: Detector, data: Dataset, which: NDArray[np.intp]) -> tuple[TrafficRow, ...]:
    names = [detector.entity.key if detector.entity else "", *detector.request_fields]
    types = {n: DATATYPES[detector.source.columns[n].type] for n in names}
    records = data.frame.iloc[which][names].to_dict("records")
    ticks = (np.asarray(data.at_us)[which] // 1_000_000 + 1) * 1_000_000
    return tuple(
        {**{n: (types[n], _plain(types[n], record[n])) for n in names}, "event_time": ("INT64", int(tick))}
        for record, tick in zip(records, ticks, strict=True)
    )


def _plain(datatype: str, value: Any) -> Any:
    if datatype == "BYTES":
        return str(value)
    return float(value) if datatype == "FP64" else int(value)
