"""The breakers, bulkheads, admission and prediction cache of one replica, as one object.

The limits of each kind of breaker are here, with their reasons."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from serving.cache.predictions import Predictions
from serving.resilience.admission import Admission
from serving.resilience.breaker import NAMES, BreakerLimits, Breakers, BreakerState, Guard
from serving.resilience.bulkhead import Bulkheads
from serving.telemetry import names
from serving.telemetry.metric_doc import MetricDoc

_SLOW_SHARE: Final = 0.8
"""Share of its time slice after which a read counts as slow: a store that is nearly always this slow is about to time out."""
_MODEL_SLOW_SHARE: Final = 0.25
"""Share of the default deadline after which a run counts as slow. It is less than a variant's share, so that an abandoned run counts as
slow."""


_NO_GUARD: Final = Guard("nobody", BreakerLimits(slow_s=0.0), instead="")


@dataclass(slots=True)
class Protection:
    """The breakers, bulkheads, admission and cache that protect one replica. bulkheads: None where every model runs on the loop.
    admission: None where no loop refuses (tests, batch). refused_late: requests
    whose time was over or too short. refused_by_breaker: requests refused because a model's breaker was open. refused_unrecorded:
    answers that were not given because their records were not durable. Counters are the loop's."""

    breakers: Breakers
    bulkheads: Bulkheads | None
    default_deadline_s: float
    feature_timeout_s: float
    are_breakers_on: bool = True
    admission: Admission | None = None
    predictions: Predictions | None = None
    refused_late: int = 0
    refused_by_breaker: int = 0
    refused_unrecorded: int = 0
    last_guard: tuple[object, Guard] = (None, _NO_GUARD)
    """The revision whose guard was asked last, and that guard; VariantRunner looks here first."""
    node_states: Callable[[], Mapping[str, BreakerState]] = dict
    """The breakers of single nodes of a feature store, for the metric: `features/shard-1/master`."""
    _models: dict[tuple[str, str, str, str], Guard] = field(default_factory=dict)

    def features(self) -> Guard:
        """A guard around the read of features. Probes are cheap (one connection carries them all), so it probes again soon. Values are used
        again at most two seconds after the store is back."""
        limits = BreakerLimits(
            slow_s=_SLOW_SHARE * self.feature_timeout_s, slow_ratio=0.9, cooldown_s=0.25, most_cooldown_s=2.0
        )
        return self.breakers.new(
            "features", self._limits(limits), instead="rules answer where a bundle has them, else defaults"
        )

    def cache(self, slow_s: float) -> Guard:
        """Around a look-up in the prediction cache."""
        limits = BreakerLimits(slow_s=slow_s, cooldown_s=0.5, most_cooldown_s=5.0)
        return self.breakers.new("cache", self._limits(limits), instead="every request is a miss")

    def model(self, name: str, version: str, variant: str, revision: str) -> Guard:
        """A guard around the runs of one variant. Another revision under its name starts a new breaker. Errors of the input never count."""
        key = (name, version, variant, revision)
        return self._models.get(key) or self._new_guard(key)

    def keep(self, loaded: Iterable[tuple[str, str, str, str]]) -> None:
        """Forget the models that are not loaded any more: (name, version, variant, revision) each of those that are."""
        kept = set(loaded)
        self.last_guard = (None, _NO_GUARD)
        self._models = {key: guard for key, guard in self._models.items() if key in kept}
        names_ = {"/".join(key[:3]) for key in kept}
        self.breakers.keep("model:", [f"model:{name}" for name in names_])
        if self.bulkheads is not None:
            self.bulkheads.keep(names_)
        if self.predictions is not None:
            self.predictions.keep({key[0] for key in kept})

    def degraded(self) -> tuple[str, ...]:
        """The open breakers and what happens instead, a line each."""
        return self.breakers.degraded()

    def metrics(self) -> Iterator[tuple[MetricDoc, Mapping[tuple[str, ...], float]]]:
        """Values for a scrape, which reads in a thread while the loop changes them; a telemetry.metrics.Source."""
        states, changes = self.breakers.states(), dict(self.breakers.changes)
        yield names.BREAKER_STATE, {(name,): float(state) for name, state in {**states, **self.node_states()}.items()}
        yield names.BREAKER_CHANGES, {key: float(n) for key, n in changes.items()} | _unseen_changes(states, changes)
        early = self.admission.refused if self.admission is not None else {}
        refused = {
            **early,
            "queue": self.bulkheads.refused if self.bulkheads is not None else 0,
            "late": self.refused_late,
            "breaker": self.refused_by_breaker,
            "record": self.refused_unrecorded,
        }
        yield names.REFUSALS, {(reason,): float(n) for reason, n in refused.items()}
        running = {} if self.bulkheads is None else self.bulkheads.under_way()
        yield names.RUNS_UNDER_WAY, {tuple(name.rsplit("/", 2)): float(n) for name, n in running.items()}
        kept = self.predictions
        yield names.CACHE_REQUESTS, {} if kept is None else {key: float(n) for key, n in dict(kept.requests).items()}
        yield names.CACHE_SAVED, {} if kept is None else {(model,): s for model, s in kept.saved_s.copy().items()}

    def _new_guard(self, key: tuple[str, str, str, str]) -> Guard:
        name, version, variant, _ = key
        limits = BreakerLimits(slow_s=_MODEL_SLOW_SHARE * self.default_deadline_s, cooldown_s=1.0, most_cooldown_s=30.0)
        instead = "rules answer if the bundle has them, else 503" if variant == "stable" else "stable answers instead"
        guard = self.breakers.new(f"model:{name}/{version}/{variant}", self._limits(limits), instead=instead)
        self._models[key] = guard
        return guard

    def _limits(self, limits: BreakerLimits) -> BreakerLimits:
        """A ratio over 1 is never reached."""
        return limits if self.are_breakers_on else replace(limits, failure_ratio=2.0, slow_ratio=2.0)


def _unseen_changes(states: Iterable[str], changes: Mapping[tuple[str, str], int]) -> dict[tuple[str, ...], float]:
    """A counter begins at 0, or a query for a rate misses its first change."""
    return {(name, state): 0.0 for name in states for state in NAMES.values() if (name, state) not in changes}


def unprotected(default_deadline_s: float = 2.0, feature_timeout_s: float = 0.05) -> Protection:
    """Breakers that never open, and every model on the loop: for a Scorer without a server around it (batch, tests)."""
    return Protection(Breakers(), None, default_deadline_s, feature_timeout_s, are_breakers_on=False)
