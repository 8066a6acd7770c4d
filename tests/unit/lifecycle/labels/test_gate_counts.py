"""Which labels are evidence for a rollout: only those that say nothing by how they were selected."""

import random

import pytest

from lifecycle.labels.counting import LabelCounter
from lifecycle.labels.draw import Draw
from lifecycle.labels.label_log import LabelLog
from tests.fakes.labelled import SECOND_US, START_US, PredictionLog, record, said

pytestmark = pytest.mark.heavy

STABLE, CANDIDATE = "stable@sha256:aa", "candidate@sha256:bb"


@pytest.fixture
def place(tmp_path):
    predictions = PredictionLog(tmp_path / "audit")
    labels = LabelLog(tmp_path / "labels")
    return predictions, labels, LabelCounter(labels, predictions.folder)


def of_candidate(number, **fields):
    return record(number, variant="candidate", revision="sha256:bb", **fields)


def drawn(audit=(), alert=(), inclusion=0.5, until=10_000, since=0, **fields):
    return Draw(
        draw_id=f"d{since}", model="flows", since_us=START_US + since * SECOND_US, until_us=START_US + until * SECOND_US, seed=1,
        rows=100, alerts=10, audit_inclusion=inclusion, alert_inclusion=1.0, audit=tuple(audit), alert=tuple(alert), **fields,
    )  # fmt: skip


def test_without_labels_nothing_is_read_and_nothing_counts(place):
    assert place[2].counts("flows", START_US).of == {}


def test_without_a_draw_all_alerts_count_for_precision_and_nothing_for_recall(place):
    predictions, labels, counter = place
    predictions.append(*(record(n, verdicts=["alert"]) for n in range(3)), record(3), of_candidate(4, verdicts=["alert"]))
    labels.give_all([said(0), said(1, "benign"), said(2), said(3, "attack"), said(4, "benign")])
    assert counter.counts("flows", START_US).of == {STABLE: {"precision": (3, 1)}, CANDIDATE: {"precision": (1, 1)}}


def test_the_count_waits_for_the_first_alert_that_nobody_labelled(place):
    """An analyst who labels the clear cases, or the candidate's alerts, first does not bend it."""
    predictions, labels, counter = place
    predictions.append(*(record(n, verdicts=["alert"]) for n in range(5)))
    labels.give_all([said(0), said(3, "benign"), said(4, "benign")])
    counts = counter.counts("flows", START_US)
    assert counts.of == {STABLE: {"precision": (1, 0)}}
    assert counts.waiting_for == {"precision": "r-1"}
    labels.give_all([said(1), said(2, "unsure")])
    assert counter.counts("flows", START_US).of == {STABLE: {"precision": (4, 2)}}


def test_of_a_draw_only_its_events_count(place):
    predictions, labels, counter = place
    predictions.append(*(record(n, verdicts=["alert"]) for n in range(6)), *(record(n) for n in range(6, 10)))
    labels.record_draw(drawn(audit=["r-1", "r-6", "r-7"], alert=["r-1", "r-2"]))
    labels.give_all([said(n, "benign") for n in (0, 3, 4, 5)])
    assert counter.counts("flows", START_US).of == {}, "the loud ones that somebody picked"
    labels.give_all([said(1), said(2, "benign"), said(6, "attack"), said(7, "benign"), said(8, "attack")])
    assert counter.counts("flows", START_US).of == {STABLE: {"precision": (2, 1), "recall": (2, 1)}}


def test_recall_asks_the_audit_sample_alone(place):
    predictions, labels, counter = place
    predictions.append(*(record(n, verdicts=["alert"]) for n in range(4)), record(4))
    labels.record_draw(drawn(audit=["r-4"], alert=["r-0", "r-1", "r-2", "r-3"]))
    labels.give_all([said(n, "attack") for n in range(5)])
    assert counter.counts("flows", START_US).of == {STABLE: {"precision": (4, 0), "recall": (1, 1)}}


def test_a_correction_takes_back_no_evidence(place):
    predictions, labels, counter = place
    predictions.append(record(0, verdicts=["alert"]))
    labels.give(said(0, "unsure"))
    assert counter.counts("flows", START_US).of == {}
    labels.give(said(1, "benign", event="r-0"))
    labels.give(said(2, "attack", event="r-0"))
    assert labels.current("flows")["r-0"].verdict == "attack"
    assert counter.counts("flows", START_US).of == {STABLE: {"precision": (1, 1)}}


def test_events_before_the_rollout_are_no_evidence(place):
    predictions, labels, counter = place
    predictions.append(*(record(n, verdicts=["alert"]) for n in range(6)))
    labels.give_all([said(n) for n in range(6)])
    assert counter.counts("flows", START_US + 4 * SECOND_US).of == {STABLE: {"precision": (2, 0)}}


def test_labels_of_a_sample_that_was_drawn_elsewhere_are_thinned_to_one_probability(place):
    """Of labels that came with probability 1 as many stay as those with 0.1: both weigh alike."""
    predictions, labels, counter = place
    predictions.append(*(record(n) for n in range(2000)))
    labels.give(said(0, selection="audit", inclusion=0.1))
    labels.give_all([said(n, selection="audit", inclusion=1.0) for n in range(1, 2000)])
    n, k = counter.counts("flows", START_US).of[STABLE]["recall"]
    assert n == k
    assert 150 < n < 260


def test_a_picked_alert_with_no_probability_never_counts_where_samples_are_drawn(place):
    predictions, labels, counter = place
    predictions.append(*(of_candidate(n, verdicts=["alert"]) for n in range(100)))
    labels.record_draw(drawn(audit=["r-99999"], alert=[]))
    labels.give_all([said(n, "benign", selection="alert") for n in range(100)])
    assert counter.counts("flows", START_US).of == {}


@pytest.mark.parametrize("seed", range(5))
def test_counts_only_grow_in_whatever_order_the_labels_come(place, seed):
    predictions, labels, counter = place
    rng = random.Random(seed)
    predictions.append(*(record(n, verdicts=[rng.choice(["alert", "benign"])]) for n in range(20)))
    if seed % 2:
        labels.record_draw(drawn(audit=[f"r-{n:x}" for n in range(0, 20, 3)], alert=[]))
    numbers = [*range(20)] * 2
    rng.shuffle(numbers)
    before = {"precision": (0, 0), "recall": (0, 0)}
    for place_in_log, number in enumerate(numbers):
        labels.give(said(place_in_log, rng.choice(["attack", "benign", "unsure"]), event=f"r-{number:x}"))
        now = counter.counts("flows", START_US).of.get(STABLE, {})
        for gate, (n, k) in now.items():
            assert n >= before[gate][0]
            assert k >= before[gate][1]
        before |= now


def test_what_analysts_choose_to_label_first_does_not_bend_the_share(tmp_path):
    """In the second half they label false alarms first. What is counted has the true share, what they did has not."""
    predictions, labels = PredictionLog(tmp_path / "audit"), LabelLog(tmp_path / "labels")
    rng = random.Random(3)
    truth = {n: rng.random() < 0.3 for n in range(600)}
    predictions.append(*(of_candidate(n, verdicts=["alert"]) for n in truth))
    order = sorted(truth, key=lambda n: (n // 300, not truth[n]))
    labels.give_all([said(n, "benign" if truth[n] else "attack") for n in order[:450]])
    n, k = LabelCounter(labels, predictions.folder).counts("flows", START_US).of[CANDIDATE]["precision"]
    naive = sum(truth[n] for n in order[:450]) / 450
    assert 300 <= n < 450
    share = sum(truth.values()) / len(truth)
    assert abs(k / n - share) < 0.03 < naive - share
