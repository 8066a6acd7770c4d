"""How a service is scaled: bounds, targets, windows of the week, how fast. The contract of the autoscaling core.

Pure: frozen values that exist only if they are valid; camelCase outside. operators.autoscaling.decide applies them;
operators.autoscaling.schedule says when a window is open."""

from datetime import UTC, datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from pydantic import Field, field_validator, model_validator

from operators.values import Duration, RuleBroken, Value, format_duration, quoted

ReplicaBound = Annotated[int, Field(ge=0, le=1000)]


class ScheduleWindow(Value):
    """A recurring period with bounds of its own: the working day, a nightly batch, a patch day."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}$", max_length=31)]
    """Name of the window in reasons and in `vedette scale schedule`."""
    start: Annotated[str, Field(min_length=9, max_length=100)]
    """When it opens: a cron expression of five fields (minute, hour, day of month, month, day of week), e.g. `0 8 * * MON-FRI`."""
    duration: Duration
    """How long it stays open, e.g. `10h`; 1 minute to 7 days."""
    time_zone: Annotated[str, Field(min_length=1, max_length=64)] = "UTC"
    """Time zone of `start`, e.g. `Europe/Rome`; summer time is followed as cron does."""
    min_replicas: ReplicaBound | None = None
    """Minimum number of replicas while the window is open, if it is higher than the service's own. It applies `startUp` before the window
    opens."""
    max_replicas: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Maximum number of replicas while the window is open."""

    @field_validator("start")
    @classmethod
    def _is_cron(cls, value: str) -> str:
        try:
            if len(value.split()) != 5:
                raise CronSimError("expected five fields")
            next(CronSim(value, datetime(2024, 1, 1, tzinfo=UTC)))
        except (CronSimError, StopIteration) as problem:
            why = str(problem) or "it names no moment"
            raise ValueError(f"is {value!r}, which is not a cron expression ({why}); write e.g. 0 8 * * MON-FRI") from problem
        return value

    @field_validator("time_zone")
    @classmethod
    def _is_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ValueError, OSError, KeyError) as problem:  # unknown is a KeyError, a folder of zones an OSError
            raise ValueError(
                f"is {value!r}, which is not a time zone of the IANA database; write e.g. UTC or Europe/Rome"
            ) from problem
        return value

    @field_validator("duration")
    @classmethod
    def _is_a_week_at_most(cls, value: timedelta) -> timedelta:
        if not timedelta(minutes=1) <= value <= timedelta(days=7):
            raise ValueError("is outside 1m to 7d; write a window that is always open as minReplicas and maxReplicas instead")
        return value

    @model_validator(mode="after")
    def _says_something(self) -> "ScheduleWindow":
        low, high = self.min_replicas, self.max_replicas
        if low is None and high is None:
            raise ValueError(f"window {self.name!r} changes nothing; give it minReplicas, maxReplicas or both")
        if low is not None and high is not None and low > high:
            raise RuleBroken(f"is {low}, above maxReplicas {high}; write bounds that contain a number", "minReplicas")
        return self


class StepLimit(Value):
    """Maximum change of the count within any period of `per`: the larger of `replicas` and `percent`."""

    replicas: Annotated[int, Field(ge=1, le=1000)]
    """Replicas added or removed."""
    percent: Annotated[float, Field(ge=0, le=1000)]
    """Percentage of the count at the beginning of the period."""
    per: Duration = timedelta(seconds=15)
    """Length of the period, at most 1 hour."""

    @field_validator("per")
    @classmethod
    def _is_short(cls, value: timedelta) -> timedelta:
        if not timedelta(seconds=1) <= value <= timedelta(hours=1):
            raise RuleBroken(f"is {format_duration(value)}, expected a duration of 1s to 1h; write e.g. 15s or 5m")
        return value


class ScalingSpec(Value):
    """How the number of replicas follows the load. The autoscaler then owns the number; nothing else may set it."""

    min_replicas: ReplicaBound = 1
    """Minimum number of replicas. 0: scale to zero after `idle` if the backend can wake the service up again, else it counts as 1."""
    max_replicas: Annotated[int, Field(ge=1, le=1000)] = 4
    """Maximum number of replicas. It also limits setReplicas of a rollout."""
    target_ongoing_requests: Annotated[float, Field(gt=0, le=100_000)] = 8.0
    """Target for the requests under way in one replica, averaged over `lookBack`."""
    latency_objective: Duration | None = None
    """Objective for the 99th percentile of the latency. A busy service over it gets more replicas. A busy service close to it keeps its
    replicas."""
    stream_lag: Annotated[float, Field(gt=0, le=1e9)] | None = None
    """Target for the events waiting in the stream for each replica; unset: the stream does not count."""
    schedule: Annotated[tuple[ScheduleWindow, ...], Field(max_length=16)] = ()
    """Windows with their own bounds. If several are open, the highest minimum and the lowest maximum apply. A minimum takes precedence
    over a maximum."""
    tolerance: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Tolerance around the target, as a ratio. A load within it does not change the count."""
    look_back: Duration = timedelta(seconds=15)
    """Time over which the load is averaged, so that a single look does not change the count."""
    start_up: Duration = timedelta(seconds=20)
    """Time until a new replica answers. A rising load is forecast by its trend this far ahead, and a window's minimum applies this much
    earlier. 0s: no forecast and no earlier start."""
    up_window: Duration = timedelta(0)
    """Stabilization: the count rises to the smallest value that was wanted within this time."""
    down_window: Duration = timedelta(minutes=5)
    """Stabilization: the count falls to the largest value that was wanted within this time."""
    up_limit: StepLimit = StepLimit(replicas=4, percent=100)
    """Maximum speed of growth."""
    down_limit: StepLimit = StepLimit(replicas=1, percent=25, per=timedelta(seconds=60))
    """Maximum speed of shrinking."""
    idle: Duration = timedelta(minutes=15)
    """With minReplicas 0: time without requests or waiting events after which the last replica is removed."""
    stale_after: Duration = timedelta(seconds=60)
    """Maximum age of a load measurement. An older one is ignored and the count stays."""

    @field_validator("look_back", "start_up", "up_window", "down_window")
    @classmethod
    def _is_remembered(cls, value: timedelta) -> timedelta:
        if value > timedelta(hours=1):
            raise RuleBroken(f"is {format_duration(value)}, expected a duration of 0s to 1h; write e.g. 30s or 5m")
        return value

    @model_validator(mode="after")
    def _bounds(self) -> "ScalingSpec":
        if self.min_replicas > self.max_replicas:
            raise RuleBroken(
                f"is {self.min_replicas}, above maxReplicas {self.max_replicas}; write bounds that contain a number",
                "minReplicas",
            )
        names = [w.name for w in self.schedule]
        if len(set(names)) != len(names):
            raise RuleBroken(f"windows {quoted(names)} repeat a name; name each once", "schedule")
        return self
