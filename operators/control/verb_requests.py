"""Verbs as people say them, at the command line or in the console: a request, whether it was handled, and why it was refused."""

import json
import secrets
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from lifecycle.governance.approvals.note import ApprovalNote, ApprovalSubject, evidence_hash
from operators.control.port import Control, ControlError, Record
from operators.rollout.governance.acts import figures
from operators.rollout.status import HistoryEntry, VerbRequest

HANDLED_WITHIN_S: Final = 10.0
_POLL_S: Final = 0.2


def request_of(
    control: Control,
    verb: str,
    why: str,
    args: dict[str, str] | None = None,
    by: str | None = None,
    *,
    request_id: str | None = None,
) -> VerbRequest:
    """A request by this person, now. by: the user as the control plane knows them if None. request_id: a new one if None."""
    return VerbRequest.model_validate(
        {
            "id": request_id or secrets.token_hex(8), "verb": verb, "by": by or control.who(), "why": why,
            "at": datetime.now(UTC), "args": args or {},
        }
    )  # fmt: skip


def wait_until_handled(control: Control, name: str, request: VerbRequest, *, within_s: float | None = None) -> Record | None:
    """The service once the request was handled; None if that takes longer than within_s (HANDLED_WITHIN_S)."""
    if control.caution() is not None:
        return None
    until = time.monotonic() + (HANDLED_WITHIN_S if within_s is None else within_s)
    while time.monotonic() < until:
        record = control.read(name)
        if request.id in record.status.handled:
            return record
        time.sleep(_POLL_S)
    return None


def refusal_of(record: Record, request: VerbRequest, earlier: Sequence[HistoryEntry]) -> str | None:
    """Why a handled request was refused; None if it was not. earlier: the moves before it was sent.

    The times of request and move are of two machines, so they are not compared."""
    for move in reversed(record.status.moves):
        if move not in earlier and move.by == request.by and move.move == f"refuse {request.verb}":
            return move.reason
    return None


def expected_step(record: Record) -> dict[str, str]:
    """The revision and step that the person saw. The verb is refused if the rollout is at another one when it is handled."""
    status = record.status
    if not status.is_under_way or status.candidate is None:
        return {}
    return {"revision": status.candidate.digest, "step": str(status.step_index + 1)}


def seen_evidence(record: Record) -> str:
    """The figures that are signed: those of the last look."""
    return json.dumps(figures(record.status.assessment), separators=(",", ":"), sort_keys=True)


def missing_role(control: Control, record: Record, by: str) -> str | None:
    """The first role that is still missing and that the file of people gives them."""
    status, steps = record.status, (record.status.policy or record.rollout).steps
    step = steps[status.step_index].approval if status.step_index < len(steps) else None
    try:
        person = control.people().by_name.get(by)
    except ControlError:
        person = None
    if step is None or person is None:
        return None
    taken = {a.role for a in status.approvals}
    own = [role for role in step.roles if role in person.roles]
    return next((role for role in own if role not in taken), next(iter(own), None))


def subject_of(record: Record) -> ApprovalSubject | None:
    """What an approval now would be about; None: no rollout is under way."""
    status = record.status
    if status.candidate is None:
        return None
    return ApprovalSubject(service_words(record), status.attempt, status.candidate.digest, status.step_index + 1)


def service_words(record: Record) -> str:
    """The service as approvals name it."""
    return f"modelservice/{record.ref.namespace}/{record.ref.name}"


def note_of(
    subject: ApprovalSubject,
    decision: str,
    by: str,
    role: str | None,
    *,
    lasts_us: int | None = None,
    evidence: str = "",
    why: str = "",
) -> ApprovalNote:
    """What somebody would sign now. lasts_us: how long it counts, microseconds; None: no end."""
    now_us = time.time_ns() // 1000
    ends = None if lasts_us is None else now_us + lasts_us
    return ApprovalNote(subject, decision, by, role, now_us, ends, evidence_hash(evidence), why)
