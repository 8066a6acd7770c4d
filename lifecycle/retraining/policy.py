"""The retraining policy: when a model is trained again, on what, what a challenger must show, and what it may cost. Text in, values out.

One YAML file for a model; docs/reference/retraining.md has it whole, with comments. What a policy leads to is decide.py's."""

import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from lifecycle.datasets.time_zone import TimeZone
from lifecycle.monitoring.alarm import AlarmKind, Severity
from lifecycle.retraining.errors import PolicyError
from lifecycle.retraining.schedule import CronError, check_cron
from lifecycle.yaml_text import read_yaml

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION: Final = re.compile(r"^([0-9]+[smhdw])+$")
_LONGEST_S: Final = 10 * 365 * 86400


def _seconds(value: Any) -> Any:
    """`1h30m`, `7d`, or a number of seconds, as whole seconds."""
    if isinstance(value, str):
        if not _DURATION.match(value):
            raise ValueError(f"is {value!r:.40}, expected a duration, e.g. 30m, 6h or 7d")
        return sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"([0-9]+)([smhdw])", value))
    return value


Seconds = Annotated[int, BeforeValidator(_seconds), Field(ge=0, le=_LONGEST_S)]
Count = Annotated[int, Field(ge=0, le=1_000_000_000)]
Margin = Annotated[float, Field(ge=0, lt=1)]
WhenUndecided = Literal["refuse", "as_seen", "pass"]
"""What becomes of a challenger at a gate that stays undecided."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True)


class _Timed(_Part):
    """What happens at the times of a cron expression."""

    cron: str
    """When, as five fields of cron: minute, hour, day of the month, month, day of the week."""
    timezone: TimeZone = "UTC"
    """Time zone of the cron expression, e.g. `Europe/Prague`."""

    @field_validator("cron")
    @classmethod
    def _readable(cls, value: str) -> str:
        try:
            check_cron(value)
        except CronError as problem:
            raise ValueError(str(problem)) from problem
        return value


class Scheduled(_Timed):
    """Trains at fixed times, whatever was seen."""

    cron: str = "0 3 * * 1"
    """When, as five fields of cron: minute, hour, day of the month, month, day of the week."""
    min_new_labels: Count = 0
    """Least number of labels since the last training; with fewer the time passes unused."""


class OnDemand(_Part):
    """Trains when alarms of `vedette monitor` stand."""

    kinds: Annotated[tuple[AlarmKind, ...], Field(min_length=1)] = ("performance", "concept_drift", "coverage")
    """Kinds of alarms that ask for a training: data_drift, prediction_drift, concept_drift, performance, coverage."""
    severity: Severity = "major"
    """Least severity of an alarm that counts: minor or major."""
    persist: Seconds = 1800
    """How long an alarm must stand before it asks for a training."""
    clear_after: Seconds = 15 * 86400
    """How long an alarm stands after its last report, unless another revision serves before. `vedette monitor` reports a change once,
    and a fall of performance again after 15 days. A report that comes later is a new alarm."""
    min_new_labels: Count = 50
    """Least number of labels since the last training. An alarm that a training has answered asks again only with so many more."""

    @model_validator(mode="after")
    def _can_persist(self) -> Self:
        if self.persist >= self.clear_after:
            raise ValueError(
                "persist is not shorter than clear_after, so no alarm could ever start a training; make clear_after longer"
            )
        return self


class Incremental(_Timed):
    """Continues the champion: a few more trees on the newest labels and a sample of the base rows. Each increment is a bundle."""

    cron: str = "0 * * * *"
    """When, as five fields of cron: minute, hour, day of the month, month, day of the week."""
    min_new_labels: Annotated[Count, Field(ge=1)] = 20
    """Least number of labels since the last training."""
    trees: Annotated[int, Field(ge=1, le=1000)] = 10
    """Trees that one increment adds to each member of the model."""
    replay_rows: Count = 5000
    """Base rows that are trained on beside the new labels, drawn anew for each increment, so that what was learned is kept."""
    max_trees: Annotated[int, Field(ge=1, le=100_000)] = 600
    """Most trees of a member. A model that would get more is left to the other strategies."""


class Active(_Part):
    """Trains when enough of what the labelling queue asked for was labelled."""

    min_new_labels: Annotated[Count, Field(ge=1)] = 200
    """Labels since the last training that start one."""


class Strategies(_Part):
    """When to train. Each of the four may be set; those that are left out are off."""

    scheduled: Scheduled | None = None
    """At fixed times."""
    on_demand: OnDemand | None = None
    """When performance falls or drift is found."""
    incremental: Incremental | None = None
    """Continue the champion in small steps."""
    active: Active | None = None
    """When the labelling budget has brought enough labels."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if not any((self.scheduled, self.on_demand, self.incremental, self.active)):
            raise ValueError("no strategy is set; write at least one of scheduled, on_demand, incremental, active")
        return self


