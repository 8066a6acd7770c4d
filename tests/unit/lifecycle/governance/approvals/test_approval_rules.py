"""Which approvals count: the rules, and the attacks that they defeat."""

from dataclasses import replace
from datetime import timedelta

import pytest

from lifecycle.governance.approvals.judge import (
    ApprovalClaim,
    ApprovalRefused,
    ApprovalRule,
    GivenApproval,
    accept,
    accept_break_glass,
    counting,
    missing,
)
from lifecycle.governance.approvals.note import ApprovalNote
from lifecycle.governance.approvals.people import NOBODY, PeopleFileError, read_people
from serving.audit.signed_note import NoteError, text_of
from tests.fakes.approvers import KEYLESS, NOW, PEOPLE, SUBJECT, signed, signer

TWO_ROLES = ApprovalRule(roles=("detection-lead", "soc-manager"), valid_for=timedelta(hours=4))
BY_GROUP = replace(TWO_ROLES, role_groups={"soc-manager": ("managers",)})
EMERGENCY = replace(TWO_ROLES, break_glass_roles=("incident-commander",))
STARTED = {"carol": "started this rollout"}


def claim(by="bob", why="looked at it", **more):
    return ApprovalClaim(by=by, at=NOW, why=why, **more)


def with_note(by="bob", role="soc-manager", **note):
    return claim(by, note.get("why", "looked at it"), role=role, note=signed(by, role=role, **note))


def given(by, role=None, **more):
    return GivenApproval(by, NOW, "looked at it", role, **more)


@pytest.mark.parametrize(
    ("rule", "said", "people", "role"),
    [
        pytest.param(ApprovalRule(), claim(), NOBODY, None, id="a step without roles takes anybody's word, as before"),
        pytest.param(ApprovalRule(groups=("soc",)), claim(groups=frozenset({"soc"})), NOBODY, None, id="a member of its groups"),
        pytest.param(TWO_ROLES, with_note(), PEOPLE, "soc-manager", id="a signed approval in one's role"),
        pytest.param(TWO_ROLES, with_note(role=None), PEOPLE, "soc-manager", id="the role that one has, where none is said"),
        pytest.param(TWO_ROLES, claim(is_checked=True), KEYLESS, "soc-manager", id="who has no key is believed where they were checked"),
        pytest.param(
            BY_GROUP, claim("zoe", groups=frozenset({"managers"}), is_checked=True), KEYLESS, "soc-manager",
            id="a role by a group that the webhook checked",
        ),
    ],
)  # fmt: skip
def test_an_approval_counts(rule, said, people, role):
    yes = accept(rule, SUBJECT, said, people, STARTED, (), NOW)
    assert (yes.by, yes.role) == (said.by, role)


@pytest.mark.parametrize(
    ("rule", "said", "people", "why"),
    [
        pytest.param(TWO_ROLES, with_note("carol"), PEOPLE, "carol started this rollout", id="whoever started it"),
        pytest.param(TWO_ROLES, with_note("eve", role=None), PEOPLE, "none of the roles", id="who has no role that is asked for"),
        pytest.param(TWO_ROLES, with_note(role="detection-lead"), PEOPLE, "does not have the role", id="a role that one has not"),
        pytest.param(ApprovalRule(groups=("soc",)), claim(), NOBODY, "in none of the groups", id="no member of its groups"),
        pytest.param(ApprovalRule(needs_reason=True), claim(why=" "), NOBODY, "needs a reason", id="no reason where one is asked for"),
        pytest.param(TWO_ROLES, with_note(at=NOW - timedelta(hours=5)), PEOPLE, "lapsed", id="one that has lapsed"),
        pytest.param(
            ApprovalRule(), with_note(role=None, lasts=timedelta(hours=-1)), PEOPLE, "lapsed", id="one that its approver let lapse"
        ),
        pytest.param(replace(TWO_ROLES, needs_signature=True), claim("zoe", is_checked=True), PEOPLE, "only signed approvals",
                     id="unsigned where only signed ones count"),
        pytest.param(BY_GROUP, claim("zoe", groups=frozenset({"managers"})), KEYLESS, "it is not checked", id="groups nobody checked"),
    ],
)  # fmt: skip
def test_an_approval_does_not_count(rule, said, people, why):
    with pytest.raises(ApprovalRefused, match=why):
        accept(rule, SUBJECT, said, people, STARTED, (), NOW)


