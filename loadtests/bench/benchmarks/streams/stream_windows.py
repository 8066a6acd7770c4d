"""The windows of a stream: the time that an event takes in them, and how much is kept.

The flows of VEDETTE_DATA_DIR, or generated ones, come in the order in which they would have come, in one partition, and are held for their
disorder. An event is counted, its row of 21 features is read, and it is written to a delta of the changelog. The codec, the model and the
broker are left out. Times are of the processor, so that a busy machine tells the same. Then the same flows come ten times over, each time
later, with the memory of the state after each pass: it grows with the hosts that are live, not with events. At last one host talks to a
million others."""

import gc
import os
import time
import tracemalloc
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from lifecycle.datasets.declarations import read_detector
from lifecycle.datasets.synthetic_flows import generate_flows
from loadtests.bench.report import Course, Row, row
from loadtests.bench.targets import value as bound_on
from loadtests.bench.worlds.flow_windows import ReplayedRows, released, replayed, shifted
from loadtests.bench.worlds.flow_windows import run as replay
from serving.stream.events import StreamEvents, joined
from serving.stream.ports import Partition, StreamRecord
from serving.stream.windows.encoding import encode_snapshot
from serving.stream.windows.engine import SECOND_US, WindowRows
from serving.stream.windows.kind import BOUND
from serving.stream.windows.plan import WindowPlan
from serving.stream.windows.state import PartitionWindows

IS_LONG: Final = True
BATCHES: Final = (1, 64, 500, 4000)
PASSES: Final = 10
PEERS: Final = 1_000_000
LATENESS_S: Final = 120
FILE: Final = "ctu13_s11_capture20110818-2.parquet"


def run(*, quick: bool, rounds: int) -> list[Row]:
    """Measure. Without VEDETTE_DATA_DIR the flows are generated."""
    rows = replayed(read_detector("flows"), _flows(quick=quick), partitions=1)
    return [
        *_times(rows, rounds),
        *_parity(rows),
        *_growth(rows, 3 if quick else PASSES),
        *_hot_key(100_000 if quick else PEERS),
    ]


def _flows(*, quick: bool) -> Any:
    folder = os.environ.get("VEDETTE_DATA_DIR")
    if folder is None or quick:
        frame = generate_flows(3, hosts=500 if quick else 2400)
        lag_s = np.random.default_rng(3).exponential(5.0, len(frame)).clip(0, 30)
        order = np.argsort(frame["StartTime"].to_numpy() + (lag_s * 1e6).astype("timedelta64[us]"), kind="stable")
        return frame.iloc[order].reset_index(drop=True)
    import pandas as pd

    return pd.read_parquet(Path(folder) / "flows" / FILE)


def _state(rows: ReplayedRows, bound: int = BOUND) -> PartitionWindows:
    return PartitionWindows(WindowPlan.of(rows.spec), bound=bound, lateness_s=LATENESS_S, answered=lambda *_: None)


def _times(rows: ReplayedRows, rounds: int) -> list[Row]:
    """Microseconds per event by the size of the batches, counted and read, with the delta and without."""
    events = joined(list(released(rows.arrivals[0], rows.lag_s + 0.001, LATENESS_S)))
    taken: dict[str, list[float]] = {}
    for _ in range(rounds):
        for size in BATCHES:
            state, counted_s, delta_s, kilobytes = _state(rows), 0.0, 0.0, 0
            n = min(len(events), 20_000) if size == 1 else len(events)
            for start in range(0, n, size):
                batch = events.part(start, min(start + size, n))
                began_s = time.thread_time()
                state.update(batch)
                counted_s += time.thread_time() - began_s
                began_s = time.thread_time()
                kilobytes += len(state.take_delta() or b"")
                delta_s += time.thread_time() - began_s
            taken.setdefault(f"event/windows/batches of {size}", []).append(counted_s / n * 1e6)
            taken.setdefault(f"event/delta/batches of {size}", []).append(delta_s / n * 1e6)
            taken.setdefault(f"delta/bytes/batches of {size}", []).append(kilobytes / n)
    found = []
    for name, values in taken.items():
        target = bound_on("<=", 15.0) if name == "event/windows/batches of 500" else None
        found.append(row(name, values, "bytes" if "bytes" in name else "us", target=target))
    return found


def _parity(rows: ReplayedRows) -> list[Row]:
    """Rows and values that differ from training's join, by how long events are held."""
    found = []
    for disorder_s in (0.0, 1.0, 10.0, 30.0, 60.0, rows.lag_s + 0.001):
        given = replay(rows, disorder_s=disorder_s, lateness_s=LATENESS_S)
        differing, values = given.differences(rows.expected)
        name = f"differs from training/held {disorder_s:.0f} s"
        target = bound_on("<=", 0.0) if disorder_s > rows.lag_s else None
        found += [
            row(f"{name}/rows", [float(differing)], "rows", target=target),
            row(f"{name}/values", [float(values)], "values", target=target),
            row(f"{name}/late", [float(given.late)], "events"),
        ]
    return found