class RetrainingBudget(_Part):
    """What retraining may cost in any seven days."""

    trainings_a_week: Count = 7
    """Full trainings."""
    increments_a_week: Count = 168
    """Increments."""
    compute_a_week: Seconds = 7200
    """Processor time of trainings, increments and challenges."""
    first_training: Seconds = 120
    """Processor time that is assumed of a training before one was measured."""
    labels_a_week: Count = 500
    """Labels that the queue may ask analysts for."""


class LabelUse(_Part):
    """How analysts' labels become training rows. The base rows are kept; labelled rows are added."""

    max_age: Seconds = 90 * 86400
    """Labels of events that are older are not used."""
    most_rows: Annotated[Count, Field(ge=1)] = 20_000
    """Most labelled rows; the newest are taken."""
    least_rows: Annotated[Count, Field(ge=2)] = 20
    """Least labelled rows; with fewer nothing is trained."""
    min_sureness: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Least sureness of a label."""
    weight: Annotated[float, Field(gt=0, le=1000)] = 5.0
    """What a labelled row counts for beside a base row when the model is fitted, before the factor below. It is the same however the row
    was selected for labelling."""
    inclusion_cap: Annotated[float, Field(ge=1, le=10_000)] = 20.0
    """Most that a row counts for when thresholds are chosen and challengers judged: the inverse of its inclusion probability, capped."""
    false_alarm_weight: Annotated[float, Field(ge=1, le=1000)] = 3.0
    """Factor for alerts that an analyst calls benign."""
    false_alarm_cap: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Most that all labelled false alarms together count for, as a share of what all benign rows count for."""


class NewestGate(_Part):
    """Gate on the newest labelled rows, which neither model was trained on."""

    share: Annotated[float, Field(gt=0, lt=0.9)] = 0.3
    """Share of the labelled rows, the newest, that are held out."""
    least_attacks: Annotated[Count, Field(ge=1)] = 10
    """Fewer attacks, or benign rows, are not judged."""
    recall_margin: Margin = 0.05
    """How much lower the challenger's recall may be, as an absolute difference."""
    false_alarm_margin: Margin = 0.05
    """How much higher the challenger's share of benign rows that alert may be."""
    undecided: WhenUndecided = "refuse"
    """What becomes of a challenger for which these rows are too few to decide. `refuse`: it does not pass. `as_seen`: it passes unless it
    did worse than the margin on these rows. `pass`: only evidence stops it, and the rollout decides the rest. Unset: `refuse`."""


class KeptGate(_Part):
    """Gate on the test part of the base rows, which neither model was trained on."""

    recall_margin: Margin = 0.05
    """How much lower the challenger's recall may be, as an absolute difference."""
    false_alarm_margin: Margin = 0.02
    """How much higher the challenger's share of benign rows that alert may be."""
    undecided: WhenUndecided = "refuse"
    """What becomes of a challenger for which these rows are too few to decide. `refuse`: it does not pass. `as_seen`: it passes unless it
    did worse than the margin on these rows. `pass`: only evidence stops it, and the rollout decides the rest. Unset: `refuse`."""


