"""A rollout's work is planned for before it begins, and does not begin before there is room."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from operators.autoscaling.decide import decide
from operators.autoscaling.plan import facts_of, why_no_room, with_room
from operators.autoscaling.schedule import opening
from operators.autoscaling.spec import ScalingSpec, ScheduleWindow
from operators.autoscaling.values import ScalingFacts
from operators.ports import Load
from operators.rollout.spec import Revision, RolloutSpec
from operators.rollout.status import Phase, RolloutStatus, Target, TargetVariant

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
ONE, TWO = (Revision(version=v, bundle=f"sha256:{v * 64}") for v in "12")
STEPS = RolloutSpec.model_validate(
    {
        "steps": [
            {"pause": {}},
            {"mirror": {"percent": 50}},
            {"setReplicas": {"replicas": 6}},
            {"setWeight": 5},
            {"setWeight": 100},
        ]
    }
)


def status(index, **changes):
    return RolloutStatus(phase=Phase.PROGRESSING, stable=ONE, candidate=TWO, step_index=index).model_copy(update=changes)


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        pytest.param(RolloutStatus(stable=ONE), ScalingFacts(), id="no rollout asks for nothing"),
        pytest.param(
            status(0), ScalingFacts(is_rolling_out=True, mirror_ratio=0.5), id="a mirror step is planned one step ahead"
        ),
        pytest.param(
            status(1, mirror=50.0), ScalingFacts(is_rolling_out=True, mirror_ratio=0.5, rollout_min=6), id="so is setReplicas"
        ),
        pytest.param(
            status(3, weight=5.0, min_replicas=6),
            ScalingFacts(is_rolling_out=True, weight_ratio=1.0, rollout_min=6),
            id="so is a weight; setReplicas holds until the end",
        ),
        pytest.param(status(2, phase=Phase.ABORTED), ScalingFacts(), id="an aborted rollout asks for nothing"),
        pytest.param(
            status(1, phase=Phase.PAUSED, mirror=50.0),
            ScalingFacts(is_rolling_out=True, mirror_ratio=0.5, rollout_min=6),
            id="a paused one does: its mirror goes on",
        ),
        pytest.param(
            RolloutStatus(
                phase=Phase.EXPERIMENT,
                stable=ONE,
                variants=(TargetVariant(name="b", revision=TWO, weight=30), TargetVariant(name="c", revision=TWO, weight=30)),
            ),
            ScalingFacts(is_rolling_out=True, weight_ratio=0.6),
            id="an experiment's variants count together",
        ),
    ],
)
def test_facts_of_a_rollout(of, expected):
    assert facts_of(STEPS, of) == expected


def target(mirror):
    return Target(stable=ONE, variants=(TargetVariant(name="candidate", revision=TWO, mirror=mirror),))


def decided(ready):
    scaling = ScalingSpec(max_replicas=10)
    load = Load(at=NOW, ongoing=32, ready_replicas=ready, wanted_replicas=4)
    return decide(scaling, None, load, ScalingFacts(is_rolling_out=True, mirror_ratio=1.0), NOW), load


@pytest.mark.parametrize(
    ("ready", "before", "wished", "expected"),
    [
        pytest.param(4, 0.0, 100.0, 0.0, id="no room: the mirror does not begin"),
        pytest.param(8, 0.0, 100.0, 100.0, id="room: it does"),
        pytest.param(4, 30.0, 100.0, 30.0, id="no room: it stays as it is"),
        pytest.param(4, 100.0, 0.0, 0.0, id="ending it needs no room"),
    ],
)
def test_a_mirror_waits_for_room(ready, before, wished, expected):
    decision, load = decided(ready)
    result = with_room(target(wished), target(before), decision, load)
    assert result.variants[0].mirror == expected
    assert result.replicas == 8
    assert (why_no_room(decision, load) is None) == (ready == 8)


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        pytest.param(0.9, 100.0, id="a mirror that is seen goes on"),
        pytest.param(0.0, 0.0, id="one that is not does not begin"),
    ],
)
def test_after_a_restart(seen, expected):
    decision, load = decided(4)
    assert with_room(target(100.0), None, decision, replace(load, mirror_ratio=seen)).variants[0].mirror == expected


def test_a_blind_autoscaler_keeps_no_rollout_waiting():
    decision, _ = decided(4)
    assert why_no_room(decision, Load(at=NOW, problem="no answer")) is None


@pytest.mark.parametrize(
    ("now", "opens", "is_open"),
    [
        pytest.param("2026-03-02T06:59:59+00:00", "2026-03-02T08:00:00+01:00", False, id="before it opens"),
        pytest.param(
            "2026-03-02T07:00:00+00:00", "2026-03-02T08:00:00+01:00", True, id="opens on the minute, on its own clock"
        ),
        pytest.param("2026-03-02T16:59:59+00:00", "2026-03-02T08:00:00+01:00", True, id="open to the last second"),
        pytest.param("2026-03-02T17:00:00+00:00", "2026-03-03T08:00:00+01:00", False, id="closed after its duration"),
        pytest.param("2026-03-07T12:00:00+00:00", "2026-03-09T08:00:00+01:00", False, id="not on a Saturday"),
        pytest.param("2026-03-30T06:00:00+00:00", "2026-03-30T08:00:00+02:00", True, id="summer time moves it"),
    ],
)
def test_a_window_opens(now, opens, is_open):
    window = ScheduleWindow.model_validate(
        {"name": "day", "start": "0 8 * * MON-FRI", "duration": "10h", "timeZone": "Europe/Rome", "minReplicas": 2}
    )
    found = opening(window, datetime.fromisoformat(now))
    assert found.opens == datetime.fromisoformat(opens)
    assert found.is_open(datetime.fromisoformat(now)) == is_open


def test_a_window_over_the_change_of_the_clocks_lasts_its_real_time():
    window = ScheduleWindow.model_validate(
        {"name": "night", "start": "0 0 * * *", "duration": "6h", "timeZone": "Europe/Rome", "minReplicas": 2}
    )
    found = opening(window, datetime(2026, 3, 28, 23, 30, tzinfo=UTC))  # the night that loses an hour
    assert found.closes == datetime.fromisoformat("2026-03-29T07:00:00+02:00")
