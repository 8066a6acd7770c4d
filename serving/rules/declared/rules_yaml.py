"""rules.yaml: threshold rules, a site's log sources, and what the rules are used for. Parsed once at the border."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serving.files.safe_yaml import read_yaml
from serving.ports import RuleUse
from serving.rules.errors import RuleError

FOLDER: Final = "rules/"
THRESHOLDS: Final = "rules.yaml"
Severity = Literal["informational", "low", "medium", "high", "critical"]
Technique = Annotated[str, Field(pattern=r"^T\d{4}(\.\d{3})?$")]
"""Id of a MITRE ATT&CK technique."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ThresholdRule(_Part):
    """One threshold rule of a rules.yaml."""

    id: str = Field(min_length=1, max_length=128)
    """What the answer calls it."""
    title: str = ""
    """For people."""
    when: str = Field(min_length=1)
    """A CEL expression over columns that is true of the rows it is about."""
    severity: Severity
    """high and critical alert, medium is to be investigated, low and informational are benign."""
    reason: str = ""
    """Why it matters, for people."""
    techniques: tuple[Technique, ...] = ()
    """MITRE ATT&CK techniques, e.g. `T1110.001`. SIGMA rules have them among their tags."""


class RulesFile(_Part):
    """The whole of a rules.yaml."""

    use: RuleUse = "fallback"
    """What the rules do while the model answers: nothing (`fallback`), raise its verdict (`verdict`), vote in an ensemble (`member`), or
    be columns of the model (`feature`)."""
    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """How many votes of a model the vote of the rules is worth, for `member`."""
    otherwise: Literal["benign", "investigate", "alert"] = "investigate"
    """The verdict of a row that matches no rule."""
    thresholds: tuple[ThresholdRule, ...] = ()
    """Rules over columns."""
    sources: tuple[str, ...] = ()
    """Sources whose events come here, by the names of their mappings (zeek, ecs, aws-cloudtrail, ...)."""
    logsources: tuple[Mapping[str, Any], ...] = ()
    """Log sources of a site's own events."""
    placeholders: Mapping[str, tuple[str, ...]] = {}
    """Values of SIGMA's placeholders (`expand`), by name."""


def parse_rules_file(content: bytes) -> RulesFile:
    """Parse a rules.yaml without compiling its expressions. Raises RuleError."""
    try:
        document = read_yaml(content)
    except yaml.YAMLError as problem:
        raise RuleError(f"{FOLDER}{THRESHOLDS}: is not YAML: {' '.join(str(problem).split())}") from problem
    try:
        return RulesFile.model_validate(document or {})
    except ValidationError as problem:
        found = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'the file'}: {e['msg']}" for e in problem.errors())
        raise RuleError(f"{FOLDER}{THRESHOLDS}: {found}") from problem
