"""Labels of alerts: when they are false more often than before, that is concept drift."""

import dataclasses
import itertools

import numpy as np
import pytest

from lifecycle.monitoring.watch.labelled_alerts import BASELINE, LabelledAlert
from lifecycle.monitoring.watch.look import look_at_labels
from lifecycle.monitoring.watch.model_state import ModelState, Revision, decode_state, encode_state
from lifecycle.monitoring.watch.settings import WatchSettings
from tests.fakes.monitoring.stream import MODEL, SECOND_US, START_US

SETTINGS = WatchSettings()


def labels(rng, count, false_share, begin=0):
    return [LabelledAlert(START_US + (begin + n) * SECOND_US, bool(rng.random() < false_share)) for n in range(count)]


def fresh(revision="r1"):
    return ModelState(MODEL, current=Revision(revision, "1", START_US))


def seen(state, *batches):
    alarms = []
    for batch in batches:
        state, found = look_at_labels(dataclasses.replace(state, unsent=()), batch, {"segment": 1}, START_US, SETTINGS)
        assert state.unsent == found
        alarms += found
    return state, alarms


@pytest.mark.heavy
def test_alerts_that_are_false_as_often_as_before_raise_no_alarm():
    state, alarms = seen(fresh(), labels(np.random.default_rng(0), 1500, 0.3))
    assert alarms == []
    assert state.labelled.labels == 1500


@pytest.mark.parametrize(("before", "after"), [(0.2, 0.6), (0.6, 0.2)])
def test_another_share_of_false_alarms_is_concept_drift_in_words(before, after):
    rng = np.random.default_rng(1)
    _, alarms = seen(fresh(), labels(rng, 400, before), labels(rng, 300, after, begin=400))
    last = alarms[-1]
    assert {(a.kind, a.subject) for a in alarms} == {("concept_drift", "false_alarms")}
    assert (last.severity, last.revision) == ("major", "r1")
    assert "the alerts of flows benign" in last.words
    assert "train again" in last.advice
    assert len({a.alarm_id for a in alarms}) == len(alarms)


@pytest.mark.heavy
def test_it_does_not_matter_how_labels_are_batched_and_the_state_comes_back():
    rng = np.random.default_rng(2)
    given = [*labels(rng, 300, 0.2), *labels(rng, 200, 0.7, begin=300)]
    together, alarms = seen(fresh(), given)
    state, parts = fresh(), []
    for a, b in itertools.pairwise([0, 3, 99, 104, 350, 351, 500]):
        state, found = seen(decode_state(encode_state(state).encode(), "state"), given[a:b])
        parts += found
    assert encode_state(dataclasses.replace(state, unsent=())) == encode_state(dataclasses.replace(together, unsent=()))
    assert [a.alarm_id for a in parts] == [a.alarm_id for a in alarms]
    assert alarms


def test_a_new_revision_begins_anew():
    rng = np.random.default_rng(3)
    state, _ = seen(fresh(), labels(rng, 300, 0.2))
    state, alarms = seen(dataclasses.replace(state, current=Revision("r2", "2", START_US)), labels(rng, 300, 0.8, begin=300))
    assert alarms == []
    assert (state.labelled.revision, state.labelled.streams.rows) == ("r2", 300)
    assert state.labelled.streams.base.sum() == BASELINE


def test_labels_before_any_answer_are_passed_over():
    state, alarms = seen(ModelState(MODEL), labels(np.random.default_rng(4), 50, 0.5))
    assert (alarms, state.labelled.labels, state.labelled.position) == ([], 0, {"segment": 1})
