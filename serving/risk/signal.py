"""Signals about an entity: probabilities, and requested checks without a result yet."""

import hashlib
import math
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

Kind = Literal["realtime", "batch", "rules", "enrichment", "analyst"]
KINDS: Final[tuple[Kind, ...]] = ("realtime", "batch", "rules", "enrichment", "analyst")

SEVERITIES: Final[Mapping[str, float]] = {
    "informational": 0.02,
    "low": 0.1,
    "medium": 0.4,
    "high": 0.8,
    "critical": 0.95,
}
"""The probability that a rule's severity stands for where nothing better is known; `vedette risk fit` weighs it by labels."""

MOST_TEXT: Final = 512
"""Letters of an entity's text, of a name and of an id."""


class WrongSignal(ValueError):
    """A signal that says nothing that can be kept; the message names the field and what is expected."""


class RiskSignal(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One thing that was said of an entity. Times are microseconds since the epoch.

    name: the model, rule or job that says it. probability: that the entity does harm, 0..1, as the source has calibrated it.
    at_us: event time, for a window its end. id: names the evidence for good, so that the same signal counts once.
    receipt, row: the record of it in the prediction log. revision: of the model that gave it. arrived_us: when it was known."""

    entity: str
    kind: Kind
    name: str
    probability: float
    at_us: int
    id: str
    arrived_us: int = 0
    revision: str | None = None
    receipt: str | None = None
    row: int | None = None
    reasons: tuple[str, ...] = ()

    def check(self) -> None:
        """Raises WrongSignal."""
        for field in ("entity", "name", "id"):
            text = getattr(self, field)
            if not text or len(text) > MOST_TEXT:
                raise WrongSignal(f"signal {self.id[:80]!r}: {field} has {len(text)} letters, expected 1 to {MOST_TEXT}")
        if not (math.isfinite(self.probability) and 0 <= self.probability <= 1):
            raise WrongSignal(f"signal {self.id!r} of {self.name!r}: probability is {self.probability}, expected 0 to 1")
        if self.kind not in KINDS:
            raise WrongSignal(f"signal {self.id!r}: kind is {self.kind!r}, expected one of {', '.join(KINDS)}")
        if not 0 <= self.at_us < 2**62:
            raise WrongSignal(f"signal {self.id!r}: at_us is {self.at_us}, expected microseconds since the epoch")


class PendingCheck(msgspec.Struct, frozen=True, kw_only=True):
    """A closer look that was asked for. id: of the event that asked for it. due_us: after it the answer counts as overdue."""

    entity: str
    id: str
    name: str
    asked_us: int
    due_us: int


def entity_text(entity: Mapping[str, str | int]) -> str:
    """The text of join keys: one key is its value alone, several are `key=value` in order of their names, joined by `,`.

    A text of more than MOST_TEXT letters ends in `~` and its SHA-256 instead of its rest, so that two long ones stay apart.

    >>> entity_text({"host": "147.32.84.165"})
    '147.32.84.165'
    >>> entity_text({"user": "ann", "host": "pc-7"})
    'host=pc-7,user=ann'
    """
    several = len(entity) > 1
    text = ",".join(f"{name}={value}" if several else str(value) for name, value in sorted(entity.items()))
    if len(text) <= MOST_TEXT:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
    return f"{text[: MOST_TEXT - len(digest) - 1]}~{digest}"
