"""A detector's declaration: its data, its model and its requirements. Text in, values out.

Detectors are declared, not coded: nothing in this package asks for a detector's name. Finding and reading a file is
declarations.py's, reading data data.py's, splitting it split.py's; this module has the fields of a declaration, but for those of splits
(split_spec.py), scenarios (scenario.py) and provenance (provenance.py), and refuses contradictions."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveFloat, PositiveInt, field_validator, model_validator

from lifecycle.datasets.provenance import Provenance
from lifecycle.datasets.reasons import ReasonDeclaration
from lifecycle.datasets.scenario import Scenario
from lifecycle.datasets.split_spec import Split
from serving.models.manifest import Name, Redaction, SamplingUnit
from serving.rules.ruleset import RulesFile

ColumnType = Literal["string", "float", "int", "bool", "timestamp", "port"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), use_attribute_docstrings=True)


def _as_column(value: Any) -> Any:
    return {"type": value} if isinstance(value, str) else value


class ColumnSpec(_Part):
    """One column: its type, and its name in the file where that is another one."""

    type: ColumnType
    """`port`: a port as a flow record writes it (decimal, hexadecimal or nothing), a whole number here, -1 for none."""
    source: Annotated[str | None, Field(alias="from")] = None
    """Name of the column in the file; unset: the same."""


class Source(_Part):
    """Where rows come from, and what their columns are."""

    format: Literal["parquet", "csv", "jsonl"]
    """Of the file."""
    columns: Mapping[str, Annotated[ColumnSpec, BeforeValidator(_as_column)]]
    """Every column that the detector uses: name -> type, or {type, from}; others in the file are left alone."""
    train: str | None = None
    """File name within the data folder."""
    test: str | None = None
    """A second file kept for evaluation only; nothing is ever chosen on it."""
    generator: Literal["flows"] | None = None
    """Makes plausible rows when no data is given."""
    generated_split: Split | None = None
    """How generated rows are split, as what is said of the file's does not apply to them; unset: like the file's."""


class Entity(_Part):
    """The entity that an event is about. A key identifies; it is never a feature."""

    key: str
    """Its column."""


class EventTime(_Part):
    """When an event counts: at `column`, plus `duration` seconds where a record is only known at its end."""

    column: str
    """A timestamp column."""
    timezone: str = "UTC"
    """What naive times mean, e.g. `Europe/Prague`."""
    duration: str | None = None
    """Column with seconds to add; unset: the event is known at once."""

    @field_validator("timezone")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError) as problem:
            raise ValueError(f"{value!r} is not a time zone; write e.g. UTC or Europe/Prague") from problem
        return value


class Match(_Part):
    """Which label values are meant: exactly one of the three."""

    equals: tuple[str | int | float | bool, ...] | None = None
    """One of these values."""
    contains: str | None = None
    """Text that holds this."""
    not_equals: tuple[str | int | float | bool, ...] | None = None
    """None of these values."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(v is not None for v in (self.equals, self.contains, self.not_equals)) != 1:
            raise ValueError("give exactly one of equals, contains, not_equals")
        return self


class Label(_Part):
    """How ground truth is read from one column."""

    column: str
    """Where ground truth stands."""
    positive: Match
    """Which values are attacks."""
    negative: Match | None = None
    """Rows verified to be benign; None: all that is not positive."""
    others: Literal["unverified", "ignore"] = "unverified"
    """Rows that are neither. `unverified`: trained on as benign, reported apart. `ignore`: left out of every part, though an
    entity's windows still count them."""
    type_column: str | None = None
    """Names the kind of attack, if rows say it."""
    derived: tuple[str, ...] = ()
    """Columns made from the label; refused as features."""


def _as_mapping(value: Any) -> Any:
    return {name: {} for name in value} if isinstance(value, list | tuple) else value


def _as_encrypted(value: Any) -> Any:
    return dict.fromkeys(value, "encrypt") if isinstance(value, list) else value


class RequestField(_Part):
    """A column that a client sends with the request."""

    description: str = ""
    """For people."""
    default: str | float | None = None
    """Stands in for a null; without it a null is an error."""