OTHER = {
    "another service": replace(SUBJECT, service="modelservice/soc/dns"),
    "another revision": replace(SUBJECT, revision="sha256:" + "c" * 64),
    "another step": replace(SUBJECT, step=5),
    "an earlier rollout (replay)": replace(SUBJECT, attempt="20251201T080000.000000Z"),
}


@pytest.mark.parametrize("subject", OTHER.values(), ids=OTHER)
def test_attack_an_approval_of_something_else_is_presented_for_this(subject):
    with pytest.raises(ApprovalRefused, match="signed a different approval"):
        accept(TWO_ROLES, SUBJECT, with_note(subject=subject), PEOPLE, {}, (), NOW)


FORGED = {
    "signed with the forger's key": claim(role="soc-manager", note=signed("bob", role="soc-manager", key_of="eve")),
    "not signed, in the name of somebody who signs": claim(role="soc-manager", is_checked=True),
    "the forger's own note, in another's name": claim(role="soc-manager", note=signed("eve", role="soc-manager")),
    "the reason is changed": claim(why="whatever", role="soc-manager", note=signed("bob", role="soc-manager")),
    "the role is changed": claim("carol", role="soc-manager", note=signed("carol", role="detection-lead")),
    "the evidence is changed": claim(role="soc-manager", note=signed("bob", role="soc-manager", evidence="a"), evidence="b"),
    "the text is changed": claim(role="soc-manager", note=signed("bob", role="soc-manager").replace("step 3", "step 4")),
    "the signature is cut off": claim(role="soc-manager", note=text_of(signed("bob", role="soc-manager"))),
    "a review is presented as an approval": claim(
        role="soc-manager", note=signed("bob", role="soc-manager", decision="review")
    ),
    "dated ahead so that it never lapses": claim(
        role="soc-manager", note=signed("bob", role="soc-manager", at=NOW + timedelta(days=9))
    ),
    "a checkpoint's note": claim(role="soc-manager", note=signer("bob").sign("vedette-audit/governance/1\n5\n")),
}


@pytest.mark.parametrize("said", FORGED.values(), ids=FORGED)
def test_attack_a_forged_approval(said):
    with pytest.raises(ApprovalRefused):
        accept(TWO_ROLES, SUBJECT, said, PEOPLE, {}, (), NOW)


def test_attack_one_person_with_two_roles_approves_twice():
    first = accept(TWO_ROLES, SUBJECT, with_note("carol", "soc-manager"), PEOPLE, {}, (), NOW)
    with pytest.raises(ApprovalRefused, match="carol has already approved; 2 different people must"):
        accept(TWO_ROLES, SUBJECT, with_note("carol", "detection-lead"), PEOPLE, {}, (first,), NOW)


def test_attack_a_lapsed_approval_is_said_again_as_if_it_were_new():
    old = signed("bob", role="soc-manager", at=NOW - timedelta(hours=5))
    with pytest.raises(ApprovalRefused, match="lapsed"):
        accept(TWO_ROLES, SUBJECT, claim(role="soc-manager", note=old), PEOPLE, {}, (), NOW)


@pytest.mark.parametrize(
    ("approvals", "lacks"),
    [
        pytest.param((), "approval as detection-lead and soc-manager: 0 of 2", id="nobody has approved"),
        pytest.param((given("bob", "soc-manager"),), "approval as detection-lead: 1 of 2", id="one role is missing"),
        pytest.param((given("bob", "soc-manager"), given("zed", "soc-manager")), "approval as detection-lead: 2 of 2",
                     id="two in one role do not make up for another"),
        pytest.param((given("bob", "soc-manager"), given("ada", "detection-lead")), "", id="one in each"),
    ],
)  # fmt: skip
def test_what_is_missing(approvals, lacks):
    assert missing(TWO_ROLES, approvals) == lacks


