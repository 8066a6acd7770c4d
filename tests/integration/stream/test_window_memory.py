"""What windows keep grows with the hosts that are live, not with events, and not with what one host does."""

import numpy as np
import pytest

from lifecycle.datasets.declarations import read_detector
from lifecycle.datasets.synthetic_flows import generate_flows
from lifecycle.training.stream_windows import window_spec
from loadtests.bench.worlds.flow_windows import ReplayedRows, released, replayed, shifted
from serving.stream.events import StreamEvents
from serving.stream.ports import Partition, StreamRecord
from serving.stream.windows.distinct import SketchedDistinct
from serving.stream.windows.encoding import encode_snapshot
from serving.stream.windows.engine import SECOND_US
from serving.stream.windows.plan import WindowPlan
from serving.stream.windows.state import PartitionWindows

pytestmark = pytest.mark.integration
SPEC = window_spec(read_detector("flows"))
NAMES = [f"{view.name}__{aggregate.name}" for view in SPEC.views for aggregate in SPEC.aggregates]
ERROR = 0.0153
"""Relative standard error of a sketch."""


def new_state(found, bound=8192):
    return PartitionWindows(
        WindowPlan.of(SPEC), bound=bound, lateness_s=120, answered=lambda events, keys, rows: found.append(rows)
    )


def snapshot_bytes(state):
    return sum(map(len, encode_snapshot(state.engine)))


def test_ten_times_the_flows_of_the_same_hosts_keep_no_more():
    rows: ReplayedRows = replayed(read_detector("flows"), generate_flows(5, hosts=150), partitions=1)
    batches = list(released(rows.arrivals[0], 0.0, 120))
    first, last = (int(f(b.times_us)) for f, b in ((np.min, batches[0]), (np.max, batches[-1])))
    state, kept, entities = new_state([]), [], []
    for number in range(10):
        for batch in batches:
            state.update(shifted(batch, number * (last - first)))
            state.take_delta()
        kept.append(snapshot_bytes(state))
        entities.append(len(state.engine.entities))
    assert entities[-1] <= max(entities[:3])
    assert kept[-1] < 1.1 * max(kept[:3])
    ticks = [len(entity.ticks) for entity in state.engine.entities.values()]
    assert max(ticks) < 2000


def talk(low, high, peers, span_s):
    """One host opens a flow to a peer of its own each time, evenly over the span."""
    n = high - low
    partition = Partition("events", 0)
    places = np.arange(low, high, dtype=np.int64)
    peer = np.empty(n, dtype=object)
    peer[:] = [b"10.%d.%d.%d" % (i >> 16 & 255, i >> 8 & 255, i & 255) for i in range(low, high)]
    columns = dict.fromkeys(("dport", "bytes", "src_bytes", "packets"), places % 1000)
    columns |= {"host": np.full(n, b"h", dtype=object), "state": np.full(n, b"CON", dtype=object), "destination": peer}
    flags = np.ones(n, dtype=np.bool_)
    times = 1_700_000_000 * SECOND_US + 1 + places * (span_s * SECOND_US) // peers
    records = [StreamRecord(partition, i, b"") for i in range(low, high)]
    return StreamEvents(partition, records, [{}] * n, columns, columns["host"].tolist(), times, ~flags, flags)


@pytest.mark.parametrize("peers", [100_000, pytest.param(1_000_000, marks=pytest.mark.soak)])
@pytest.mark.parametrize("span_s", [1, 590], ids=["in a second", "in ten minutes"])
def test_a_host_with_very_many_peers_stays_within_its_bound(peers, span_s):
    found = []
    state = new_state(found)
    for low in range(0, peers, 5000):
        state.update(talk(low, min(low + 5000, peers), peers, span_s))
        state.take_delta()
        found.clear()
    assert snapshot_bytes(state) < 1_000_000
    (entity,) = state.engine.entities.values()
    sketch = entity.distinct[0]
    assert isinstance(sketch, SketchedDistinct)
    assert sum(map(len, sketch.parts.values())) < 1000
    after = talk(peers, peers + 1, peers, span_s)
    state.update(shifted(after, 2 * SECOND_US))
    (rows,) = found
    assert rows.sketched.tolist() == [True]
    values = dict(zip(NAMES, rows.values[0].tolist(), strict=True))
    for seconds in (10, 60, 600):
        exact = peers if span_s == 1 else values[f"host_{seconds}s__flows"]
        assert values[f"host_{seconds}s__flows"] == exact
        assert abs(values[f"host_{seconds}s__destinations"] / exact - 1) < 4 * ERROR + 1 / 60
    # 1,000 ports are few, but a thousand a second for 120 s are more changes than are kept for late events, four times the bound
    changes_a_second = min(peers // span_s, 1000)
    are_too_many = span_s >= 120 and changes_a_second * 120 > 4 * 8192
    assert isinstance(entity.distinct[1], SketchedDistinct) == are_too_many
    assert abs(values["host_600s__ports"] - 1000) <= (4 * ERROR * 1000 if are_too_many else 0)


def test_the_other_column_of_a_sketched_host_stays_exact_and_its_sums_too():
    found = []
    state = new_state(found, bound=2000)
    state.update(talk(0, 5000, 5000, 100))
    state.update(talk(5000, 5001, 5000, 100))
    values = dict(zip(NAMES, found[-1].values[0].tolist(), strict=True))
    assert values["host_600s__ports"] == 1000
    assert values["host_600s__flows"] == 5000
    assert values["host_600s__total_bytes"] == 5 * sum(range(1000))
