"""The gauges of a service, and what a rollout waits for."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from operators.handlers.metrics import OperatorMetrics, ServiceView, waits_for
from operators.rollout.spec import ApprovalStep, PauseStep, Revision, RolloutSpec, Step
from operators.rollout.status import Phase, RolloutStatus
from operators.telemetry.operator_names import OPERATOR_METRICS

CANDIDATE = Revision(version="2", bundle="sha256:" + "b" * 64)
STEPS = RolloutSpec(steps=(Step(set_weight=5.0), Step(approval=ApprovalStep()), Step(pause=PauseStep())))


def status(phase: Phase = Phase.PAUSED, **fields) -> RolloutStatus:
    return RolloutStatus(phase=phase, candidate=CANDIDATE, policy=STEPS, **fields)


@pytest.mark.parametrize(
    ("rollout", "expected"),
    [
        pytest.param(RolloutStatus(), "", id="nothing is under way"),
        pytest.param(status(Phase.PROGRESSING, step_index=1), "", id="it goes on by itself"),
        pytest.param(status(step_index=1), "approval", id="an approval step"),
        pytest.param(status(step_index=2), "pause", id="a pause step"),
        pytest.param(status(step_index=1, paused_by="ada"), "pause", id="somebody paused it before an approval"),
        pytest.param(status(step_index=0, is_inconclusive=True), "inconclusive", id="an analysis that came to no end"),
    ],
)
def test_what_a_rollout_waits_for(rollout, expected):
    assert waits_for(rollout) == expected


def test_every_gauge_is_there_and_begins_at_nothing():
    metrics = OperatorMetrics()
    metrics.is_watching = lambda: True
    metrics.leads(is_leader=True)
    metrics.saw(("soc", "flows"), ServiceView(status(step_index=1), 2, 7.0, frozenset({"overdue"})))
    families = {f.name: f for f in text_string_to_metric_families(metrics.render().decode())}
    assert {m.name.removesuffix("_total") for m in OPERATOR_METRICS} <= families.keys()
    assert {s.labels["for"]: s.value for s in families["vedette_rollout_waiting"].samples} == {
        "approval": 1.0,
        "pause": 0.0,
        "inconclusive": 0.0,
    }
    looks = {s.labels["outcome"]: s.value for s in families["vedette_operator_looks"].samples if s.name.endswith("_total")}
    assert looks == {"done": 0.0, "retried": 0.0, "failed": 0.0}, "a rate needs a counter that begins at 0"
    assert families["vedette_operator_watching"].samples[0].value == 1.0
