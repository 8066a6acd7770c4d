"""What one look finds, and what it leaves behind."""

import dataclasses
import functools
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.monitoring.watch.look import LATE_US, WatchedModel, look
from lifecycle.monitoring.watch.model_state import ModelState, StateError, decode_state, encode_state
from lifecycle.monitoring.watch.reference import NoReference
from lifecycle.monitoring.watch.settings import WatchSettings
from tests import laws
from tests.fakes.monitoring.stream import MODEL, SECOND_US, START_US, answered, reference

REFERENCE = reference()
NOW_US = START_US + 10**12


def watched(find=lambda revision: REFERENCE, **settings_):
    return WatchedModel(WatchSettings(**settings_), find)


def seen(*batches, model=None, state=None):
    """The state and all alarms after these rows."""
    model = model or watched()
    state, alarms = state or ModelState(MODEL), []
    for rows in batches:
        state, found = look(state, rows, NOW_US, model)
        alarms += found
    return state, alarms


def subjects(alarms):
    return {alarm.subject for alarm in alarms}


def comparable(state):
    return encode_state(dataclasses.replace(state, looks=0, looked_us=0, unsent=()))


@pytest.mark.heavy
def test_rows_like_the_reference_raise_no_alarm():
    rng = np.random.default_rng(0)
    state, alarms = seen(*(answered(rng, 500, begin=500 * n) for n in range(6)))
    assert (alarms, state.rows, state.looks) == ([], 3000, 6)


def test_a_column_that_shifts_is_named_with_its_size_and_what_to_do():
    rng = np.random.default_rng(1)
    _, alarms = seen(answered(rng, 1000), answered(rng, 600, begin=1000, shift=1.0))
    assert subjects(alarms) == {"bytes"}
    last = alarms[-1]
    assert (last.kind, last.severity, last.segment, last.revision) == ("data_drift", "major", None, "r1")
    assert last.value >= last.threshold
    assert "Column bytes of flows" in last.words
    assert "vedette drift flows" in last.advice
    assert abs(last.began_us - (START_US + 1000 * SECOND_US)) <= 300 * SECOND_US


def test_a_category_that_shifts_is_named():
    rng = np.random.default_rng(2)
    _, alarms = seen(answered(rng, 500), answered(rng, 600, begin=500, tcp=0.4))
    assert subjects(alarms) == {"proto"}
    assert alarms[-1].severity == "major"


def test_only_the_scores_shift_is_prediction_drift():
    rng = np.random.default_rng(3)
    _, alarms = seen(answered(rng, 500), answered(rng, 600, begin=500, scores=0.2))
    assert subjects(alarms) <= {"score", "verdict"}
    assert "score" in subjects(alarms)
    assert {alarm.kind for alarm in alarms} == {"prediction_drift"}


@pytest.mark.heavy
def test_a_change_that_is_certain_but_small_raises_no_alarm():
    rng = np.random.default_rng(4)
    state, alarms = seen(answered(rng, 3000), answered(rng, 6000, begin=3000, shift=0.18))
    assert alarms == []
    assert state.whole.capital.e_values[0] > state.whole.thresholds(WatchSettings(), 1.0)[0]


def test_a_column_that_is_no_longer_sent_is_alarmed():
    rng = np.random.default_rng(5)
    rows = answered(rng, 400)
    without = dataclasses.replace(rows, columns={name: column for name, column in rows.columns.items() if name != "count"})
    _, alarms = seen(without)
    assert subjects(alarms) == {"count"}


@pytest.mark.heavy
@laws.examples(15)
@given(cuts=st.lists(st.integers(0, 700), max_size=8), column=st.sampled_from([None, "proto"]))
def test_what_is_found_does_not_depend_on_how_rows_are_batched(cuts, column):
    rows, together, alarms = _at_once(column)
    borders = [0, *sorted(cuts), 700]
    parts = [rows.take(np.arange(a, b)) for a, b in itertools.pairwise(borders)]
    split, alarms_of_parts = seen(*parts, model=watched(segment_column=column))
    assert comparable(split) == together
    assert sorted(a.alarm_id for a in alarms_of_parts) == alarms
    assert alarms


