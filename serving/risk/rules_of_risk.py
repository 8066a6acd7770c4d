"""How signals become one risk: a small, versioned file (`risk.yaml`) that `vedette risk fit` writes from labels."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from serving.files.safe_yaml import read_yaml
from serving.risk.signal import KINDS, Kind

FILE: Final = "risk.yaml"
MOST_BYTES: Final = 64 * 1024

Share = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)]


class RiskRulesError(ValueError):
    """risk.yaml cannot be used; the message says what is wrong and where."""


class KindRules(BaseModel):
    """How signals of one kind count."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    weight: Weight = 1.0
    """Factor of the signal's log-odds. 1 means it counts in full; less for what says again what another kind says."""
    base_rate: Share = 0.01
    """Share of harmful cases for which the source's probabilities were calibrated. A probability equal to it says nothing."""
    half_life_s: Annotated[float, Field(gt=0, le=10**8, allow_inf_nan=False)] = 3600.0
    """After this time a signal counts half."""
    is_latest: bool = False
    """The newest signal of a name replaces the one before (jobs that judge a whole window). Otherwise the strongest counts."""
    expected_every_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """A risk without a signal of this kind within this time is not complete; unset: the kind may be absent."""


def _default_kinds() -> dict[Kind, KindRules]:
    return {
        "realtime": KindRules(half_life_s=3600),
        "rules": KindRules(weight=0.7, half_life_s=3600),
        "batch": KindRules(weight=0.7, half_life_s=6 * 3600, is_latest=True),
        "enrichment": KindRules(half_life_s=6 * 3600, is_latest=True),
        "analyst": KindRules(weight=2.0, half_life_s=30 * 86400, is_latest=True),
    }


class RiskRules(BaseModel):
    """The whole of a risk.yaml.

    The risk is a logistic function: logit(risk) = logit(prior) + sum over names of weight * 2^(-age / half_life) *
    (logit(probability) - logit(base_rate)). With weights of 1 that is the naive Bayes rule. `vedette risk fit` estimates the prior and
    the weights."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    version: Annotated[int, Field(ge=1)] = 1
    """Raise it with each change of the file."""
    prior: Share = 0.01
    """Share of harmful entities among all that have signals."""
    kinds: Mapping[Kind, KindRules] = Field(default_factory=_default_kinds)
    """Rules by kind: realtime, batch, rules, enrichment, analyst."""
    levels: tuple[Share, Share, Share] = (0.1, 0.4, 0.8)
    """Risks from which the level is medium, high and critical."""
    fitted: Mapping[str, Any] = {}
    """What `vedette risk fit` measured: rows, figures, digest of the data."""

    @model_validator(mode="after")
    def _whole(self) -> "RiskRules":
        low, middle, high = self.levels
        if not low < middle < high:
            raise ValueError(f"levels are {list(self.levels)}; they must rise")
        object.__setattr__(self, "kinds", {**_default_kinds(), **self.kinds})
        return self

    @property
    def digest(self) -> str:
        """Identity of these rules: sha256 over their canonical JSON."""
        body = json.dumps(self.model_dump(mode="json", exclude={"fitted"}), sort_keys=True, separators=(",", ":"))
        return f"sha256:{hashlib.sha256(body.encode()).hexdigest()}"

    def of(self, kind: Kind) -> KindRules:
        """The rules of a kind."""
        return self.kinds[kind]

    def level(self, risk: float) -> str:
        """low, medium, high or critical.

        >>> [RiskRules().level(risk) for risk in (0.05, 0.1, 0.5, 0.9)]
        ['low', 'medium', 'high', 'critical']
        """
        return ("low", "medium", "high", "critical")[sum(risk >= bound for bound in self.levels)]


def read_rules(folder: Path) -> RiskRules:
    """The rules in a store's risk.yaml, the defaults where there is none. Raises RiskRulesError."""
    path = folder / FILE
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        return RiskRules()
    if len(text) > MOST_BYTES:
        raise RiskRulesError(f"{path}: has more than {MOST_BYTES} bytes, at most that many are read")
    try:
        return RiskRules.model_validate(read_yaml(text) or {})
    except ValidationError as problem:
        found = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in problem.errors()[:5])
        raise RiskRulesError(f"{path}: {found}; the kinds are {', '.join(KINDS)}") from problem
    except yaml.YAMLError as problem:
        raise RiskRulesError(f"{path}: is not YAML: {problem}") from problem
