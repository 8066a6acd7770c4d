"""How an answer and its record depend on each other, by model. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


class AuditMode(StrEnum):
    """When an answer may leave."""

    STRICT = "strict"
    """After its record is on the disk; without a record there is no answer."""
    ASYNC = "async"
    """At once; its record follows."""
    OFF = "off"
    """At once, and no record is made."""


@dataclass(frozen=True, slots=True)
class AuditModes:
    """default: of every model that `models` does not name."""

    default: AuditMode = AuditMode.ASYNC
    models: Mapping[str, AuditMode] = field(default_factory=dict)

    @property
    def are_all_off(self) -> bool:
        """Whether nothing is recorded."""
        return {self.default, *self.models.values()} == {AuditMode.OFF}

    def words(self) -> str:
        """For the log: `async; flows: strict`."""
        return "; ".join([self.default.value, *(f"{model}: {mode.value}" for model, mode in sorted(self.models.items()))])


ALL_ASYNC: Final = AuditModes()
"""As it ships."""