class Families(_Part):
    """Gate on each attack family: what the champion finds, the challenger may not lose."""

    found_from: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Recall from which on the champion counts as finding a family."""
    margin: Margin = 0.15
    """How much lower the challenger's recall of a family may be."""
    undecided: WhenUndecided = "as_seen"
    """What becomes of a family with too few attacks to decide. `as_seen`: it stops a challenger that did lose more than the margin on
    these rows. `refuse`: it stops every challenger. `pass`: it stops none, and the rollout decides the rest. Unset: `as_seen`."""


class LeftOut(_Part):
    """Gate on attack types that neither model has seen: both recipes are fitted again without each family, and judged on it."""

    most_families: Annotated[int, Field(ge=0, le=50)] = 3
    """Most families that are left out in turn, those with the most attacks; 0: this gate is off."""
    margin: Margin = 0.25
    """How much lower the challenger's recall of a family that it has not seen may be."""


class BundleBudget(_Part):
    """What the challenger's bundle may cost. Its schema, golden outputs and lineage are checked too, as by `vedette gate`."""

    run_ms: Annotated[float, Field(gt=0, le=60_000)] = 5.0
    """The longest median run of its first golden case, in milliseconds of this machine."""
    megabytes: Annotated[float, Field(gt=0, le=100_000)] = 200.0
    """The largest size of all its files together."""


class ChallengeRules(_Part):
    """What a challenger must show before a rollout starts. A gate that stays undecided does not pass, except where it says so."""

    bundle: BundleBudget = BundleBudget()
    """What the bundle itself may cost. Its schema, golden outputs and lineage are checked too, as `vedette gate` does."""
    newest: NewestGate = NewestGate()
    """The newest labelled rows."""
    kept: KeptGate = KeptGate()
    """The test part of the base rows."""
    families: Families = Families()
    """Each attack family."""
    left_out: LeftOut = LeftOut()
    """Attack types that neither model has seen."""
    draws: Annotated[int, Field(ge=200, le=100_000)] = 1000
    """Draws of the paired bootstrap that gives the bounds."""


class RetrainingPolicy(_Part):
    """A policy file."""

    strategies: Strategies
    """When to train."""
    cool_down: Seconds = 6 * 3600
    """Least time between the starts of two full trainings."""
    budget: RetrainingBudget = RetrainingBudget()
    """What retraining may cost."""
    labels: LabelUse = LabelUse()
    """How labels become training rows."""
    challenge: ChallengeRules = ChallengeRules()
    """What a challenger must show."""
    rollout: str | None = None
    """Steps of the rollout: the name of a RolloutPolicy, or a file with one, beside this file. Unset: the service's own steps, which
    begin with the mirror unless it has others."""


def read_policy(path: Path) -> RetrainingPolicy:
    """Read a policy file. Raises PolicyError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise PolicyError(f"{path}: cannot be read: {problem}") from problem
    return parse_policy(text, where=str(path))


def parse_policy(text: str, *, where: str) -> RetrainingPolicy:
    """Parse the text of a policy file. where: what messages call it. Raises PolicyError."""
    try:
        body = read_yaml(text)
    except yaml.YAMLError as problem:
        raise PolicyError(f"{where}: is not YAML: {problem}") from problem
    if not isinstance(body, dict):
        raise PolicyError(f"{where}: is not a policy; `vedette retrain policy` prints a complete one")
    try:
        return RetrainingPolicy.model_validate(body)
    except ValidationError as problem:
        wrong = "; ".join(
            f"{'.'.join(map(str, error['loc'])) or 'the file'}: {error['msg'].removeprefix('Value error, ')}"
            for error in problem.errors()
        )
        raise PolicyError(f"{where}: {wrong}; docs/reference/retraining.md has every field") from problem
