"""What the control plane tells the data plane: which revisions to serve. The contract between the planes.

Pure. Reaches the replicas as Ray Serve's `user_config`, so it is plain JSON at the border (`ServingSpec.from_config`)."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Protocol

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


VariantName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}$")]
Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


SuppressionId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
MAX_SUPPRESSIONS = 200
MAX_SUPPRESSION_LETTERS = 65_536
"""Characters of all suppressions of a revision together: revisions are kept in resources, whose size is bounded."""


def _in_utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


class SuppressionSpec(BaseModel):
    """A known cause of false alarms: rows for which `when` holds do not alert until it expires."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: SuppressionId
    owner: Annotated[str, Field(min_length=1, max_length=200)]
    """Person or team responsible for it."""
    reason: Annotated[str, Field(min_length=1, max_length=1000)]
    expires: Annotated[AwareDatetime, AfterValidator(_in_utc)]
    """From this moment on it suppresses nothing. UTC."""
    when: Annotated[str, Field(min_length=1, max_length=2000)]
    """CEL over the columns of the model: entity keys, request fields, features (serving.rules.thresholds)."""
    becomes: Literal["benign", "investigate"]
    """The verdict in place of `alert`; `benign` also in place of `investigate`."""

    @property
    def expires_us(self) -> int:
        """Microseconds since the epoch."""
        whole = int(self.expires.replace(microsecond=0).timestamp())
        return whole * 1_000_000 + self.expires.microsecond


class SuppressionTexts(Protocol):
    """The fields of a suppression by which a list of suppressions is checked."""

    @property
    def id(self) -> str:
        """Id of the suppression."""
        ...

    @property
    def owner(self) -> str:
        """Person or team responsible for it."""
        ...

    @property
    def reason(self) -> str:
        """Reason of the suppression."""
        ...

    @property
    def when(self) -> str:
        """CEL expression of the rows that it holds for."""
        ...


def problem_of_suppressions(entries: Sequence[SuppressionTexts]) -> str | None:
    """What is wrong with these entries together, and the way out; None if nothing is."""
    repeated = sorted(name for name, count in Counter(entry.id for entry in entries).items() if count > 1)
    if repeated:
        return f"repeat the id {', '.join(repeated)}; give each suppression its own"
    if len(entries) > MAX_SUPPRESSIONS:
        return f"are {len(entries)}, at most {MAX_SUPPRESSIONS} are allowed; join some, or train the model on such events"
    letters = sum(len(entry.id + entry.owner + entry.reason + entry.when) for entry in entries)
    if letters > MAX_SUPPRESSION_LETTERS:
        return f"have {letters} characters together, at most {MAX_SUPPRESSION_LETTERS} are allowed; shorten or join some"
    return None


class TriageSwitch(BaseModel):
    """Switches the bundle's triage on: rows that its cheap model scores below the bound are benign without the model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bound: Finite | None = None
    """Replaces the bundle's bound; None: the bundle's, whose losses are known."""
    audit_share: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.01
    """Share of the rows below the bound that the model scores anyway; 1 ends none, and shows what would be ended."""


class RevisionSpec(BaseModel):
    """Everything that can change an answer. The model, its feature view and its rules are in the bundle."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bundle: Digest
    operating_point: str | None = None
    """Overrides the bundle's default operating point."""
    thresholds: Mapping[str, Finite] = {}
    """Alert thresholds that replace the bundle's, by operating point."""
    feature_service: str | None = None
    """Replaces the bundle's feature service; it must give the same features."""
    suppressions: Annotated[tuple[SuppressionSpec, ...], Field(max_length=MAX_SUPPRESSIONS)] = ()
    """Known causes of false alarms; of those that hold of a row, the first one counts."""

    triage: TriageSwitch | None = None
    """Whether the bundle's triage ends clear cases; None: it is off."""

    @model_validator(mode="after")
    def _named_once(self) -> "RevisionSpec":
        problem = problem_of_suppressions(self.suppressions)
        if problem is not None:
            raise ValueError(f"suppressions {problem}")
        return self

    @property
    def digest(self) -> str:
        """Identity of this revision: sha256 over its canonical JSON. Overrides that are not used do not count."""
        content: dict[str, Any] = {"bundle": self.bundle, "operating_point": self.operating_point}
        if self.thresholds:
            content["thresholds"] = dict(self.thresholds)
        if self.feature_service is not None:
            content["feature_service"] = self.feature_service
        if self.suppressions:
            content["suppressions"] = [entry.model_dump(mode="json") for entry in self.suppressions]
        if self.triage is not None:
            content["triage"] = self.triage.model_dump(mode="json")
        body = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
        return f"sha256:{hashlib.sha256(body).hexdigest()}"


class VariantSpec(BaseModel):
    """A revision beside stable in the same replica."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: VariantName
    """`candidate`, or any name in an experiment."""
    version: str
    revision: RevisionSpec
    weight: Percent = 0.0
    """Percentage of entities that it answers; 0 is dark: it is loaded, and answers only requests that name it."""
    mirror: Percent = 0.0
    """Percentage of stable's requests it scores a copy of, after the answer has left."""


class ModelSpec(BaseModel):
    """One model version to serve as stable, and the variants beside it."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    name: str
    version: str
    revision: RevisionSpec
    variants: tuple[VariantSpec, ...] = ()
    """In a fixed order; stable takes what their weights leave of 100."""
    latency_objective_ms: Finite = 100.0
    """A request that takes longer counts as slow in the evidence."""

    @model_validator(mode="after")
    def _split(self) -> "ModelSpec":
        names = [v.name for v in self.variants]
        if len(set(names)) != len(names) or "stable" in names:
            raise ValueError(
                f"variants of {self.name!r} are {names}; names must be distinct, and `stable` is reserved for the model itself"
            )
        total = sum(v.weight for v in self.variants)
        if total > 100 + 1e-9:
            raise ValueError(
                f"weights of the variants of {self.name!r} sum to {total:g}; they are percentages and must not sum to more than 100"
            )
        return self


class ServingSpec(BaseModel):
    """Every model version this service should serve."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    models: tuple[ModelSpec, ...] = ()
    managed: tuple[str, ...] | Literal["all"] = ()
    """Models that a control plane changes, and clients may not."""

    def is_managed(self, name: str) -> bool:
        """Whether a control plane changes this model."""
        return self.managed == "all" or name in self.managed

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "ServingSpec":
        """Parse `user_config`. Raises pydantic.ValidationError."""
        return cls.model_validate(config)
