"""The plan's arithmetic: ages, defaults, and that a batch is its rows, one by one, whatever the store holds."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.features.plan.definitions import Definitions, Feature, JoinKey, OnlineStore, Service, StoredView
from serving.features.plan.feature_plan import RowMemo, compile_service
from serving.features.rows import BatchAssembly
from serving.features.single_row import single_row
from serving.ports import ReadOutcome, TensorPlan

USER = (JoinKey("user", "user", "STRING"),)
FAST = StoredView("fast", "fast", USER, (Feature("rate", "DOUBLE", 0.5), Feature("count", "INT64", -1)), 10.0)
SLOW = StoredView(
    "slow", "slow", USER, (Feature("note", "STRING", "?"), Feature("rate", "DOUBLE"), Feature("ok", "BOOL")), None
)
NAMES = ("fast__rate", "fast__count", "slow__note", "slow__rate", "slow__ok")
DEFAULTS = (0.5, -1, "?", 0.0, False)
TTLS_US = (10_000_000, 10_000_000, None, None, None)


class NoStore:
    decodes = False

    def prepare(self, project, groups):
        return None


def plan(views=(FAST, SLOW), names=NAMES):
    service = Service("s", views, (), names)
    return compile_service(service, Definitions("p", 3, OnlineStore("none"), (service,)), NoStore())


PLAN, NUMBERS = plan(), plan((FAST,), NAMES[:2])
double = st.floats(allow_nan=False).map(lambda v: (v, b"\x29" + struct.pack("<d", v)))
whole = st.integers(0, 127).map(lambda v: (v, bytes((0x20, v))))
text = st.text(max_size=5).map(lambda v: (v, b"\x12" + bytes((len(v.encode()),)) + v.encode()))
truth = st.booleans().map(lambda v: (v, bytes((0x38, v))))
absent = st.sampled_from([(None, None), (None, b""), (None, b"\x98\x01\x00"), (None, b"\xff\xff")])
wrong = st.just((None, b"\x12\x01x"))
cells = st.tuples(*(kind | absent for kind in (double | wrong, whole | wrong, text, double | wrong, truth | wrong)))
times = st.tuples(*[st.sampled_from([0, 1]) | st.integers(0, 40_000_000)] * 2)
rows = st.lists(st.tuples(cells, times), min_size=1, max_size=6)


ASSEMBLIES = tuple(
    (TensorPlan("x", np.dtype(np.float64), names, True),)
    for names in (("fast__count", "fast__rate"), ("fast__rate", "fast__count"), ("fast__count", "size", "fast__rate"))
)


def tensors_of(found, assembly, fields):
    return {name: (tensor.dtype, tensor.tolist()) for name, tensor in found.direct(assembly, fields).items()}


def expected(row, at_us):
    """The laws, said plainly: (value, is default) of each feature."""
    told = []
    for place, (value, _) in enumerate(row[0]):
        time_us = row[1][0 if place < 2 else 1]
        age_us, ttl_us = at_us - time_us, TTLS_US[place]
        is_usable = time_us > 0 and age_us >= 0 and (ttl_us is None or age_us <= ttl_us) and value is not None
        told.append((value, False) if is_usable else (DEFAULTS[place], True))
    return told


def stored(row):
    return [raw for _, raw in row[0]], list(row[1])


def told(found, place):
    columns = [(found.columns[name].tolist()[place], bool(found.defaulted.get(name, np.zeros(99))[place])) for name in NAMES]
    return columns, bool(found.degraded[place])


@pytest.mark.heavy
@given(rows, st.lists(st.integers(0, 5), min_size=1, max_size=8), st.integers(0, 50_000_000))
def test_a_batch_is_its_rows_one_by_one_and_both_keep_the_laws(distinct, order, base_us):
    inverse = [place % len(distinct) for place in order]
    at_us = np.array([base_us + 3_000_000 * i for i in range(len(inverse))])
    assembly = BatchAssembly(at_us)
    assembly.add(PLAN.groups[0], [stored(row) for row in distinct], inverse)
    batch = assembly.finish(PLAN, {})
    ages = []
    for place, source in enumerate(inverse):
        one = single_row(PLAN, [[stored(distinct[source])]], {}, int(at_us[place]))
        law = expected(distinct[source], int(at_us[place]))
        assert told(one, 0) == (law, any(is_default for _, is_default in law))
        assert told(batch, place) == told(one, 0)
        assert {n: c.dtype for n, c in batch.columns.items()} == {n: c.dtype for n, c in one.columns.items()}
        assert [t[0] for t in one.event_times_us.values()] == [t[place] for t in batch.event_times_us.values()]
        ages.append(one.oldest_age_ms)
    assert batch.oldest_age_ms == max((age for age in ages if age is not None), default=None)


@pytest.mark.parametrize("plan", [pytest.param(PLAN, id="with texts"), pytest.param(NUMBERS, id="numbers only")])
@given(row=st.tuples(cells, times), moments=st.lists(st.integers(0, 50_000_000), min_size=1, max_size=4))
def test_a_row_that_is_kept_is_decoded_once_and_its_age_judged_at_each_use(plan, row, moments):
    found, group = stored(row), plan.groups[0]
    plain = (found[0][: group.cells], found[1][: len(group.names)])
    kept = (*plain, RowMemo(until_s=1.0))
    for use, at_us in enumerate(moments):
        kept[2].is_hit = use > 0
        one, again = single_row(plan, [[plain]], {}, at_us), single_row(plan, [[kept]], {}, at_us)
        for name in one.columns:
            assert again.columns[name].tolist() == one.columns[name].tolist()
        assert again.defaulted.keys() == one.defaulted.keys()
        assert (again.degraded.tolist(), again.oldest_age_ms) == (one.degraded.tolist(), one.oldest_age_ms)
        assert {n: t.tolist() for n, t in again.event_times_us.items()} == {
            n: t.tolist() for n, t in one.event_times_us.items()
        }
        assert (one.sources, again.sources) == ((), ("near_cache",) if use else ("store",))
        for assembly in ASSEMBLIES:
            for fields in ({}, {"size": np.array([1.5 + use])}):
                if len(assembly[0].columns) == 2 or fields:
                    assert tensors_of(again, assembly, fields) == tensors_of(one, assembly, fields)


def test_the_tensors_of_a_row_in_memory_are_made_once_for_each_bundle():
    memo = RowMemo(until_s=1.0)
    row = ([b"\x29" + struct.pack("<d", 0.25), b"\x20\x07"], [5], memo)
    first = single_row(NUMBERS, [[row]], {}, 6).direct(ASSEMBLIES[0], {})["x"]
    memo.is_hit = True
    made, again, other = (single_row(NUMBERS, [[row]], {}, 6).direct(a, {})["x"] for a in (*ASSEMBLIES[:1] * 2, ASSEMBLIES[1]))
    assert again is made
    assert made is not first
    assert made.tolist() == first.tolist() == other[:, ::-1].tolist()
    assert not made.flags.writeable


def test_a_batch_says_of_each_row_whether_a_value_was_in_memory():
    assembly = BatchAssembly(np.full(3, 10))
    first, second = RowMemo(1.0), RowMemo(1.0)
    second.is_hit = True
    row = ([None] * 5, (0, 0))
    assembly.add(PLAN.groups[0], [(*row, first), (*row, second)], [0, 1, 0])
    assert list(assembly.finish(PLAN, {}).sources) == ["store", "near_cache", "store"]


@given(rows)
def test_a_store_that_failed_is_defaults_everywhere(distinct):
    assembly = BatchAssembly(np.full(len(distinct), 7))
    assembly.add_failed(PLAN.groups[0], ReadOutcome.TIMED_OUT)
    found = assembly.finish(PLAN, {})
    assert found.outcome is ReadOutcome.TIMED_OUT
    for place in range(len(distinct)):
        assert told(found, place) == ([(default, True) for default in DEFAULTS], True)


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=30))
def test_numbers_read_together_are_numbers_read_one_by_one(values):
    from serving.features.plan.blocks import decoder

    read = decoder("FLOAT", is_raw=True)
    raws = [b"\x35" + struct.pack("<f", value) for value in values]
    together, _ = read(raws, [0.0] * len(raws))
    apart, missing = read([*raws, None], [0.0] * (len(raws) + 1))
    assert together[0].tolist() == apart[0, :-1].tolist() == values
    assert (together.dtype, missing) == (np.float32, [len(raws)])
