"""A detector file of kind `behaviour`: which columns say who did what, how long its windows are, and what an analyst reads."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveInt, ValidationError, model_validator

from lifecycle.datasets.columns import ColumnSpec, as_column
from lifecycle.datasets.detector import EventTime, GroundTruth, Match
from lifecycle.errors import DetectorError
from lifecycle.yaml_text import read_yaml
from serving.batch.behaviour.features import FEATURES
from serving.models.manifest import Name

BUILT_IN: Final = Path(__file__).parent / "detectors"
KIND: Final = "behaviour"


class _BehaviourPart(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), use_attribute_docstrings=True)


class FailedFlows(_BehaviourPart):
    """Which flows failed."""

    column: str
    """Column with the state."""
    where: Match
    """Its values."""


class BehaviourModel(_BehaviourPart):
    """The model and how it is fitted."""

    kind: Literal["isolation_forest", "autoencoder"] = "isolation_forest"
    """An isolation forest, or a linear autoencoder."""
    trees: PositiveInt = 200
    """Trees of a forest."""
    sample: Annotated[int, Field(ge=2)] = 256
    """Rows that each tree sees."""
    hidden: PositiveInt = 4
    """Hidden units of an autoencoder."""
    seed: int = 0
    """Seed of everything random in the fit."""
    least_events: PositiveInt = 3
    """Entities with fewer events in a window are neither trained on nor scored."""


class BehaviourDetector(_BehaviourPart):
    """A detector file of kind `behaviour`."""

    kind: Literal["behaviour"]
    """Says that this is one."""
    name: Name
    """Name of the model."""
    description: str = ""
    """For people."""
    columns: Mapping[str, Annotated[ColumnSpec, BeforeValidator(as_column)]]
    """Columns of the data: name -> type, or {type, from}."""
    train: str | None = None
    """File name within the data folder."""
    generator: Literal["flows"] | None = None
    """Generates plausible rows if no data is given."""
    entity: str
    """Column that names the entity."""
    peer: str
    """Column with the destination."""
    port: str
    """Column with the destination port."""
    bytes: str
    """Column with the bytes in both directions."""
    sent: str
    """Column with the bytes that the entity sent."""
    failed: FailedFlows
    """Which flows failed."""
    event_time: EventTime
    """When an event is known."""
    window_s: PositiveInt = 3600
    """Length of a window, seconds."""
    history_days: PositiveInt = 7
    """How long a peer stays known."""
    features: tuple[str, ...] = tuple(FEATURES)
    """Features that the model uses."""
    model: BehaviourModel = BehaviourModel()
    """The model and how it is fitted."""
    operating_points: Mapping[str, Annotated[float, Field(gt=0, lt=1)]]
    """Scenario -> the share of the training windows that is not alerted on, e.g. 0.99."""
    default_operating_point: str = "siem_alerting"
    """The scenario when a request names none."""
    label: GroundTruth | None = None
    """For the evaluation only."""
    reasons: Mapping[str, str] = {}
    """Feature -> what an analyst reads of an unusual value, with `{value}`."""

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        used = {"entity": self.entity, "peer": self.peer, "port": self.port, "bytes": self.bytes, "sent": self.sent}
        used |= {"failed.column": self.failed.column, "event_time.column": self.event_time.column}
        if self.event_time.duration is not None:
            used["event_time.duration"] = self.event_time.duration
        for where, name in used.items():
            if name not in self.columns:
                raise ValueError(f"{where} names column {name!r}, which columns does not have; it has {sorted(self.columns)}")
        if unknown := sorted({*self.features, *self.reasons} - FEATURES.keys()):
            raise ValueError(f"features or reasons name {unknown}; there are {sorted(FEATURES)}")
        if self.default_operating_point not in self.operating_points:
            raise ValueError(f"default_operating_point {self.default_operating_point!r} is not in operating_points")
        return self


def read_behaviour(name_or_path: str) -> BehaviourDetector | None:
    """A behavioural detector by name or path; None if the file is of another kind, or there is none of that name.

    Raises DetectorError."""
    path = Path(name_or_path)
    if path.suffix.lower() not in (".yaml", ".yml"):
        path = BUILT_IN / f"{name_or_path}.yaml"
    try:
        body: Any = read_yaml(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError):
        return None  # the reader of other kinds of detectors says what is wrong
    if not isinstance(body, dict) or body.get("kind") != KIND:
        return None
    try:
        return BehaviourDetector.model_validate(body)
    except ValidationError as problem:
        problems = [f"{'.'.join(str(p) for p in e['loc']) or 'detector'}: {e['msg']}" for e in problem.errors()]
        raise DetectorError(f"{path}: {'; '.join(problems)}") from problem
