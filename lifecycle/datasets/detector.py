"""A detector's declaration: its data, its model and its requirements. Text in, values out.

Detectors are declared, not coded: nothing in this package asks for a detector's name. Finding and reading a file is
declarations.py's, reading data data.py's, splitting it split.py's; this module has the fields of a declaration, but for those of columns
(columns.py), splits (split_spec.py), scenarios (scenario.py) and provenance (provenance.py), and refuses contradictions."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from lifecycle.datasets.columns import Checks, ColumnSpec, as_column
from lifecycle.datasets.ensemble_spec import EnsembleSpec
from lifecycle.datasets.provenance import Provenance
from lifecycle.datasets.reasons import ReasonDeclaration
from lifecycle.datasets.scenario import Scenario
from lifecycle.datasets.split_spec import Split
from lifecycle.datasets.time_zone import TimeZone
from serving.models.manifest import Name, Redaction, SamplingUnit
from serving.rules.declared.rules_yaml import RulesFile, Technique


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), use_attribute_docstrings=True)


class Source(_Part):
    """Where rows come from, and their columns."""

    format: Literal["parquet", "csv", "jsonl"]
    """Format of the file."""
    columns: Mapping[str, Annotated[ColumnSpec, BeforeValidator(as_column)]]
    """Every column that the detector uses: name -> type, or {type, from, min, max, values}. Other columns of the file are ignored."""
    train: str | None = None
    """File name within the data folder."""
    test: str | None = None
    """A second file for evaluation only. Training chooses nothing on it."""
    generator: Literal["flows"] | None = None
    """Generates plausible rows if no data is given."""
    generated_split: Split | None = None
    """How generated rows are split, if the split of the file does not suit them; unset: as the rows of the file."""


class Entity(_Part):
    """The entity of an event. Its key identifies it and is never a feature."""

    key: str
    """Column with the key."""


class EventTime(_Part):
    """When an event is known: at the time in `column`, plus `duration` seconds if a record is complete only at its end."""

    column: str
    """A timestamp column."""
    timezone: TimeZone = "UTC"
    """Time zone of times without one, e.g. `Europe/Prague`."""
    duration: str | None = None
    """Column with seconds to add; unset: the event is known at once."""


class Match(_Part):
    """Selects label values by exactly one of the three fields."""

    equals: tuple[str | int | float | bool, ...] | None = None
    """The value is one of these."""
    contains: str | None = None
    """The value is text that contains this."""
    not_equals: tuple[str | int | float | bool, ...] | None = None
    """The value is none of these."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(v is not None for v in (self.equals, self.contains, self.not_equals)) != 1:
            raise ValueError("give exactly one of equals, contains, not_equals")
        return self


class GroundTruth(_Part):
    """How ground truth is read from a column."""

    column: str
    """Column with the ground truth."""
    positive: Match
    """Which values are attacks."""
    negative: Match | None = None
    """Values of rows verified to be benign; unset: every value that is not positive."""
    others: Literal["unverified", "ignore"] = "unverified"
    """Treatment of rows that are neither positive nor negative. `unverified`: trained on as benign and reported separately.
    `ignore`: left out of every part; the windows of their entity still count them."""
    type_column: str | None = None
    """Column with the type of attack; unset: rows have none."""
    derived: tuple[str, ...] = ()
    """Columns derived from the label. They are refused as features."""


def _as_mapping(value: Any) -> Any:
    return {name: {} for name in value} if isinstance(value, list | tuple) else value


def _as_encrypted(value: Any) -> Any:
    return dict.fromkeys(value, "encrypt") if isinstance(value, list) else value


class RequestField(_Part):
    """A column that a client sends with the request."""

    description: str = ""
    """For people."""
    default: str | float | None = None
    """Value used in place of a null; unset: a null is an error."""


