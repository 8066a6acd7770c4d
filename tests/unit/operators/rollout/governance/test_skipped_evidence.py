"""Neither an edited status nor an experiment gives traffic to what the evidence, or people, did not let through."""

from dataclasses import replace

import msgspec
import pytest

from operators.rollout.facts import Desired
from operators.rollout.spec import ExperimentSpec, RolloutSpec
from operators.rollout.status import Phase, Verdict
from tests.fakes.operator.governed_rollout import GovernedRollout
from tests.fakes.operator.rollouts import A, B, C

A_JSON, C_JSON = (r.model_dump(mode="json", by_alias=True, exclude_defaults=True) for r in (A, C))
EXPERIMENT = ExperimentSpec.model_validate(
    {"variants": [{"name": "stable", "weight": 50}, {"name": "red", "weight": 50, "revision": C_JSON}], "duration": "1h"}
)


def test_attack_an_experiment_gives_traffic_to_what_nobody_approved():
    """The policy asks for approvals, and an experiment asks nobody: its variants are revisions that were approved once."""
    rollout = GovernedRollout()
    rollout.start()
    rollout.approve("carol", "detection-lead")
    rollout.approve("bob", "soc-manager")
    assert rollout.look(4).stable == B
    rollout.desired = replace(rollout.desired, experiment=EXPERIMENT)
    rollout.look(3)
    assert rollout.status.phase is Phase.HEALTHY
    assert all(v.weight == 0 for v in rollout.last.target.variants)
    assert rollout.status.waiting_for == (
        "an experiment of approved variants (never approved: red); rollouts of this service need approvals, so roll these out first"
    )
    before = ExperimentSpec.model_validate(
        {"variants": [{"name": "stable", "weight": 50}, {"name": "before", "weight": 50, "revision": A_JSON}], "duration": "1h"}
    )
    rollout.desired = replace(rollout.desired, experiment=before)
    rollout.look(3)
    assert [(v.name, v.weight) for v in rollout.last.target.variants] == [("before", 50)]


JUDGED = RolloutSpec.model_validate(
    {
        "steps": [{"setWeight": 5}, {"analysis": {}}, {"setWeight": 50}, {"analysis": {}}, {"setWeight": 100}],
        "analysis": {"minRequests": 0},
    }
)


def judged(verdict=Verdict.UNDECIDED):
    made = GovernedRollout(desired=Desired(revision=A, rollout=JUDGED, by="ada"), verdict=verdict)
    made.start(rollout=JUDGED)
    return made


SKIPS = {
    "the step is passed": {"stepIndex": 2},
    "every step is passed": {"stepIndex": 5, "weight": 100},
    "the weight behind the analysis": {"weight": 50},
    "it goes on without evidence, in somebody's name": {"fullBy": "bob"},
}


@pytest.mark.parametrize("edit", SKIPS.values(), ids=SKIPS)
def test_attack_the_status_is_edited_by_hand_to_skip_an_analysis(edit):
    rollout = judged()
    assert (rollout.status.step_index, rollout.status.weight) == (1, 5)
    rollout.edit(**edit)
    rollout.look()
    assert (rollout.status.phase, rollout.status.stable, rollout.status.weight) == (Phase.ABORTED, A, 0)
    ((actor, action, why),) = rollout.refused()
    assert (actor, action) == ("unknown", "rollout.status-edit")
    assert "analysis of step 2" in why or "without evidence, by bob" in why


def test_an_analysis_that_was_passed_is_an_act_with_its_evidence_and_the_rollout_goes_on():
    rollout = judged(Verdict.NO_WORSE)
    rollout.look(4)
    assert rollout.status.stable == B
    passed = rollout.did("rollout.pass")
    assert [(a.actor, a.evidence["step"], a.evidence["gates"]["verdict"]) for a in passed] == [
        ("operator", 2, "no_worse"),
        ("operator", 4, "no_worse"),
    ]
    assert rollout.refused() == []


def test_who_may_end_an_analysis_or_all_of_them_is_followed_and_recorded():
    rollout = judged()
    rollout.say("promote", "bob")
    rollout.look(3)
    assert (rollout.status.step_index, rollout.status.weight) == (3, 50)
    rollout.say("promote-full", "bob")
    rollout.look(4)
    assert rollout.status.stable == B
    assert rollout.refused() == []


def test_a_rollout_that_began_before_analyses_were_recorded_is_accused_of_nothing():
    rollout = judged(Verdict.NO_WORSE)
    forgotten = [replace_evidence(a) for a in rollout.acts if a.action != "rollout.pass"]
    rollout.acts[:] = forgotten
    rollout.look(4)
    assert rollout.status.stable == B
    assert rollout.refused() == []


def replace_evidence(act):
    return msgspec.structs.replace(act, evidence={k: v for k, v in act.evidence.items() if k != "analyses"})
