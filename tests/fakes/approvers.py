"""People with keys, for tests of approvals: ada leads detection, bob manages the SOC, eve has no role that counts."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lifecycle.governance.approvals.note import ApprovalNote, ApprovalSubject, evidence_hash
from lifecycle.governance.approvals.people import People, Person
from serving.audit.signed_note import Signer

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
SUBJECT = ApprovalSubject("modelservice/soc/flows", "20260105T080000.000000Z", "sha256:" + "b" * 64, 3)
ROLES = {
    "ada": {"detection-lead"},
    "bob": {"soc-manager"},
    "carol": {"detection-lead", "soc-manager"},
    "dan": {"incident-commander"},
    "eve": {"analyst"},
}


def signer(name: str, key_of: str | None = None) -> Signer:
    """The key of a person; key_of: somebody else's key under this name."""
    seed = hashlib.sha256((key_of or name).encode()).digest()
    return Signer(name, Ed25519PrivateKey.from_private_bytes(seed))


PEOPLE = People(
    {name: Person(name, frozenset(roles), signer(name).verifier) for name, roles in ROLES.items()}, digest="sha256:p"
)
KEYLESS = People({name: replace(person, key=None) for name, person in PEOPLE.by_name.items()}, digest="sha256:k")


def signed(
    by: str,
    *,
    role: str | None = None,
    subject: ApprovalSubject = SUBJECT,
    decision: str = "approve",
    why: str = "looked at it",
    at: datetime = NOW,
    lasts: timedelta | None = None,
    key_of: str | None = None,
    evidence: str = "",
) -> str:
    """The note of an approval."""
    time_us = round(at.timestamp() * 1_000_000)
    expires_us = None if lasts is None else time_us + round(lasts.total_seconds() * 1_000_000)
    note = ApprovalNote(subject, decision, by, role, time_us, expires_us, evidence_hash(evidence), why)
    return signer(by, key_of).sign(note.text())
