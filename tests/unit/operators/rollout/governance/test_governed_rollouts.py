"""Rollouts that people must approve: what is recorded, and that neither a forged approval nor an edited status or document skips one."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.governance.acts import Act
from lifecycle.governance.approvals.people import RequiredApproval
from operators.rollout.facts import Desired
from operators.rollout.governance.floor import is_as_strict, with_approvals
from operators.rollout.spec import ApprovalStep, ExperimentSpec, RolloutSpec
from operators.rollout.status import Phase, RolloutStatus
from operators.suppression import Suppression
from tests import laws
from tests.fakes.approvers import PEOPLE
from tests.fakes.operator.governed_rollout import FREE, GOVERNED, STEP, GovernedRollout
from tests.fakes.operator.rollouts import A, B, C

B_JSON, C_JSON = (r.model_dump(mode="json", by_alias=True, exclude_defaults=True) for r in (B, C))


@pytest.fixture
def rollout():
    made = GovernedRollout()
    made.start()
    assert made.status.waiting_for == "approval as detection-lead and soc-manager: 0 of 2"
    return made


def approved(rollout):
    rollout.approve("carol", "detection-lead")
    rollout.approve("bob", "soc-manager")
    return rollout.look(4)


def test_two_people_in_two_roles_bring_it_through_and_every_act_is_recorded(rollout):
    assert approved(rollout).stable == B
    assert [(a.actor, a.action) for a in rollout.acts if a.action.startswith("rollout.")] == [
        ("operator", "rollout.adopt"),
        ("ada", "rollout.start"),
        ("carol", "rollout.approve"),
        ("bob", "rollout.approve"),
        ("operator", "rollout.pass"),
        ("operator", "rollout.promote"),
    ]
    yes = rollout.did("rollout.approve")[1]
    assert yes.evidence["revision"] == B.digest
    assert yes.evidence["gates"]["verdict"] == "no_worse"
    assert yes.evidence["note"].startswith("vedette-approval\n")


def test_pause_resume_and_abort_are_recorded_under_the_name_of_who_said_them(rollout):
    for verb, by in (("pause", "bob"), ("resume", "eve"), ("abort", "eve")):
        rollout.say(verb, by, why=f"{verb} it")
        rollout.look()
    assert [(a.actor, a.action, a.reason) for a in rollout.acts[-3:]] == [
        ("bob", "rollout.pause", "pause it"),
        ("eve", "rollout.resume", "resume it"),
        ("eve", "rollout.abort", "abort it"),
    ]


def test_a_candidate_that_replicas_refuse_ends_its_rollout_and_the_act_says_why():
    rollout = GovernedRollout(refused_by_replicas={B.digest: "no trusted key signed it"})
    rollout.start()
    (act,) = rollout.did("rollout.abort")
    assert act.actor == "operator"
    assert "no trusted key signed it" in act.reason
    assert act.evidence["revision"] == B.digest


def test_a_threshold_of_ones_own_is_an_act_besides():
    rollout = GovernedRollout()
    rollout.start(B.model_copy(update={"thresholds": {"siem_alerting": 0.9}}))
    (act,) = rollout.did("threshold.set")
    assert (act.actor, act.evidence["thresholds"]) == ("ada", {"siem_alerting": 0.9})


def test_suppressions_are_an_act_that_holds_them():
    entry = Suppression.model_validate(
        {
            "id": "scan",
            "owner": "ada",
            "reason": "ours",
            "expires": "2999-01-01T00:00:00Z",
            "when": "a > 1.0",
            "becomes": "benign",
        }
    )
    rollout = GovernedRollout()
    rollout.start(B.model_copy(update={"suppressions": (entry,)}))
    (act,) = rollout.did("suppression.set")
    assert [one["owner"] for one in act.evidence["suppressions"]] == ["ada"]


def test_a_rejection_ends_it_and_needs_a_reason(rollout):
    rollout.say("reject", "bob", why=" ")
    assert rollout.look().phase is Phase.PAUSED
    rollout.say("reject", "bob", why="recall is down on DNS")
    assert rollout.look().phase is Phase.ABORTED
    assert [a.actor for a in rollout.did("rollout.reject")] == ["bob"]
    assert rollout.refused() == [("bob", "rollout.reject", "a rejection needs a reason; say --why")]


def test_an_approval_lapses(rollout):
    rollout.approve("carol", "detection-lead")
    rollout.look()
    rollout.seconds += 4 * 3600
    rollout.approve("bob", "soc-manager")
    assert rollout.look(3).waiting_for == "approval as detection-lead: 1 of 2"
    rollout.approve("carol", "detection-lead")
    assert rollout.look(3).stable == B


def test_broken_glass_takes_effect_and_stays_in_sight_until_another_person_reviews_it(rollout):
    rollout.approve("dan", "incident-commander", verb="break-glass", decision="break-glass")
    rollout.look()
    assert "GlassBroken" in {e.reason for e in rollout.last.events if e.type == "Warning"}
    assert rollout.look(3).stable == B
    assert [(u.by, u.step, u.why) for u in rollout.status.break_glass] == [("dan", 2, "looked at it")]
    use = rollout.status.break_glass[0]
    subject = replace(rollout.subject, attempt=use.attempt, revision=use.revision, step=use.step)
    rollout.approve("dan", None, verb="review", decision="review", subject=subject)
    assert rollout.look().break_glass, "not by the one who broke it"
    rollout.approve("bob", None, verb="review", decision="review", subject=subject)
    assert not rollout.look().break_glass
    assert [a.actor for a in rollout.acts if a.action in ("rollout.break-glass", "rollout.review")] == ["dan", "dan", "bob"]


ATTACKS = {
    "by the one who started it": lambda r: r.approve("ada", "detection-lead"),
    "signed with another's key": lambda r: r.approve("bob", "soc-manager", key_of="eve"),
    "unsigned, in the name of one who signs": lambda r: r.say("approve", "bob", is_checked=True, role="soc-manager"),
    "of another revision": lambda r: r.approve("bob", "soc-manager", subject=replace(r.subject, revision=C.digest)),
    "of another step": lambda r: r.approve("bob", "soc-manager", subject=replace(r.subject, step=1)),
    "of a role that one has not": lambda r: r.approve("bob", "detection-lead"),
    "of somebody without a role": lambda r: r.approve("eve"),
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_attack_an_approval_that_does_not_count_is_refused_and_recorded(rollout, attack):
    request = attack(rollout)
    rollout.look(3)
    assert rollout.status.approvals == ()
    ((actor, action, why),) = rollout.refused()
    assert (actor, action) == (request.by, "rollout.approve")
    assert why
    (act,) = [a for a in rollout.acts if a.outcome == "refused"]
    assert act.evidence["args"] == request.args


def test_attack_the_approvals_of_an_earlier_rollout_are_replayed(rollout):
    said = [rollout.approve("carol", "detection-lead"), rollout.approve("bob", "soc-manager")]
    rollout.requests.clear()  # kept by the attacker
    rollout.say("abort", "eve")
    rollout.look()
    rollout.say("retry", "eve")
    rollout.look(4)
    rollout.requests += [r.model_copy(update={"id": f"again{i}"}) for i, r in enumerate(said)]
    rollout.look(3)
    assert rollout.status.stable == A
    assert [(who, "the rollout is" in why) for who, _, why in rollout.refused()] == [("carol", True), ("bob", True)]


def test_attack_who_trained_or_staged_the_bundle_approves_it():
    rollout = GovernedRollout()
    subject = f"bundle/{B.bundle}"
    for actor, action in (("carol", "bundle.train"), ("bob", "registry.stage")):
        rollout.acts.append(Act(time_us=1, actor=actor, action=action, subject=subject, reason="r"))
    rollout.start(by="eve")
    approved(rollout)
    assert rollout.status.stable == A
    assert [why for _, _, why in rollout.refused()] == [
        "carol trained its bundle; somebody else must approve it",
        "bob promoted its bundle in the registry; somebody else must approve it",
    ]


FALSE = {"by": "bob", "at": "2026-01-05T08:00:00Z", "role": "soc-manager"}
EDITS = {
    "the step is passed": {"stepIndex": 2},
    "all traffic": {"weight": 100},
    "a higher weight before the approval": {"weight": 50},
    "another candidate under the approvals of this one": {"candidate": C_JSON},
    "the approval is taken out of the policy": {"policy": {"steps": [{"setWeight": 5}, {"setWeight": 100}]}},
    "stable is the candidate": {"stable": B_JSON, "candidate": None, "phase": "Healthy"},
    "stable is a revision that nobody rolled out": {"stable": C_JSON},
    "a former stable to go back to": {"former": C_JSON, "promotedAt": "2026-01-05T08:00:00Z"},
    "at rest, with all traffic for the candidate": {"phase": "Healthy", "weight": 100},
    "nothing is stable, so that the candidate comes up as the first": {"stable": None},
    "a variant with all traffic": {"variants": [{"name": "red", "revision": C_JSON, "weight": 100}]},
    "another start": {"attempt": "20260101T000000.000000Z"},
    "a rollout of the past to undo": {
        "history": [
            {"candidate": A.model_dump(mode="json", by_alias=True), "stable": C_JSON, "outcome": "promoted",
             "started": "2026-01-05T08:00:00Z", "ended": "2026-01-05T08:00:00Z"}
        ]
    },
}  # fmt: skip


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_attack_the_status_is_edited_by_hand_to_skip_an_approval(rollout, edit):
    rollout.edit(**edit)
    rollout.look()
    assert (rollout.status.phase, rollout.status.stable, rollout.status.weight) == (Phase.ABORTED, A, 0)
    assert rollout.last.acts_first, "traffic is taken away at once"
    assert rollout.last.target.stable == A
    assert all(v.weight == 0 for v in rollout.last.target.variants)
    ((actor, action, why),) = rollout.refused()
    assert (actor, action) == ("unknown", "rollout.status-edit")
    assert "changed by hand" in why
    assert "StatusRefused" in {e.reason for e in rollout.last.events}
    assert rollout.look().stable == A
    assert len(rollout.refused()) == 1, "told once"


def test_attack_approvals_are_written_into_the_status(rollout):
    rollout.edit(approvals=[FALSE, {**FALSE, "by": "carol", "role": "detection-lead"}])
    rollout.look(3)
    assert (rollout.status.approvals, rollout.status.stable, rollout.status.weight) == ((), A, 5)
    assert [action for _, action, _ in rollout.refused()] == ["rollout.status-edit"]
    assert approved(rollout).stable == B, "the rollout itself goes on"


def test_attack_unsigned_approvals_are_written_into_a_status_whose_log_knows_none():
    rollout = GovernedRollout(people=replace(PEOPLE, by_name={}))
    rollout.start(
        rollout=RolloutSpec.model_validate({"steps": [{"approval": {"approvers": 1}}], "analysis": {"minRequests": 0}})
    )
    rollout.edit(approvals=[{**FALSE, "role": None}])
    rollout.look(3)
    assert rollout.status.stable == A
    assert "no recorded act is an approval" in rollout.refused()[0][2]


def test_without_a_log_a_forged_signature_in_the_status_is_dropped_all_the_same(rollout):
    rollout.is_logged = False
    rollout.edit(approvals=[FALSE])
    assert rollout.look().approvals == ()


def test_attack_the_starter_is_edited_so_that_they_may_approve(rollout):
    rollout.edit(startedBy="mallory", moves=[])
    rollout.approve("ada", "detection-lead")
    rollout.look()
    assert rollout.refused() == [("ada", "rollout.approve", "ada started this rollout; somebody else must approve it")]


def test_attack_the_approval_is_taken_out_of_the_document_and_the_rollout_restarted(rollout):
    rollout.desired = replace(rollout.desired, rollout=FREE, by="eve")
    rollout.say("restart", "eve")
    rollout.look(6)
    assert rollout.status.stable == A
    assert rollout.status.waiting_for.startswith("approval as detection-lead and soc-manager")


def test_a_policy_with_fewer_approvals_counts_after_one_rollout_that_was_approved_as_before(rollout):
    approved(rollout)
    rollout.start(C, rollout=FREE)
    assert rollout.status.waiting_for.startswith("approval as detection-lead")
    assert approved(rollout).stable == C
    rollout.start(A, rollout=FREE)
    assert rollout.look(3).stable == A


def test_what_the_file_of_people_requires_is_asked_whatever_the_steps_say():
    people = replace(PEOPLE, require=(RequiredApproval(("fl*",), STEP),))
    rollout = GovernedRollout(people=people, desired=replace(GovernedRollout().desired, rollout=FREE))
    rollout.start(rollout=FREE)
    assert rollout.status.waiting_for.startswith("approval as detection-lead and soc-manager")


def test_undo_needs_no_approval_of_what_was_stable_before(rollout):
    approved(rollout)
    rollout.say("undo", "eve", why="alerts flood")
    assert rollout.look(2).stable == A
    assert rollout.did("rollout.undo")[0].actor == "eve"
    assert rollout.look(3).stable == A
    assert rollout.refused() == []


def test_the_first_revision_of_a_service_comes_up_without_approval_and_is_recorded():
    rollout = GovernedRollout(status=RolloutStatus())
    assert rollout.look(4).stable == A
    assert rollout.refused() == []
    assert [a.action for a in rollout.acts if a.action.startswith("rollout.")] == ["rollout.start", "rollout.promote"]


def test_a_rollout_that_was_under_way_before_there_was_a_log_goes_on():
    rollout = GovernedRollout(is_logged=False)
    rollout.start()
    rollout.acts.clear()
    rollout.is_logged = True
    assert rollout.look().phase is Phase.PAUSED
    assert rollout.refused() == []
    assert approved(rollout).stable == B


EXPERIMENT = ExperimentSpec.model_validate(
    {"variants": [{"name": "stable", "weight": 50}, {"name": "red", "weight": 50, "revision": C_JSON}], "duration": "1h"}
)


def test_an_experiment_that_was_started_goes_on_and_its_start_and_end_are_recorded():
    rollout = GovernedRollout(desired=Desired(revision=A, rollout=FREE, by="ada"))
    rollout.look()
    rollout.desired = replace(rollout.desired, experiment=EXPERIMENT, by="eve")
    rollout.look(3)
    assert rollout.status.phase is Phase.EXPERIMENT
    rollout.say("conclude", "eve", why="enough")
    rollout.look()
    assert rollout.refused() == []
    assert [a.action for a in rollout.acts if a.action.startswith("experiment")] == ["experiment.start", "experiment.conclude"]


def test_attack_a_variant_of_an_experiment_is_exchanged_in_the_status():
    rollout = GovernedRollout(desired=Desired(revision=A, rollout=FREE, by="ada"))
    rollout.look()
    rollout.desired = replace(rollout.desired, experiment=EXPERIMENT)
    rollout.look(3)
    rollout.edit(variants=[{"name": "red", "revision": B_JSON, "weight": 50}])
    rollout.look()
    assert rollout.last.target.variants == () or all(v.weight == 0 for v in rollout.last.target.variants)
    assert [action for _, action, _ in rollout.refused()] == ["rollout.status-edit"]


STRICT = ApprovalStep.model_validate({**STEP, "approvers": 2, "groups": ["soc"], "signed": True, "reasonRequired": True})


@pytest.mark.parametrize(
    "weaker",
    [{"approvers": 1}, {"roles": ("soc-manager",)}, {"groups": ()}, {"groups": ("soc", "all")}, {"valid_for": None},
     {"signed": False}, {"reason_required": False}, {"break_glass_roles": ("incident-commander", "analyst")}],
    ids=str,
)  # fmt: skip
def test_a_step_that_lets_more_people_through_is_weaker(weaker):
    assert is_as_strict(STRICT, STRICT)
    assert not is_as_strict(STRICT.model_copy(update=weaker), STRICT)


def test_a_needed_approval_comes_before_the_last_weight():
    steps = with_approvals(FREE, [STRICT], {}).steps
    assert [s.kind for s in steps] == ["approval", "setWeight"]
    less = ApprovalStep(break_glass_roles=("incident-commander",))
    assert with_approvals(GOVERNED, [less], {}) is GOVERNED


SAYS = st.tuples(
    st.sampled_from(
        ["approve", "approve", "approve", "promote", "promote-full", "restart", "abort", "retry", "break-glass", "undo"]
    ),
    st.sampled_from(["ada", "bob", "carol", "dan", "eve"]),
    st.sampled_from([None, "detection-lead", "soc-manager", "incident-commander"]),
    st.sampled_from(["signed", "forged", "unsigned", "old"]),
)
DEEDS = st.one_of(SAYS, st.sampled_from(sorted(EDITS)), st.sampled_from(["look", "free the document", "hours go by"]))


@given(deeds=st.lists(DEEDS, max_size=14))
@laws.examples(60)
def test_no_sequence_of_acts_without_the_required_approvals_ends_promoted(deeds):
    rollout, honest, old = GovernedRollout(), {}, None
    rollout.start()
    old = rollout.subject
    for deed in deeds:
        if isinstance(deed, tuple):
            verb, by, role, how = deed
            decision = verb if verb == "break-glass" else "approve"
            if how == "unsigned":
                rollout.say(verb, by, is_checked=True, **({"role": role} if role else {}))
            else:
                subject = replace(old, attempt="earlier") if how == "old" else None
                key_of = "mallory" if how == "forged" else None
                request = rollout.approve(by, role, verb=verb, decision=decision, subject=subject, key_of=key_of)
                if how == "signed":
                    honest[request.id] = by
        elif deed in EDITS:
            rollout.edit(**EDITS[deed])
        elif deed == "free the document":
            rollout.desired = replace(rollout.desired, rollout=FREE)
        elif deed == "hours go by":
            rollout.seconds += 3 * 3600
        rollout.look(2)
        if rollout.status.stable != A:
            break
    if rollout.status.stable == A:
        return
    (promoted,) = rollout.did("rollout.promote")
    attempt = promoted.evidence["attempt"]
    given_yes = [a for a in rollout.did("rollout.approve") if a.evidence["attempt"] == attempt]
    alone = [a for a in rollout.did("rollout.break-glass") if a.evidence["attempt"] == attempt]
    assert rollout.status.stable == B
    assert all(a.evidence["request"] in honest for a in (*given_yes, *alone)), "only honest words count"
    assert all(a.actor == "dan" for a in alone)
    assert alone or {(a.evidence["role"]) for a in given_yes} >= {"detection-lead", "soc-manager"}
    assert "ada" not in {a.actor for a in given_yes}
