"""Labels as training rows: which count, what they weigh, which are held out."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from msgspec.structs import replace as changed

from lifecycle.retraining.data.joined import SeenLabels, held_out, joined
from lifecycle.retraining.data.labelled_rows import DEGRADED, INCOMPLETE, NO_ANSWER, UNSURE, labelled_rows
from lifecycle.retraining.data.weights import false_alarm_weights, inclusion_weights
from lifecycle.retraining.errors import NotTrainable
from lifecycle.training.train import prepare
from tests.unit.lifecycle.declared import detector, rows
from tests.unit.lifecycle.retraining.world import check_data, policy, stale


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return stale(tmp_path_factory.mktemp("world"))


def labelled(world, answers=None, **changes):
    told = {"min_sureness": 0.5, "since_us": 0, "most_rows": 10_000}
    labels = changes.pop("labels", world.labels)
    return labelled_rows(world.read(0) if answers is None else answers, labels, world.champion.manifest, **(told | changes))


def test_every_sure_label_with_a_whole_answer_is_a_row(world):
    found = labelled(world)
    assert len(found) == 400
    assert found.left_out == {}
    truth = [world.labels[event].verdict == "attack" for event in found.events]
    assert found.attack.tolist() == truth
    assert set(found.columns) == {"method", "failures", "seconds"}


def test_what_is_left_out_says_why(world):
    answers = world.read(0)
    columns = {**answers.columns, "seconds": np.where(np.arange(400) == 2, np.nan, answers.columns["seconds"])}
    answers = replace(answers, columns=columns, degraded=np.arange(400) == 1)
    events = answers.events.tolist()
    labels = {
        **world.labels,
        events[0]: changed(world.labels[events[0]], verdict="unsure", family=None),
        events[3]: changed(world.labels[events[3]], sureness=0.1),
        "gone": changed(world.labels[events[0]], event="gone", label_id="gone"),
    }
    found = labelled(world, answers, labels=labels)
    assert found.left_out == {UNSURE: 2, DEGRADED: 1, INCOMPLETE: 1, NO_ANSWER: 1}
    assert len(found) == 396


def test_the_newest_rows_are_taken_where_there_are_too_many(world):
    found = labelled(world, most_rows=10)
    assert found.events.tolist() == world.read(0).events[-10:].tolist()


def test_rows_of_requests_that_sent_whole_tensors_are_read_by_the_bundle_s_assembly(world):
    answers = world.read(0)
    part = next(p for p in world.champion.manifest.assembly if len(p.columns) == 2)
    sent = {f"{part.tensor}[{i}]": answers.columns[c] for i, c in enumerate(part.columns)}
    found = labelled(world, replace(answers, columns={"method": answers.columns["method"], **sent}))
    np.testing.assert_array_equal(found.columns["seconds"], labelled(world).columns["seconds"])


def test_of_an_event_that_two_variants_answered_stable_counts(world):
    answers = world.read(0)
    both = np.concatenate([np.arange(400), np.arange(400)])
    twice = answers.take(both)
    variants = np.array(["candidate"] * 400 + ["stable"] * 400, dtype=object)
    alerts = np.where(np.arange(800) < 400, 2, 0).astype(np.int8)
    found = labelled(world, replace(twice, variants=variants, verdicts=alerts))
    assert len(found) == 400
    assert not found.was_alert.any()


def test_the_newest_share_is_held_out_of_what_the_champion_has_not_seen(world):
    found = labelled(world)
    whole = held_out(world.base, found, 0.25, SeenLabels())
    assert np.flatnonzero(whole).tolist() == list(range(300, 400))
    seen = SeenLabels(int(found.times_us[299]), int(found.given_us.max()))
    assert np.flatnonzero(held_out(world.base, found, 0.25, seen)).tolist() == list(range(375, 400))
    assert not held_out(world.base, found, 0.25, SeenLabels(int(found.times_us.max()), 1)).any()


def test_rows_of_entities_that_the_base_split_tests_are_never_trained_on(world):
    declared = detector(entity={"key": "user"}, split={"by": "entity"})
    base = prepare(declared, check_data(declared, rows(600), where="x"), None, with_test=True)
    found = labelled(world)
    users = np.array([f"u{i % 40}" for i in range(len(found))], dtype=object)
    found = replace(found, columns={**found.columns, "user": users})
    together = joined(base, found, policy(), SeenLabels(), origin={})
    tested = set(base.data.frame["user"][base.parts.test])
    assert tested
    assert not tested & set(together.trained.columns["user"].tolist())
    part = {
        name: set(together.prepared.data.frame["user"][mask][len(base.data) :])
        for name, mask in (("train", together.prepared.parts.train), ("validation", together.prepared.parts.validation))
    }
    assert not part["train"] & part["validation"], "the rows of an entity go one way"


def test_the_base_rows_keep_their_parts_and_labelled_rows_come_behind(world):
    together = joined(world.base, labelled(world), policy(), SeenLabels(), origin={"retraining": {"trigger": "t"}})
    n, whole = len(world.base.data), together.prepared
    assert (whole.parts.test[:n] == world.base.parts.test).all()
    assert not whole.parts.test[n:].any()
    assert (whole.parts.train[n:] ^ whole.parts.validation[n:]).all()
    assert not set(together.held.events) & set(together.trained.events)
    assert whole.data.digest != world.base.data.digest
    assert whole.added.origin["labels"]["rows"] == len(together.trained)
    assert not together.champion_rows[n:].any()
    same = joined(world.base, labelled(world), policy(), SeenLabels(), origin={})
    assert same.prepared.data.digest == whole.data.digest


def test_families_that_the_detector_does_not_declare_become_their_own(world):
    frame = rows(900)
    frame["kind"] = np.where(frame["verdict"] == "attack", np.array(list("abcd"))[np.arange(900) % 4], "normal")
    declared = detector(
        source__columns__kind="string",
        label={"column": "verdict", "positive": {"equals": ["attack"]}, "type_column": "kind"},
        split={"by": "types", "folds": 2, "families": {"one": ["a", "b"], "two": ["c", "d"]}},
    )
    base = prepare(declared, check_data(declared, frame, where="x"), None, with_test=True)
    together = joined(base, labelled(world), policy(), SeenLabels(), origin={})
    assert together.prepared.detector.split.families["slow"] == ("slow",)
    n, parts = len(base.data), together.prepared.parts
    held = np.stack([fold.held[n:] for fold in parts.folds])
    assert (held.sum(axis=0) == 1).all(), "each labelled row is left out of one fold"
    slow = together.trained.attack
    assert held[:, slow].any(axis=1).sum() == 1, "a new family is left out as a whole"
    assert not any((fold.train & fold.held).any() for fold in parts.folds)


def test_too_few_labels_are_refused(world):
    few = labelled(world, most_rows=10)
    with pytest.raises(NotTrainable, match=r"labels\.least_rows of the policy is 20"):
        joined(world.base, few, policy(), SeenLabels(), origin={})


def test_a_row_counts_for_the_inverse_of_its_inclusion_probability_up_to_the_cap():
    assert inclusion_weights(np.array([1.0, 0.5, 0.01, np.nan]), 20).tolist() == [1, 2, 20, 1]


def test_what_counts_is_by_how_much_less_likely_a_row_is_than_the_likeliest():
    assert inclusion_weights(np.array([0.02, 0.01, 0.0001, np.nan]), 20).tolist() == [1, 2, 20, 1]
    assert inclusion_weights(np.full(2, np.nan), 20).tolist() == [1, 1]


def test_how_a_row_was_selected_counts_for_thresholds_and_not_for_the_fit(world):
    found = labelled(world)
    picked = np.where(np.arange(len(found)) % 2 == 0, 0.5, 0.1)
    added = joined(world.base, replace(found, inclusion=picked), policy(), SeenLabels(), origin={}).prepared.added
    n = len(world.base.data)
    assert set(added.choice_weights[n:].tolist()) == {5.0, 25.0}
    others = joined(world.base, replace(found, inclusion=np.full(len(found), 0.5)), policy(), SeenLabels(), origin={})
    np.testing.assert_array_equal(added.fit_weights, others.prepared.added.fit_weights)


@given(st.integers(0, 60), st.data(), st.floats(1, 50), st.floats(0.01, 0.99), st.floats(0.1, 1e4))
def test_false_alarms_never_count_for_more_than_their_share(n, data, factor, share, beside):
    weights = data.draw(arrays(np.float64, n, elements=st.floats(0.01, 100)))
    attack, was_alert = (data.draw(arrays(np.bool_, n)) for _ in range(2))
    found = false_alarm_weights(weights, attack, was_alert, factor=factor, share=share, benign_beside=beside)
    false = was_alert & ~attack
    assert found[false].sum() <= share * (beside + found[~attack].sum()) * (1 + 1e-9)
    np.testing.assert_array_equal(found[~false], weights[~false])
    assert (found[false] <= weights[false] * factor * (1 + 1e-12)).all()


def test_false_alarms_weigh_more_where_the_cap_allows():
    attack, was_alert = np.array([False, False, True]), np.ones(3, dtype=bool)
    found = false_alarm_weights(np.ones(3), attack, was_alert, factor=3, share=0.2, benign_beside=1e3)
    assert found.tolist() == [3, 3, 1]
