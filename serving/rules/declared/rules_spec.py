"""The field `rules` of a bundle's manifest."""

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict

from serving.ports import RuleUse
from serving.rules.declared.rules_yaml import Technique


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
