"""The field `rules` of a bundle's manifest."""

from collections.abc import Mapping
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from serving.ports import RuleUse
from serving.rules.declared.rules_yaml import Technique

RULES_MATCHED: Final = "rules_matched"
RULES_SEVERITY: Final = "rules_severity"
RULE_COLUMNS: Final = (RULES_MATCHED, RULES_SEVERITY)
"""Columns that a model with `use: feature` takes beside its own: how many rules match the row, and the severity of the most severe one (0
none, 1 informational, 2 low, 3 medium, 4 high, 5 critical)."""


class RulesSpec(BaseModel):
    """Present if the bundle has rules in its folder `rules/`. The rules answer if the model or its features are unavailable.

    SIGMA rules match a row's event: the JSON in `event_field`, or, without that, the request fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    event_field: str | None = None
    """A request field (BYTES) that holds the raw event as JSON."""
    logsource: Mapping[Literal["product", "category", "service"], str] = {}
    """The log source of every event; unset: it comes from the event, or from its channel and id."""
    use: RuleUse = "fallback"
    """What the rules do while the model answers, as their rules.yaml says."""
    techniques: Mapping[str, tuple[Technique, ...]] = {}
    """MITRE ATT&CK techniques by rule id, of the rules that have some. Derived from the rules."""