class Aggregate(_Part):
    """One number about an entity's events in a window."""

    op: Literal["count", "sum", "mean", "distinct", "share"]
    """`count` of events, `sum` or `mean` of a column, number of `distinct` values of a column, or `share` of events that match."""
    column: str | None = None
    """The column to aggregate; `count` takes none."""
    where: Match | None = None
    """For `share`: the share of events whose `column` matches."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.op == "count") != (self.column is None):
            raise ValueError(f"{self.op} {'takes no' if self.op == 'count' else 'needs a'} column")
        if (self.op == "share") != (self.where is not None):
            raise ValueError(f"{self.op} {'needs' if self.op == 'share' else 'takes no'} where")
        return self


class Window(_Part):
    """One feature view: the aggregates over the last `seconds`."""

    seconds: PositiveInt
    """Length of the window."""
    ttl_s: PositiveInt
    """Maximum age, in seconds, at which its values are used."""


class Features(_Part):
    """Features from the store. Exactly one of three: windows declared here; `declared`, a declaration in the feature repository;

    `service`, a feature service that is registered and filled elsewhere."""

    windows: tuple[Window, ...] = ()
    """Windows declared here; each is a view, `DETECTOR_KEY_60s`."""
    declared: Annotated[str | None, Field(pattern=r"^feature_repo\.[a-z_]+:[A-Z_]+$")] = None
    """`feature_repo.module:NAME`."""
    service: Name | None = None
    """Name of the feature service."""
    aggregates: Mapping[str, Aggregate] = {}
    """Feature name -> aggregate. Every window has all of them."""
    version: PositiveInt = 1
    """Version of the feature service. Change it when an aggregate changes."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(map(bool, (self.windows, self.declared, self.service))) != 1:
            raise ValueError("give exactly one of windows, declared, service")
        if bool(self.aggregates) != (self.service is None):
            raise ValueError(
                "aggregates say how windows are counted: leave them out with `service`, and give them with the others"
            )
        return self


class ModelSpec(_Part):
    """The model and how it is fitted."""

    kind: Literal["lightgbm"] = "lightgbm"
    """Gradient-boosted trees, the only kind so far."""
    parameters: Mapping[str, int | float | bool | str] = {}
    """Parameters of LightGBM, e.g. num_leaves."""
    trees: PositiveInt = 100
    """Number of trees."""
    seed: int = 0
    """Seed of everything random in the fit."""
    members: PositiveInt = 1
    """Number of models with different seeds. Their margins are averaged."""
    balance: Literal["none", "classes", "types"] = "none"
    """`classes`: attacks and benign rows have the same total weight. `types`: every type of attack has the same total weight too."""
    balance_cap: PositiveFloat = 50.0
    """Maximum weight of one row."""
    contrast: Annotated[float, Field(ge=0, le=10)] = 0.0
    """Artificial contrast: number of generated rows per benign row that are trained on as attacks. Each column of a generated row
    is drawn independently from the benign rows. A row that resembles no benign row then gets a high score even if it resembles no
    known attack."""
    columns: tuple[str, ...] = ()
    """Inputs in order; empty: the request fields that no on-demand view turns into features, then all features."""
    ensemble: EnsembleSpec | None = None
    """Several models, and perhaps the rules, whose ranks make one score; unset: one model, whose score is a probability."""
    family_trees: Annotated[int, Field(ge=0, le=1000)] = 0
    """Number of trees for each family of `split.families`. Above 0 the graph also outputs the family of an attack; the score does not
    change."""


def _default_split(declared: dict[str, Any]) -> Split:
    """The split of a file that declares none. Without times, rows may be copies of each other, and no
    copy of a training row may be in the test part."""
    if declared.get("event_time") is not None:
        return Split(by="time", why="The file declares none: later rows test a model of earlier ones.")
    return Split(by="features", why="The file declares none: rows whose request fields are equal are in one part.")


class Evaluation(_Part):
    """How results are reported."""

    seeds: PositiveInt = 1
    """Number of fits, each with its own seed, that the figures cover."""
    window_s: PositiveInt = 60
    """Length of an entity-window (one entity in one time window)."""
    minutes_per_alert: PositiveFloat = 10.0
    """Minutes that an analyst needs for one false alarm."""
    episode_gap_s: PositiveFloat = 300.0
    """Maximum gap between two attack rows of one episode of an entity."""