@functools.cache
def _at_once(column):
    """Rows that shift, and what one look at all of them leaves: the state, and the names of the alarms."""
    rng = np.random.default_rng(6)
    rows = _joined(answered(rng, 350), answered(rng, 350, begin=350, shift=1.0))
    together, alarms = seen(rows, model=watched(segment_column=column))
    return rows, comparable(together), sorted(a.alarm_id for a in alarms)


def _joined(a, b):
    arrays = {
        f.name: np.concatenate([getattr(a, f.name), getattr(b, f.name)])
        for f in dataclasses.fields(a)
        if f.name not in ("model", "columns")
    }
    columns = {name: np.concatenate([a.columns[name], b.columns[name]]) for name in a.columns}
    return dataclasses.replace(a, columns=columns, **arrays)


def test_a_state_comes_back_to_the_bit_and_goes_on_as_if_never_written():
    rng = np.random.default_rng(7)
    before, after = answered(rng, 333), answered(rng, 444, begin=333, shift=0.8)
    model = watched(segment_column="proto")
    state, _ = seen(before, model=model)
    again = decode_state(encode_state(state).encode(), "state")
    assert encode_state(again) == encode_state(state)
    one, alarms = seen(after, model=model, state=state)
    other, same = seen(after, model=model, state=again)
    assert encode_state(one) == encode_state(other)
    assert alarms == same
    assert decode_state(encode_state(one).encode(), "state").unsent == one.unsent


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"format": 7}', b'{"format": 1, "model": "x"}', b"\xff"])
def test_a_file_that_is_no_state_is_named_with_the_way_out(body):
    with pytest.raises(StateError, match=r"states/flows\.json.*remove it"):
        decode_state(body, "states/flows.json")


def test_a_new_revision_begins_anew_and_late_rows_of_the_old_one_do_not_bring_it_back():
    rng = np.random.default_rng(8)
    state, _ = seen(answered(rng, 200), answered(rng, 50, begin=200, revision="r2", version="2"))
    state, _ = seen(answered(rng, 10, begin=250), answered(rng, 25, begin=260, revision="r2", version="2"), state=state)
    assert (state.current.revision, state.rows, state.passed_over) == ("r2", 75, 10)
    assert state.whole.blocks == 3


def test_a_rollback_begins_anew_with_the_old_revision():
    rng = np.random.default_rng(9)
    later = 260 + LATE_US // SECOND_US
    state, _ = seen(answered(rng, 200), answered(rng, 50, begin=200, revision="r2"), answered(rng, 30, begin=later))
    assert (state.current.revision, state.rows) == ("r1", 30)
    assert [r.revision for r in state.earlier] == ["r2"]


def test_candidates_and_degraded_rows_are_passed_over():
    rng = np.random.default_rng(10)
    degraded = dataclasses.replace(answered(rng, 40, shift=9), degraded=np.ones(40, dtype=bool))
    state, alarms = seen(degraded, answered(rng, 400, begin=40, shift=9, variant="candidate"), answered(rng, 5, begin=500))
    assert (alarms, state.rows, state.passed_over) == ([], 5, 440)


@pytest.mark.heavy
def test_a_change_in_one_segment_is_found_there_against_its_own_past():
    rng = np.random.default_rng(11)
    calm = answered(rng, 6000)
    changed = answered(rng, 3000, begin=6000)
    changed.columns["bytes"][changed.columns["proto"] == "udp"] += 1.5
    _, alarms = seen(calm, changed, model=watched(segment_column="proto"))
    assert {(a.subject, a.segment) for a in alarms if a.segment is not None} == {("bytes", "udp")}