def _growth(rows: ReplayedRows, passes: int) -> list[Row]:
    """What is kept after each pass over the same flows, each pass later than the one before."""
    batches = list(released(rows.arrivals[0], rows.lag_s + 0.001, LATENESS_S))
    first, last = int(batches[0].times_us.min()), int(batches[-1].times_us.max())
    step_us = ((last - first) // SECOND_US + 1) * SECOND_US
    state = _state(rows)
    gc.collect()
    tracemalloc.start()
    kept, entities, written, events = [], [], [], 0
    for number in range(passes):
        for batch in batches:
            state.update(shifted(batch, number * step_us))
            state.take_delta()
        events += rows.rows
        gc.collect()
        kept.append(tracemalloc.get_traced_memory()[0] / 1e6)
        entities.append(len(state.engine.entities))
        written.append(sum(map(len, encode_snapshot(state.engine))) / 1e6)
    tracemalloc.stop()

    def course(values: list[float]) -> Course:
        points = tuple((float((i + 1) * rows.rows) / 1e6, v, v, v) for i, v in enumerate(values))
        return Course("millions of events", points)

    began_s = time.thread_time()
    parts = list(encode_snapshot(state.engine))
    snapshot_s = time.thread_time() - began_s
    again = _state(rows)
    began_s = time.thread_time()
    for part in parts:
        again.restore(part)
    restore_s = time.thread_time() - began_s
    return [
        row("state/memory", [kept[-1]], "MB", course=course(kept)),
        row("state/memory, last pass by the second", [kept[-1] / kept[1]], "x", target=bound_on("<=", 1.1)),
        row("state/entities", [float(entities[-1])], "entities", course=course([float(e) for e in entities])),
        row("state/snapshot", [written[-1]], "MB", course=course(written)),
        row("state/events", [float(events)], "events"),
        row("state/writing a snapshot", [snapshot_s * 1000], "ms"),
        row("state/restoring it", [restore_s * 1000], "ms"),
    ]


def _hot_key(peers: int) -> list[Row]:
    """One host that talks to a million others within ten minutes, once each: the memory of its state, and the error of its counts."""
    spec = replayed(read_detector("flows"), generate_flows(1, hosts=50), partitions=1).spec
    found: list[WindowRows] = []
    state = PartitionWindows(
        WindowPlan.of(spec), bound=BOUND, lateness_s=LATENESS_S, answered=lambda _events, _keys, rows: found.append(rows)
    )
    partition, size, span_us = Partition("events", 0), 5000, 590 * SECOND_US
    start_us = 1_700_000_000 * SECOND_US
    gc.collect()
    before_mb = _resident_mb()
    seconds = 0.0
    for low in range(0, peers, size):
        batch = _talk(partition, low, min(low + size, peers), peers, start_us, span_us)
        began_s = time.thread_time()
        state.update(batch)
        seconds += time.thread_time() - began_s
        state.take_delta()
        found.clear()
    gc.collect()
    kept_mb = _resident_mb() - before_mb
    last = _talk(partition, peers, peers + 1, peers, start_us, span_us)
    state.update(msgspec.structs.replace(last, times_us=np.array([start_us + span_us + 2 * SECOND_US])))
    values = found[0].values[0]
    names = [f"{v.name}__{a.name}" for v in spec.views for a in spec.aggregates]
    window = values[names.index("host_600s__destinations")]
    snapshot = sum(map(len, encode_snapshot(state.engine)))
    return [
        row("hot key/snapshot", [snapshot / 1e3], "kB", target=bound_on("<=", 1000.0)),
        row("hot key/resident memory", [kept_mb], "MB"),
        row(
            "hot key/error of the count of destinations",
            [float(abs(window / peers - 1) * 100)],
            "%",
            target=bound_on("<=", 5.0),
        ),
        row("hot key/event", [seconds / peers * 1e6], "us"),
    ]


def _talk(partition: Partition, low: int, high: int, peers: int, start_us: int, span_us: int) -> StreamEvents:
    n = high - low
    texts = np.empty(n, dtype=object)
    texts[:] = [f"10.{i >> 16 & 255}.{i >> 8 & 255}.{i & 255}".encode() for i in range(low, high)]
    hosts, states = np.full(n, b"10.9.9.9", dtype=object), np.full(n, b"CON", dtype=object)
    numbers = np.arange(low, high, dtype=np.int64) % 60_000
    columns = {"host": hosts, "destination": texts, "state": states} | dict.fromkeys(
        ("dport", "bytes", "src_bytes", "packets"), numbers
    )
    times = start_us + np.arange(low, high, dtype=np.int64) * span_us // peers
    flags = np.ones(n, dtype=np.bool_)
    return StreamEvents(
        partition,
        [StreamRecord(partition, i, b"") for i in range(low, high)],
        [{}] * n,
        columns,
        hosts.tolist(),
        times,
        ~flags,
        flags,
    )


def _resident_mb() -> float:
    with open("/proc/self/statm", encoding="ascii") as stream:
        return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