class Aggregate(_Part):
    """One number about an entity's events in a window."""

    op: Literal["count", "sum", "mean", "distinct", "share"]
    """How: `count` of events, `sum` or `mean` of a column, number of `distinct` values, `share` that matches."""
    column: str | None = None
    """Over which column; `count` takes none."""
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
    """Its length."""
    ttl_s: PositiveInt
    """Oldest age at which its values are still used."""


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
    """Feature name -> how it is counted; every window has them all."""
    version: PositiveInt = 1
    """Of the feature service; change it when what is counted changes."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(map(bool, (self.windows, self.declared, self.service))) != 1:
            raise ValueError("give exactly one of windows, declared, service")
        if bool(self.aggregates) != (self.service is None):
            raise ValueError(
                "aggregates say how windows are counted; a service filled elsewhere takes none, the others need them"
            )
        return self


class ModelSpec(_Part):
    """The model and how it is fitted."""

    kind: Literal["lightgbm"] = "lightgbm"
    """The only kind so far: gradient-boosted trees."""
    parameters: Mapping[str, int | float | bool | str] = {}
    """LightGBM's own, e.g. num_leaves."""
    trees: PositiveInt = 100
    """How many."""
    seed: int = 0
    """Of everything random in the fit."""
    members: PositiveInt = 1
    """Models with different seeds whose margins are averaged."""
    balance: Literal["none", "classes", "types"] = "none"
    """`classes`: attacks weigh as much as benign rows; `types`: and every type of attack weighs the same."""
    balance_cap: PositiveFloat = 50.0
    """Largest weight of one row."""
    contrast: Annotated[float, Field(ge=0, le=10)] = 0.0
    """Artificial contrast: this many made-up rows per benign row, each column drawn on its own from benign rows, count as
    attacks, so that what resembles no benign row scores high although no known attack resembles it."""
    columns: tuple[str, ...] = ()
    """Inputs in order; empty: the request fields that no on-demand view turns into features, then all features."""
    family_trees: Annotated[int, Field(ge=0, le=1000)] = 0
    """Over 0: the graph also names the family (`split.families`) of an attack, by this many trees for each; the score stays as it is."""


def _default_split(declared: dict[str, Any]) -> Split:
    """The split of a file that declares none. Without times, rows may be copies of each other, and no
    copy of a training row may be in the test part."""
    if declared.get("event_time") is not None:
        return Split(by="time", why="The file declares none: later rows test a model of earlier ones.")
    return Split(by="features", why="The file declares none: rows whose request fields are equal are in one part.")


class Evaluation(_Part):
    """How results are reported."""

    seeds: PositiveInt = 1
    """How many fits the figures are over."""
    window_s: PositiveInt = 60
    """An entity-window is one entity in this many seconds."""
    minutes_per_alert: PositiveFloat = 10.0
    """An analyst's time for one false alarm."""
    episode_gap_s: PositiveFloat = 300.0
    """Attack rows of one entity belong to one episode while no gap between two of them is longer."""


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


class Detector(_Part):
    """The whole declaration."""

    name: Name
    """What the model will be called."""
    description: str = ""
    """For people."""
    source: Source
    """Where rows come from."""
    provenance: Provenance | None = None
    """Who recorded, cleaned and labelled the rows; for auditors, carried in the bundle."""
    entity: Entity | None = None
    """Whom an event is about; unset: no features are looked up."""
    event_time: EventTime | None = None
    """When an event counts; needed with features."""
    label: Label
    """What is an attack."""
    request_fields: Annotated[Mapping[str, RequestField], BeforeValidator(_as_mapping)]
    """Columns sent with a request: a list of names, or names with a description and a default."""
    features: Features | None = None
    """What is kept about each entity; unset: the request's fields are all there is."""
    model: ModelSpec = ModelSpec()
    """What is fitted, and how."""
    split: Split = Field(default_factory=_default_split)
    """Which rows train, choose and test. Unset: by time where there is an event_time, so that the last fifth of it is tested; else by
    features."""
    operating_points: Mapping[str, Scenario]
    """Scenarios by name."""
    default_operating_point: str = "siem_alerting"
    """The scenario when a request names none."""
    segments: tuple[str, ...] = ()
    """Request fields that evaluation reports by."""
    personal: Annotated[Mapping[str, Redaction], BeforeValidator(_as_encrypted)] = {}
    """Columns that say something about a person: a list of names (encrypted), or names with encrypt, hash, truncate or drop. The first one
    names the person. The prediction log writes them so."""
    evaluation: Evaluation = Evaluation()
    """How results are reported."""
    confidence: Confidence | None = None
    """Conformal sets and the verdict `unknown`; unset: there are none."""
    rules: RulesFile | None = None
    """Threshold rules that answer when the model or its features cannot, as a bundle's `rules.yaml` has them."""
    reasons: Mapping[str, ReasonDeclaration] = {}
    """What an analyst reads of a column that speaks for a verdict, by column; a `*` in it stands for the seconds of a window."""

    @property
    def sampling_unit(self) -> SamplingUnit:
        """What rows are independent draws of."""
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
            forbidden[key] = "it is the entity key; a key identifies, it is never a feature"
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