def test_segments_beyond_the_most_are_counted_only():
    rng = np.random.default_rng(12)
    state, _ = seen(answered(rng, 300), model=watched(segment_column="bytes", most_segments=5))
    assert (len(state.segments), state.passed_over) == (5, 295)


@pytest.mark.heavy
def test_when_a_change_is_over_the_stream_begins_anew_and_the_next_change_is_another_alarm():
    rng = np.random.default_rng(13)
    state, first = seen(answered(rng, 500), answered(rng, 400, begin=500, shift=1.5))
    assert state.whole.status[0] == 2
    state, none = seen(*(answered(rng, 500, begin=900 + 500 * n) for n in range(8)), state=state)
    assert (none, state.whole.status[0], state.whole.rounds[0]) == ([], 0, 1)
    state, second = seen(answered(rng, 400, begin=4900, shift=1.5), state=state)
    assert subjects(second) == {"bytes"}
    assert not {a.alarm_id for a in first} & {a.alarm_id for a in second}


@pytest.mark.heavy
def test_a_change_whose_size_wavers_about_a_limit_is_one_alarm():
    rng = np.random.default_rng(17)
    shifted = [answered(rng, 250, begin=500 + 250 * n, shift=0.25 if n % 2 else 0.5) for n in range(60)]
    state, alarms = seen(answered(rng, 500), *shifted)
    assert subjects(alarms) == {"bytes"}
    assert len(alarms) <= 2  # minor, and major if it grows
    assert state.whole.rounds[0] == 0


def test_with_a_baseline_the_first_rows_are_the_reference():
    rng = np.random.default_rng(14)
    model = watched(baseline_rows=1000)
    state, alarms = seen(answered(rng, 1500, shift=2.0), model=model)
    assert alarms == []
    _, alarms = seen(answered(rng, 500, begin=1500, shift=3.5), model=model, state=state)
    assert subjects(alarms) == {"bytes"}


def test_with_other_settings_the_evidence_begins_anew():
    rng = np.random.default_rng(16)
    state, _ = seen(answered(rng, 500))
    state, _ = seen(answered(rng, 50, begin=500), model=watched(run_length=1000), state=state)
    assert (state.whole.capital.schedule, state.whole.blocks) == ("run_length", 2)


def test_a_model_without_reference_says_why():
    def find(revision):
        raise NoReference(f"version {revision.version} has none")

    state, alarms = seen(answered(np.random.default_rng(0), 50), model=watched(find))
    assert (alarms, state.unwatched, state.passed_over) == ([], "version 1 has none", 50)


def test_an_e_detector_finds_a_change_too():
    rng = np.random.default_rng(15)
    _, alarms = seen(answered(rng, 1000), answered(rng, 500, begin=1000, shift=1.0), model=watched(run_length=100_000))
    assert subjects(alarms) == {"bytes"}


@pytest.mark.parametrize(
    "wrong", [{"alpha": 0}, {"alpha": 1.5}, {"block_rows": 0}, {"run_length": 1}, {"minor_psi": 0.5}, {"major_gap": 0.01}]
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=r"expected|above 0"):
        WatchSettings(**wrong)


@pytest.mark.soak
@pytest.mark.parametrize(
    "how", [{}, {"segment_column": "proto"}, {"baseline_rows": 500}], ids=["bundle", "segments", "baseline"]
)
def test_the_whole_monitor_hardly_ever_finds_evidence_where_nothing_changes(how):
    """Whatever the size of a change: limits of the size are off. 200 runs, each with a reference of its own, 10,000 rows."""
    alarmed = 0
    for seed in range(200):
        own = reference(seed=1000 + seed)
        model = watched(lambda revision, own=own: own, minor_psi=1e-9, minor_gap=1e-9, **how)
        _, alarms = seen(answered(np.random.default_rng(seed), 10_000), model=model)
        alarmed += bool(alarms)
    print(f"\n{how}: {alarmed} of 200 runs with any alarm")
    assert alarmed <= 10
