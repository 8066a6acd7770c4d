"""The field `model.ensemble` of a detector file: several models, and perhaps its rules, that make one score."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator


class EnsembleMember(BaseModel):
    """One member: trees with parameters of their own, or the detector's rules."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,30}$")]
    """Its name in the graph and in the lineage."""
    rules: bool = False
    """Whether the member is the severity of the most severe rule that matches; needs `rules` with `use: member`."""
    parameters: Mapping[str, int | float | bool | str] = {}
    """Parameters of LightGBM; unset: those of `model.parameters`."""
    trees: PositiveInt | None = None
    """Number of trees; unset: `model.trees`."""
    columns: tuple[str, ...] = ()
    """Inputs of the member, of those of the model; empty: all."""

    @model_validator(mode="after")
    def _either(self) -> Self:
        if self.rules and (self.parameters or self.trees is not None or self.columns):
            raise ValueError(f"ensemble member {self.name!r} is the rules, which have no parameters, trees or columns")
        return self


class EnsembleSpec(BaseModel):
    """Several models whose ranks make one score. A rank is the share of the training rows that a member scores below a row."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    rule: Literal["mean_rank", "k_of_n"]
    """`mean_rank`: the mean of the members' ranks, that of the rules by their weight. `k_of_n`: the k-th largest rank, so that k members
    must agree."""
    k: PositiveInt = 2
    """For `k_of_n`."""
    members: Annotated[tuple[EnsembleMember, ...], Field(min_length=2, max_length=16)]
    """The members, each with its own name."""

    @property
    def has_rules(self) -> bool:
        """Whether the rules are a member."""
        return any(member.rules for member in self.members)

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        names = [member.name for member in self.members]
        if len(set(names)) != len(names):
            raise ValueError(f"ensemble members {names} repeat a name; give each its own")
        if self.rule == "k_of_n" and self.k > len(names):
            raise ValueError(f"ensemble.k is {self.k}, but there are {len(names)} members; write at most that")
        if sum(member.rules for member in self.members) > 1 or all(member.rules for member in self.members):
            raise ValueError("ensemble: at most one member is the rules, and at least one is a model")
        return self