@pytest.mark.parametrize(
    ("approval", "counts", "is_false"),
    [
        pytest.param(given("bob", "soc-manager", note=signed("bob", role="soc-manager")), 1, False, id="one that holds"),
        pytest.param(
            given("bob", "soc-manager", expires=NOW), 0, False, id="one that lapsed is left out, and nobody is blamed"
        ),
        pytest.param(given("bob", "soc-manager"), 0, True, id="an entry without the signature that its person gives"),
        pytest.param(
            given("carol", "soc-manager", note=signed("carol", role="soc-manager")), 0, True, id="of who made it meanwhile"
        ),
    ],
)
def test_approvals_are_judged_anew_at_each_look(approval, counts, is_false):
    good, false = counting(TWO_ROLES, SUBJECT, (approval,), PEOPLE, STARTED, NOW)
    assert (len(good), bool(false)) == (counts, is_false)


@pytest.mark.parametrize(
    ("rule", "said", "why"),
    [
        pytest.param(TWO_ROLES, with_note("dan", "incident-commander", decision="break-glass"), "no break-glass", id="not at this step"),
        pytest.param(EMERGENCY, with_note("bob", decision="break-glass"), "none of the roles", id="a role that may not"),
        pytest.param(EMERGENCY, with_note("dan", "incident-commander"), "the decision is approve", id="an approval is no broken glass"),
        pytest.param(EMERGENCY, with_note("dan", "incident-commander", decision="break-glass", why=""), "needs a reason", id="no reason"),
        pytest.param(EMERGENCY, claim("dan", is_checked=True), "not signed", id="unsigned, of who has a key"),
    ],
)  # fmt: skip
def test_the_glass_is_not_broken(rule, said, why):
    with pytest.raises(ApprovalRefused, match=why):
        accept_break_glass(rule, SUBJECT, said, PEOPLE, NOW)


def test_the_glass_is_broken_by_one_person_whose_role_allows_it():
    said = with_note("dan", "incident-commander", decision="break-glass", why="ransomware, tonight")
    assert accept_break_glass(EMERGENCY, SUBJECT, said, PEOPLE, NOW).role == "incident-commander"


def test_a_note_reads_back_and_a_line_more_is_no_approval():
    text = text_of(signed("bob", role="soc-manager", lasts=timedelta(hours=1)))
    assert ApprovalNote.parse(text).text() == text
    for wrong in (
        text + "step 4\n",
        text.replace("step 3", "step 03"),
        text.replace("vedette-approval", "vedette-else"),
        "x\n",
    ):
        with pytest.raises(NoteError):
            ApprovalNote.parse(wrong)


def test_the_file_of_people_is_read():
    key = signer("bob").verifier
    text = f"people:\n- {{name: bob, roles: [soc-manager], key: {key}}}\ngroups: {{soc-manager: [managers]}}\n"
    found = read_people(f"{text}require:\n- {{services: ['dns-*'], approval: {{approvers: 2}}}}\n", "people.yaml")
    assert found.key_of("bob") == key
    assert found.roles_of("zoe", frozenset({"managers"}), {}) == {"soc-manager"}
    assert [r.is_for("dns-1") for r in found.require] == [True]


def test_attack_a_policy_gives_a_role_to_a_group_of_its_author():
    found = read_people("groups: {soc-manager: [managers]}", "people.yaml")
    assert found.roles_of("eve", frozenset({"eves"}), {"soc-manager": ("eves",)}) == frozenset()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("people: [", "is not YAML", id="no YAML"),
        pytest.param("people: [{name: 2026-99-99}]", "is not YAML", id="a date that there is not"),
        pytest.param("[\n" * 100_000, "is not YAML", id="nested without end"),
        pytest.param("people: [{name: bob, rolls: []}]", "rolls", id="a field that there is not"),
        pytest.param("people: [{name: bob}, {name: bob}]", "twice", id="one name for two"),
        pytest.param("people: [{name: bob, key: abc}]", "key of bob", id="no key"),
        pytest.param(
            f"people: [{{name: bob, key: {signer('bob').verifier}}}, {{name: bea, key: {signer('bob').verifier}}}]",
            "have the same key",
            id="one key for two people",
        ),
    ],
)
def test_a_file_of_people_that_does_not_hold_is_refused(text, why):
    with pytest.raises(PeopleFileError, match=why):
        read_people(text, "people.yaml")