class Confidence(_Part):
    """Conformal sets: which of benign and attack a row may be at a declared error rate."""

    error: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """How often a row's true class may be missing from its set, for each class."""
    unknown: bool = False
    """Whether a row whose set holds both classes, or none, gets the verdict `unknown`, for an analyst."""
    group: str | None = None
    """A request field (text, whole number or truth value) whose values are groups; the error rate holds in each with enough rows."""
    over_alerts: bool = False
    """Whether `unknown` also replaces `alert`. Unset: an alert stays one."""


class TriageDeclaration(_Part):
    """A cheap model that a revision may let end clear cases, as benign, before the model runs."""

    trees: PositiveInt = 10
    """Number of its trees."""
    leaves: Annotated[int, Field(ge=2, le=64)] = 16
    """Leaves of each tree."""
    lost_attacks: Annotated[float, Field(gt=0, lt=0.5)] = 0.001
    """Share of the attacks that it may end."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """Confidence that it ends no more."""


class Detector(_Part):
    """A detector file."""

    name: Name
    """Name of the model."""
    description: str = ""
    """For people."""
    source: Source
    """Where rows come from."""
    checks: Checks = Checks()
    """When rows of the file are set aside, and when the file is refused."""
    provenance: Provenance | None = None
    """Who recorded, cleaned and labelled the rows. It is stored in the bundle for auditors."""
    entity: Entity | None = None
    """The entity of an event; unset: no features are looked up."""
    event_time: EventTime | None = None
    """Time of an event; required with features."""
    label: GroundTruth
    """Which rows are attacks."""
    request_fields: Annotated[Mapping[str, RequestField], BeforeValidator(_as_mapping)]
    """Columns that clients send with a request: a list of names, or names with a description and a default."""
    features: Features | None = None
    """Features of each entity; unset: the model uses the request fields only."""
    model: ModelSpec = ModelSpec()
    """The model and how it is fitted."""
    split: Split = Field(default_factory=_default_split)
    """Which rows are for training, validation and test. Unset: by time if there is an event_time, with the last fifth as the test
    part; else by features."""
    operating_points: Mapping[str, Scenario]
    """Scenarios by name."""
    default_operating_point: str = "siem_alerting"
    """The scenario when a request names none."""
    segments: tuple[str, ...] = ()
    """Request fields by which evaluation groups its figures."""
    personal: Annotated[Mapping[str, Redaction], BeforeValidator(_as_encrypted)] = {}
    """Columns with personal data, and how the prediction log redacts them: a list of names (encrypted), or names with encrypt,
    hash, truncate or drop. The first one identifies the person."""
    evaluation: Evaluation = Evaluation()
    """How results are reported."""
    confidence: Confidence | None = None
    """Conformal sets and the verdict `unknown`; unset: there are none."""
    triage: TriageDeclaration | None = None
    """A cheap model beside the model; unset: there is none."""
    rules: RulesFile | None = None
    """Threshold rules that answer if the model or its features are unavailable, in the format of a bundle's `rules.yaml`. `use` says what
    they do else."""
    techniques: tuple[Technique, ...] = ()
    """MITRE ATT&CK techniques that the model's own alerts are about, e.g. `T1498.001`."""
    reasons: Mapping[str, ReasonDeclaration] = {}
    """Column -> the text that an analyst reads if the column supports a verdict. A `*` in the name stands for the seconds of a
    window."""

    @property
    def sampling_unit(self) -> SamplingUnit:
        """The unit of which rows are independent draws."""
        if self.split.unit is not None:
            return self.split.unit
        by_split: dict[str, SamplingUnit] = {"types": "attack_type", "group": "group"}
        return by_split.get(self.split.by, "entity" if self.entity else "row")

    def for_generated_rows(self) -> "Detector":
        """The same detector, with the split of generated rows."""
        split = self.source.generated_split
        return self if split is None else self.model_copy(update={"split": split})

    @property
    def has_split(self) -> bool:
        """Whether the file declares a split."""
        return "split" in self.model_fields_set

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        for where, column in self._named_columns():
            if column not in self.source.columns:
                raise ValueError(
                    f"{where} names column {column!r}, which source.columns does not have; it has {sorted(self.source.columns)}"
                )
        self._no_leak()
        self._times()
        if self.default_operating_point not in self.operating_points:
            raise ValueError(
                f"default_operating_point {self.default_operating_point!r} is not one of {sorted(self.operating_points)}"
            )
        group = self.confidence.group if self.confidence is not None else None
        if group is not None and (
            group not in self.request_fields or self.source.columns[group].type not in ("string", "int", "bool", "port")
        ):
            raise ValueError(f"confidence.group {group!r} is not a request field of type string, int, bool or port")
        if self.split.by == "types" and not self.label.type_column:
            raise ValueError("split.by types needs label.type_column")
        if (self.split.by == "group" or self.split.unit == "group") and not self.split.group:
            raise ValueError("split.by group and split.unit group need split.group, the column to group by")
        if self.split.unit == "entity" and not self.entity:
            raise ValueError("split.unit entity needs an entity")
        if self.split.unit == "attack_type" and not self.label.type_column:
            raise ValueError("split.unit attack_type needs label.type_column")
        if self.model.family_trees and not (self.label.type_column and len(self.split.families) > 1):
            raise ValueError("model.family_trees needs label.type_column and two or more split.families")
        ensemble, use = self.model.ensemble, self.rules.use if self.rules is not None else None
        if (use == "member") != (ensemble is not None and ensemble.has_rules):
            raise ValueError("rules with `use: member` and a member of model.ensemble with `rules: true` go together")
        return self

    def _named_columns(self) -> list[tuple[str, str]]:
        named = [("label.column", self.label.column), *(("request_fields", f) for f in self.request_fields)]
        named += [("segments", s) for s in self.segments]
        optional = {"label.type_column": self.label.type_column, "split.group": self.split.group}
        if self.entity:
            optional["entity.key"] = self.entity.key
        if self.event_time:
            optional |= {"event_time.column": self.event_time.column, "event_time.duration": self.event_time.duration}
        named += [(where, column) for where, column in optional.items() if column]
        if self.features:
            named += [(f"features.aggregates.{n}", a.column) for n, a in self.features.aggregates.items() if a.column]
        return named

    def _no_leak(self) -> None:
        used = [*self.request_fields, *self.model.columns]
        key = self.entity.key if self.entity else None
        forbidden = {self.label.column: "it is the label", **dict.fromkeys(self.label.derived, "it is made from the label")}
        if self.label.type_column:
            forbidden[self.label.type_column] = "it is the label"
        if key:
            forbidden[key] = "it is the entity key; a key names the entity and must not be a feature"
        for column in used:
            if column in forbidden:
                raise ValueError(
                    f"column {column!r} leaks into the features: {forbidden[column]}; take it out of "
                    "request_fields and model.columns"
                )

    def _times(self) -> None:
        if self.features and not (self.entity and self.event_time):
            raise ValueError("features need an entity and an event_time: they are looked up by key, as of the event")
        if (self.split.by == "time" or self.split.validation_in_time) and not self.event_time:
            raise ValueError(f"split.by {self.split.by} needs an event_time")
        if self.split.by == "entity" and not self.entity:
            raise ValueError("split.by entity needs an entity")
        if self.event_time:
            types = self.source.columns
            if types[self.event_time.column].type != "timestamp":
                raise ValueError(
                    f"event_time.column {self.event_time.column!r} is {types[self.event_time.column].type}, expected timestamp"
                )
            if self.event_time.duration and types[self.event_time.duration].type not in ("float", "int"):
                raise ValueError(f"event_time.duration {self.event_time.duration!r} must be a number of seconds")
