"""The text that an approver signs, as a signed note (serving.audit.signed_note). Pure.

vedette-approval
service modelservice/NAMESPACE/NAME
rollout ATTEMPT                 the attempt: an approval of an earlier attempt does not count for a later one
revision sha256:...             digest of the revision
step N                          number of the approval step, from 1
decision approve                or break-glass, or review
approver NAME
role ROLE                       the role in which the approver decides, or `-`
time_us T                       microseconds since the epoch, UTC
expires_us T                    when the approval expires, or `-`
evidence HASH                   base64 of SHA-256 of the evidence that the approver saw, or `-`
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
    """What is approved. service: `modelservice/NAMESPACE/NAME`. attempt: id of the rollout attempt. revision: its digest. step: from 1."""

    service: str
    attempt: str
    revision: str
    step: int


@dataclass(frozen=True, slots=True)
class ApprovalNote:
    """The content of a signed approval. Times are microseconds since the epoch, UTC; expires_us None: never. evidence: see
    `evidence_hash`."""

    subject: ApprovalSubject
    decision: str
    approver: str
    role: str | None
    time_us: int
    expires_us: int | None
    evidence: str
    reason: str

    def text(self) -> str:
        """The text that the approver signs, one line per field, as the module's docstring shows it."""
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
        """Parse such a text. Raises NoteError for any other form."""
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
    """A reason as the note holds it: in one line, with single spaces; `-` if there is none."""
    return " ".join(reason.split()) or "-"


def evidence_hash(evidence: str) -> str:
    """Base64 of the SHA-256 of the evidence that was seen, as the note holds it; `-` if none was."""
    return base64.b64encode(sha256(evidence.encode()).digest()).decode() if evidence else "-"
