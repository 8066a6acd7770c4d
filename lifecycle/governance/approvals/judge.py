"""Judges whether an approval counts, and whether there are enough of them. Pure: the time is an argument.

An approval is for one revision at one step of one attempt of a rollout. It counts if the approver may give it, did not help to make the
revision, is who they claim to be, and gave it for exactly this subject, and if it has not expired."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from lifecycle.governance.approvals.note import APPROVE, BREAK_GLASS, ApprovalNote, ApprovalSubject, evidence_hash, one_line
from lifecycle.governance.approvals.people import NOBODY, People
from serving.audit.signed_note import NoteError, VerifierKey, signers_of, text_of

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
CLOCKS_APART: Final = timedelta(minutes=5)
"""How far the clock of an approver may be ahead of the clock of the process that runs the rollout."""


class ApprovalRefused(Exception):
    """An approval does not count. The message says why, and who or what would count."""


@dataclass(frozen=True, slots=True)
class ApprovalRule:
    """What an approval step requires.

    approvers: how many different people. groups: only their members may approve; empty: anybody may. roles: one approval in each of them
    must be among the approvals. role_groups: role -> the groups whose members have it. valid_for: how long an approval counts; None: it
    does not expire. break_glass_roles: who may pass the step alone in an emergency."""

    approvers: int = 1
    groups: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    role_groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    valid_for: timedelta | None = None
    needs_reason: bool = False
    needs_signature: bool = False
    break_glass_roles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ApprovalClaim:
    """An approval as it was sent, before it is judged.

    groups: the groups that the sender names. note: the signed note; empty: there is none. is_checked: the admission webhook, or the
    ownership of the file on this machine, confirmed `by` and `groups`. evidence: what the sender saw; the note holds its hash. None: it
    is not known any more."""

    by: str
    at: datetime
    why: str = ""
    role: str | None = None
    groups: frozenset[str] = frozenset()
    note: str = ""
    is_checked: bool = False
    evidence: str | None = None


@dataclass(frozen=True, slots=True)
class GivenApproval:
    """An approval that counted when it was given. expires: None if it does not expire."""

    by: str
    at: datetime
    why: str = ""
    role: str | None = None
    expires: datetime | None = None
    note: str = ""


def accept(
    rule: ApprovalRule,
    subject: ApprovalSubject,
    claim: ApprovalClaim,
    people: People,
    involved: Mapping[str, str],
    given: Iterable[GivenApproval],
    now: datetime,
) -> GivenApproval:
    """Judge a claim and return the approval, if it counts. Raises ApprovalRefused if it does not.

    involved: who must not approve -> what they did. given: the approvals that count already."""
    given = tuple(given)
    note = proven(subject, claim, people, APPROVE, must_sign=rule.needs_signature)
    if claim.by in involved:
        raise ApprovalRefused(f"{claim.by} {involved[claim.by]}; somebody else must approve it")
    if claim.by in {a.by for a in given}:
        people_needed = max(rule.approvers, len(rule.roles))
        raise ApprovalRefused(f"{claim.by} has already approved; {people_needed} different people must approve")
    if rule.groups and not claim.groups & set(rule.groups):
        raise ApprovalRefused(f"{claim.by} is in none of the groups {', '.join(rule.groups)}; a member must approve")
    if rule.needs_reason and not claim.why.strip():
        raise ApprovalRefused("this approval needs a reason; give --why")
    role = _role(rule, claim, note, people, {a.role for a in given})
    at = min(claim.at if note is None else _time(note.time_us), now)  # a signed approval is as old as its signature
    ends = [at + rule.valid_for] if rule.valid_for is not None else []
    if note is not None and note.expires_us is not None:
        ends.append(_time(note.expires_us))
    expires = min(ends, default=None)
    if expires is not None and expires <= now:
        raise ApprovalRefused(f"it lapsed at {expires:%Y-%m-%d %H:%M:%SZ}; approve again")
    return GivenApproval(claim.by, at, claim.why, role, expires, claim.note)


def accept_break_glass(
    rule: ApprovalRule, subject: ApprovalSubject, claim: ApprovalClaim, people: People, now: datetime
) -> GivenApproval:
    """Judge the emergency approval of one person. The people involved in the revision are not excluded. Raises ApprovalRefused."""
    if not rule.break_glass_roles:
        raise ApprovalRefused("this step allows no break-glass (approval.breakGlassRoles); it needs its approvals")
    note = proven(subject, claim, people, BREAK_GLASS, must_sign=rule.needs_signature)
    if not claim.why.strip():
        raise ApprovalRefused("break-glass needs a reason; give --why")
    has = _roles(rule, claim, people) & set(rule.break_glass_roles)
    if claim.role is not None:
        has &= {claim.role}
    if not has:
        raise ApprovalRefused(f"{claim.by} has none of the roles {', '.join(rule.break_glass_roles)} that may use break-glass")
    if note is None and not claim.is_checked:
        raise ApprovalRefused(_unproven(claim.by))
    return GivenApproval(claim.by, min(claim.at, now), claim.why, claim.role or min(has), None, claim.note)


def proven(
    subject: ApprovalSubject, claim: ApprovalClaim, people: People, decision: str, *, must_sign: bool = False
) -> ApprovalNote | None:
    """The checked note behind a claim; None if the claim has no note and needs none. Raises ApprovalRefused if the note is forged or
    missing."""
    key = people.key_of(claim.by)
    if not claim.note:
        if key is not None:
            raise ApprovalRefused(f"{claim.by} signs with the key {key.name}, but this is not signed; give --key FILE")
        if must_sign:
            raise ApprovalRefused(
                f"this step counts only signed approvals, but the file of people has no key of {claim.by}; add it"
            )
        return None
    if key is None:
        raise ApprovalRefused(f"the file of people has no key of {claim.by}; add it")
    note = _signed(claim.note, key)
    wanted = ApprovalNote(
        subject, decision, claim.by, claim.role, note.time_us, note.expires_us, note.evidence, one_line(claim.why)
    )
    wrong = [
        f"{what} is {_shown(has)}, expected {_shown(should)}"
        for what, has, should in (
            ("the service", note.subject.service, subject.service),
            ("the rollout", note.subject.attempt, subject.attempt),
            ("the revision", note.subject.revision, subject.revision),
            ("the step", note.subject.step, subject.step),
            ("the decision", note.decision, decision),
            ("the approver", note.approver, claim.by),
            ("the role", note.role, claim.role),
            ("the reason", note.reason, one_line(claim.why)),
            ("the evidence", note.evidence, note.evidence if claim.evidence is None else evidence_hash(claim.evidence)),
        )
        if has != should
    ]
    if wrong or note != wanted:
        raise ApprovalRefused(f"{claim.by} signed a different approval: {', '.join(wrong)}")
    if _time(note.time_us) > claim.at + CLOCKS_APART:
        raise ApprovalRefused(
            f"the signed note of {claim.by} has the time {_time(note.time_us):%Y-%m-%d %H:%M:%SZ}, which is after the approval"
        )
    return note


def counting(
    rule: ApprovalRule,
    subject: ApprovalSubject,
    given: Iterable[GivenApproval],
    people: People,
    involved: Mapping[str, str],
    now: datetime,
) -> tuple[tuple[GivenApproval, ...], Mapping[str, str]]:
    """The approvals that count now, and why others do not count, by the approver's name. An expired approval is in neither."""
    good: list[GivenApproval] = []
    false: dict[str, str] = {}
    for approval in given:
        if approval.expires is not None and approval.expires <= now:
            continue
        claim = ApprovalClaim(approval.by, approval.at, approval.why, approval.role, note=approval.note)
        try:
            proven(subject, claim, people, APPROVE, must_sign=rule.needs_signature)
        except ApprovalRefused as refusal:
            false[approval.by] = str(refusal)
            continue
        if approval.by in involved:
            false[approval.by] = f"{approval.by} {involved[approval.by]}"
        elif approval.by not in {a.by for a in good}:
            good.append(approval)
    return tuple(good), false


