"""What to label next: random samples of known probability, the same for one seed, and rows that teach most."""

import numpy as np
import pytest

from lifecycle.labels.draw import Draw
from lifecycle.labels.label_log import LabelLog
from lifecycle.labels.queue.informative import informative, spread_out, standardised, uncertainty
from lifecycle.labels.queue.plan import QueueBudget, plan_queue
from lifecycle.labels.queue.samples import draw_sample, ranks
from lifecycle.monitoring.windows.answered import AnsweredRows
from serving.audit.encoding import decode_record, encode_record
from tests.fakes.labelled import SECOND_US, START_US, record, said

EVENTS = [f"r-{number:x}" for number in range(2000)]


def answered(count=400, first=0, alert_every=10):
    rng = np.random.default_rng(first)
    scores = rng.uniform(0, 1, count)
    threshold = np.sort(scores)[-(count // alert_every)] if count else 1.0
    return read_back(
        [
            record(
                first + n,
                verdicts=["alert" if score >= threshold else "benign"],
                scores=[float(score)],
                columns={"x": [float(rng.normal())], "y": [float(rng.normal())]},
            )
            for n, score in enumerate(scores)
        ],
    )


def read_back(records):
    return AnsweredRows.of("flows", [decode_record(encode_record(one)) for one in records])


def planned(rows, labelled=None, draws=(), labels=40, seed=7, until=400, since=0, **budget):
    return plan_queue(
        rows,
        labelled or {},
        draws,
        QueueBudget(labels, **budget),
        seed=seed,
        since_us=START_US + since * SECOND_US,
        until_us=START_US + until * SECOND_US,
    )


def test_ranks_are_uniform_and_of_two_samples_independent():
    one, two = ranks(EVENTS, 1, "audit"), ranks(EVENTS, 1, "alert")
    assert (np.histogram(one, 10, (0, 1))[0] > 140).all()
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.08
    assert (ranks(EVENTS, 1, "audit") == one).all()
    assert (ranks(EVENTS, 2, "audit") != one).mean() > 0.99


@pytest.mark.heavy
@pytest.mark.parametrize("share_labelled", [0.0, 0.3])
def test_an_event_is_in_a_sample_with_the_probability_that_it_says(share_labelled):
    """Horvitz and Thompson's estimate of the population's size is unbiased, whatever was labelled before."""
    labelled = set(EVENTS[: int(len(EVENTS) * share_labelled)])
    sizes = []
    for seed in range(200):
        sample = draw_sample(EVENTS, labelled, seed, "audit", most=50)
        sizes.append(len(sample.places) / sample.inclusion)
    assert abs(np.mean(sizes) / len(EVENTS) - 1) < 0.03


def test_a_rate_bounds_a_sample_and_what_has_a_label_costs_nothing():
    sample = draw_sample(EVENTS, (), 1, "audit", most=10_000, rate=0.05)
    assert sample.inclusion == 0.05
    assert 60 < len(sample.places) < 140
    assert len(draw_sample(EVENTS, EVENTS[:1000], 1, "audit", most=50).places) > 70
    assert draw_sample(EVENTS, (), 1, "audit", most=10_000).inclusion == 1.0
    assert draw_sample([], (), 1, "audit", most=5).places.size == 0


def test_uncertainty_is_highest_at_the_threshold_whatever_the_scale():
    rows = answered()
    near = uncertainty(rows)
    alerts = rows.verdicts == 2
    at = rows.scores[alerts].min()
    assert near[np.argmin(np.abs(rows.scores - at))] > 0.99
    assert near.argmin() in (rows.scores.argmin(), rows.scores.argmax())


def test_rows_without_a_score_are_not_uncertain():
    rows = read_back([record(1, scores=[float("nan")]), record(2)])
    assert uncertainty(rows)[0] == 0
    assert informative(rows, [0], 3, 1) == []


def test_chosen_rows_lie_apart():
    points = np.concatenate([np.random.default_rng(1).normal(at, 0.01, (50, 2)) for at in ((0, 0), (5, 5), (0, 5), (5, 0))])
    chosen = spread_out(points, 0, 4, np.random.default_rng(1))
    assert {place // 50 for place in chosen} == {0, 1, 2, 3}
    assert len(set(spread_out(points, 0, 200, np.random.default_rng(1)))) == 200
    assert len(spread_out(np.zeros((5, 2)), 0, 5, np.random.default_rng(1))) == 5


def test_columns_of_any_scale_count_alike_and_text_by_its_values():
    columns = {
        "bytes": np.array([1e6, 2e6, 3e6, np.nan]),
        "flat": np.ones(4),
        "service": np.array(["http", "dns", None, "http"], dtype=object),
    }
    points = standardised(columns, 4)
    assert points.shape == (4, 1 + 3)
    assert np.isfinite(points).all()
    assert np.linalg.norm(points[0, 1:] - points[1, 1:]) == pytest.approx(1.0)


def test_the_queue_has_all_three_parts_within_its_budget_and_is_the_same_for_a_seed():
    rows = answered()
    queue = planned(rows)
    assert len(queue.events) == 40
    kinds = [one.selection for one in queue.events]
    assert kinds.count("audit") == 12
    assert kinds.count("alert") >= 10
    assert kinds.count("queue") >= 16
    assert planned(rows) == queue
    assert planned(rows, seed=8).draw.audit != queue.draw.audit
    assert len({one.event for one in queue.events}) == 40


def test_a_draw_says_how_likely_each_event_was():
    queue = planned(answered())
    drawn = queue.draw.drawn()
    audited_alerts, alerts = set(queue.draw.audited_alerts), set(queue.draw.alert)
    either = 1 - (1 - queue.draw.audit_inclusion) * (1 - queue.draw.alert_inclusion)
    for event in queue.draw.audit:
        assert drawn[event] == ("audit", either if event in audited_alerts else queue.draw.audit_inclusion)
    for event in alerts - set(queue.draw.audit):
        assert drawn[event] == ("alert", either)


def test_all_alerts_that_fit_are_drawn_with_certainty():
    queue = planned(answered(), labels=400, audit_share=0.1, alert_share=0.5)
    assert queue.draw.alert_inclusion == 1.0
    assert len(queue.draw.alert) == queue.draw.alerts == 40


def test_a_slice_is_drawn_once_and_what_is_open_comes_first():
    rows = answered(800)
    first = planned(rows, until=400)
    again = planned(rows, draws=[first.draw], until=800)
    assert [one.event for one in again.events[: again.open_before]] == [
        one.event for one in first.events if one.selection != "queue"
    ]
    assert not again.draw.is_of_a_slice, "the analysts have not labelled the last one"
    done = {event: said(n, event=event) for n, event in enumerate((*first.draw.audit, *first.draw.alert))}
    later = planned(rows, labelled=done, draws=[first.draw], until=800)
    assert (later.draw.since_us, later.draw.until_us) == (first.draw.until_us, START_US + 800 * SECOND_US)
    assert not set(later.draw.audit) & set(first.draw.audit)


def test_an_event_with_a_label_is_not_asked_for():
    rows = answered()
    done = {str(event): said(n, event=str(event)) for n, event in enumerate(rows.events[:300])}
    assert not {one.event for one in planned(rows, labelled=done).events} & done.keys()


def test_an_empty_log_has_an_empty_queue():
    queue = planned(answered(0))
    assert queue.events == ()
    assert not queue.draw.is_of_a_slice


def test_labels_of_drawn_events_say_so_by_themselves(tmp_path):
    log = LabelLog(tmp_path / "labels")
    queue = planned(answered())
    log.record_draw(queue.draw)
    log.record_draw(queue.draw)
    for number, one in enumerate(queue.events):
        log.give(said(number, event=one.event))
    for event, label in LabelLog(log.folder).current("flows").items():
        (asked,) = [one for one in queue.events if one.event == event]
        assert (label.selection, label.inclusion) == (asked.selection, asked.inclusion)
    log.give(said(999, event="r-not-drawn"))
    assert log.current("flows")["r-not-drawn"].selection == "other"


def test_time_is_not_drawn_twice(tmp_path):
    from lifecycle.labels.errors import LabelConflict

    log = LabelLog(tmp_path / "labels")
    log.record_draw(planned(answered()).draw)
    assert len(log.draws("flows")) == 1
    with pytest.raises(LabelConflict, match="may be drawn only once"):
        log.record_draw(planned(answered(), seed=9).draw)
    log.record_draw(Draw(draw_id="d", model="dns", since_us=START_US, until_us=START_US + 9, seed=1, rows=1, alerts=0,
                         audit_inclusion=1.0, alert_inclusion=0.0, audit=("x",)))  # fmt: skip
    assert len(log.draws("dns")) == 1


@pytest.mark.heavy
def test_weights_of_drawn_events_add_up_to_what_was_answered():
    """Over many seeds 1 / probability sums up to the number of rows, and of alerts to theirs, whatever has a label already."""
    rows = answered(300, alert_every=6)
    alerts = {str(event) for event in rows.events[rows.verdicts == 2]}
    labelled = {event: said(n, event=event) for n, event in enumerate(sorted(alerts)[:20])}
    all_rows, all_alerts = [], []
    for seed in range(150):
        draw = planned(rows, labelled=labelled, seed=seed, until=300, labels=60, alert_share=0.25, audit_share=0.4).draw
        weights = {event: 1 / inclusion for event, (_, inclusion) in draw.drawn().items() if inclusion is not None}
        all_rows.append(sum(weights.values()))
        all_alerts.append(sum(weight for event, weight in weights.items() if event in alerts))
    assert np.mean(all_rows) == pytest.approx(300, rel=0.04)
    assert np.mean(all_alerts) == pytest.approx(50, rel=0.04)
