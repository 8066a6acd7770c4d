"""The number of users over the time of a load test, as stages. users.py has the users."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from locust import LoadTestShape


@dataclass(frozen=True, slots=True)
class Stage:
    """Until `until_s` seconds after the start there are `users`; they start and stop at `per_s` a second."""

    until_s: float
    users: int
    per_s: float


STAGES: Final[Mapping[str, tuple[Stage, ...]]] = MappingProxyType(
    {
        # A step is long enough to show whether the latency settles; the last goes back to see whether it recovers.
        "steps": (Stage(30, 4, 4), Stage(60, 8, 4), Stage(90, 16, 8), Stage(120, 32, 16), Stage(150, 4, 32)),
        # An outbreak: ten times the traffic at once.
        "spike": (Stage(30, 4, 4), Stage(60, 40, 40), Stage(120, 4, 40)),
    }
)


def stage_at(stages: Sequence[Stage], run_s: float) -> Stage | None:
    """The stage that holds run_s seconds after the start; None when the test is over.

    >>> stage_at(STAGES["spike"], 45).users
    40
    """
    return next((s for s in stages if run_s < s.until_s), None)


class Stages(LoadTestShape):  # type: ignore[misc]  # Locust has no types
    """Locust's view of a row of stages."""

    abstract = True
    stages: tuple[Stage, ...] = ()

    def tick(self) -> tuple[int, float] | None:
        """Users and spawn rate now; None ends the test."""
        stage = stage_at(self.stages, self.get_run_time())
        return None if stage is None else (stage.users, stage.per_s)
