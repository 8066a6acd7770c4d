"""The text that an approver signs, as a signed note (serving.audit.signed_note). Pure.

vedette-approval
service modelservice/NAMESPACE/NAME
rollout ATTEMPT                 which start of it: an approval of an earlier rollout does not count for a later one
revision sha256:...             digest of the revision
step N                          number of the approval step, from 1
decision approve                or break-glass, or review
approver NAME
role ROLE                       in which they decide, or `-`
time_us T                       microseconds since the epoch, UTC
expires_us T                    when it lapses, or `-`
evidence HASH                   base64 of SHA-256 of the evidence that they saw, or `-`
reason WORDS                    in one line"""

import base64
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Self

from serving.audit.signed_note import NoteError

FIRST_LINE: Final = "vedette-approval"
APPROVE: Final = "approve"
BREAK_GLASS: Final = "break-glass"
REVIEW: Final = "review"
_FIELDS: Final = (
    "service",
    "rollout",
    "revision",
    "step",
    "decision",
    "approver",
    "role",
    "time_us",
    "expires_us",
    "evidence",
    "reason",
)


@dataclass(frozen=True, slots=True)
class ApprovalSubject:
    """What is approved. service: `modelservice/NAMESPACE/NAME`. attempt: which start of the rollout. revision: digest. step: from 1."""

    service: str
    attempt: str
    revision: str
    step: int


@dataclass(frozen=True, slots=True)
class ApprovalNote:
    """The content of a note. Times are microseconds since the epoch, UTC. evidence: see `evidence_hash`; `-`: none was seen."""

    subject: ApprovalSubject
    decision: str
    approver: str
    role: str | None
    time_us: int
    expires_us: int | None
    evidence: str
    reason: str

    def text(self) -> str:
        """The text that is signed."""
        values = (
            self.subject.service,
            self.subject.attempt,
            self.subject.revision,
            self.subject.step,
            self.decision,
            self.approver,
            self.role or "-",
            self.time_us,
            "-" if self.expires_us is None else self.expires_us,
            self.evidence,
            one_line(self.reason),
        )
        return "\n".join([FIRST_LINE, *(f"{name} {value}" for name, value in zip(_FIELDS, values, strict=True))]) + "\n"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text. Raises NoteError."""
        first, *lines = text.removesuffix("\n").split("\n")
        try:
            names, values = zip(*(line.split(" ", 1) for line in lines), strict=True)
            service, attempt, revision, step, decision, approver, role, time_us, expires_us, evidence, reason = values
            note = cls(
                ApprovalSubject(service, attempt, revision, int(step)),
                decision,
                approver,
                None if role == "-" else role,
                int(time_us),
                None if expires_us == "-" else int(expires_us),
                evidence,
                reason,
            )
        except ValueError as error:
            raise NoteError(f"not an approval: {text[:80]!r}") from error
        if first != FIRST_LINE or names != _FIELDS or note.text() != text:
            raise NoteError(f"not an approval in canonical form: {text[:80]!r}")
        return note


def one_line(reason: str) -> str:
    """A reason as it stands in a note."""
    return " ".join(reason.split()) or "-"


def evidence_hash(evidence: str) -> str:
    """What a note says of the evidence that was seen; `-` for none."""
    return base64.b64encode(sha256(evidence.encode()).digest()).decode() if evidence else "-"