def missing(rule: ApprovalRule, given: Iterable[GivenApproval]) -> str:
    """Which approvals there are and which are still needed, in words; empty if there are enough."""
    given = tuple(given)
    people = len({a.by for a in given})
    roles = [role for role in rule.roles if role not in {a.role for a in given}]
    if people >= rule.approvers and not roles:
        return ""
    needed = max(rule.approvers, len(rule.roles))
    whose = f" from {' or '.join(rule.groups)}" if rule.groups else ""
    as_role = f" as {' and '.join(roles)}" if roles else ""
    return f"approval{whose}{as_role}: {people} of {needed}"


def _role(
    rule: ApprovalRule, claim: ApprovalClaim, note: ApprovalNote | None, people: People, taken: set[str | None]
) -> str | None:
    """The role that an approval counts for: the one it names, else the first role of the approver that is missing. Raises
    ApprovalRefused."""
    if not rule.roles:
        return claim.role
    if note is None and not claim.is_checked:
        raise ApprovalRefused(_unproven(claim.by))
    has = _roles(rule, claim, people)
    if claim.role is not None:
        if claim.role not in has:
            raise ApprovalRefused(f"{claim.by} does not have the role {claim.role}; somebody who has it must approve")
        return claim.role
    own = [role for role in rule.roles if role in has]
    if not own:
        raise ApprovalRefused(f"{claim.by} has none of the roles {', '.join(rule.roles)}; somebody who has one must approve")
    return next((role for role in own if role not in taken), own[0])


def _roles(rule: ApprovalRule, claim: ApprovalClaim, people: People) -> frozenset[str]:
    """The roles of a claim's sender. Groups count only if somebody checked them."""
    return people.roles_of(claim.by, claim.groups if claim.is_checked else frozenset(), rule.role_groups)


def _signed(note: str, key: VerifierKey) -> ApprovalNote:
    try:
        if key not in signers_of(note, [key]):
            raise ApprovalRefused(f"the note is not signed by the key {key.name}")
        return ApprovalNote.parse(text_of(note))
    except NoteError as problem:
        raise ApprovalRefused(f"the note is not valid: {problem}") from problem


def _unproven(by: str) -> str:
    return f"it is not checked that this comes from {by}; sign it (--key FILE), or let the admission webhook check the name"


def _time(microseconds: int) -> datetime:
    """Microseconds since the epoch as a datetime. Raises ApprovalRefused for a time outside the calendar."""
    try:
        return _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError as problem:
        raise ApprovalRefused(f"{microseconds} is not a time in microseconds") from problem


def _shown(value: object) -> str:
    return "none" if value is None else str(value)[:90]


__all__ = ["NOBODY", "ApprovalClaim", "ApprovalRefused", "ApprovalRule", "GivenApproval", "accept", "counting", "missing"]
