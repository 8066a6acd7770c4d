"""Two scrapes -> figures of each model and of the replicas together. Pure.

Rates and quantiles are of the time between the two scrapes: what the counters grew by. A replica that came in between is left out of them
until the next scrape, and so is one that left. Gauges are those of the later scrape. None: not known, or nothing happened."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from operators.backends.load import quantile_s
from operators.control.figures.scrape import MetricsScrape, SeriesKey
from operators.telemetry.monitor_names import OPEN as DRIFT_OPEN
from serving.telemetry.names import (
    AUDIT,
    AUDIT_FAILING,
    AUDIT_LAG,
    AUDIT_SIGNED,
    BREAKER_STATE,
    DEGRADED,
    FEATURE_AGE,
    MODEL_INFO,
    ONGOING,
    REFUSALS,
    REQUESTS,
    ROWS,
    SECONDS,
    VERDICT,
)

BREAKER_WORDS: Final = ("closed", "half-open", "open")


@dataclass(frozen=True, slots=True)
class ModelFigures:
    """One model, over its replicas, versions, variants and doors.

    replicas: that have it loaded. requests_per_s: answered ones. p50_ms, p99_ms: time in the service. failed_per_s: defects of the server.
    refused_per_s: the model's requests that were refused. alerts_per_s: rows with the verdict alert. degraded_ratio: of the rows, 0 to 1.
    feature_age_p50_s, feature_age_p99_s: of the oldest stored value of an answer. variants: answered requests a second of each."""

    replicas: int = 0
    requests_per_s: float | None = None
    rows_per_s: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    failed_per_s: float | None = None
    refused_per_s: float | None = None
    alerts_per_s: float | None = None
    degraded_ratio: float | None = None
    feature_age_p50_s: float | None = None
    feature_age_p99_s: float | None = None
    variants: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LogFigures:
    """The prediction log. lag_s: age of the oldest record that is not on the disk. None: no replica says."""

    is_signed: bool | None = None
    is_failing: bool | None = None
    lag_s: float | None = None
    written_per_s: float | None = None
    lost_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class PlaneFigures:
    """All replicas together. over_s: the time between the two scrapes; None: there is one scrape only, so no rate is known.

    refusals_per_s: by reason, those above 0. breakers: the worst state of each dependency. drift_open: open alarms by (model, severity),
    where a page of a monitor was read. away: addresses that gave no page, and why."""

    at: datetime
    over_s: float | None = None
    replicas: int = 0
    ongoing: float = 0.0
    models: Mapping[str, ModelFigures] = field(default_factory=dict)
    refusals_per_s: Mapping[str, float] = field(default_factory=dict)
    breakers: Mapping[str, str] = field(default_factory=dict)
    log: LogFigures = LogFigures()
    drift_open: Mapping[tuple[str, str], int] = field(default_factory=dict)
    away: tuple[str, ...] = ()

    @property
    def requests_per_s(self) -> float | None:
        """Answered requests a second, of all models."""
        return None if self.over_s is None else sum(m.requests_per_s or 0.0 for m in self.models.values())


def figures_between(before: MetricsScrape | None, after: MetricsScrape) -> PlaneFigures:
    """The figures. before: an earlier scrape of the same control plane; None, or one that is not earlier: no rate is known."""
    over_s = None if before is None else (after.at - before.at).total_seconds()
    is_rated = over_s is not None and over_s > 0 and bool(before and before.replicas) and bool(after.replicas)
    grown = _Growth(before if is_rated else None, after, over_s if is_rated and over_s is not None else 1.0)
    gauges = _Gauges(after)
    models = {labels["model"] for name in (MODEL_INFO.name, REQUESTS.name) for _, labels, _ in gauges.of(name)}
    return PlaneFigures(
        at=after.at,
        over_s=over_s if is_rated else None,
        replicas=len(after.replicas),
        ongoing=sum(value for _, _, value in gauges.of(ONGOING.name)),
        models={name: _model(name, grown, gauges) for name in sorted(models) if not name.startswith("_")},
        refusals_per_s={reason: rate for reason, rate in sorted(grown.by(REFUSALS.name, "reason").items()) if rate > 0},
        breakers=_breakers(gauges),
        log=_log(grown, gauges),
        drift_open=_drift(gauges),
        away=after.away,
    )


class _Gauges:
    """The samples of one scrape, by name."""

    def __init__(self, scrape: MetricsScrape) -> None:
        self._found: defaultdict[str, list[tuple[str, dict[str, str], float]]] = defaultdict(list)
        for (replica, name, labels), value in scrape.values.items():
            self._found[name].append((replica, dict(labels), value))

    def of(self, name: str) -> list[tuple[str, dict[str, str], float]]:
        """(replica, labels, value) of each sample."""
        return self._found.get(name, [])


class _Growth:
    """By how much a second each counter grew. Empty where there is no earlier scrape."""

    def __init__(self, before: MetricsScrape | None, after: MetricsScrape, seconds: float) -> None:
        self.is_known = before is not None
        self._found: defaultdict[str, list[tuple[dict[str, str], float]]] = defaultdict(list)
        for key, rate in _grown(before, after, seconds) if before is not None else ():
            self._found[key[1]].append((dict(key[2]), rate))

    def where(self, name: str, is_wanted: Callable[[dict[str, str]], bool]) -> float | None:
        """Sum over the series that are wanted; None: no rate is known."""
        return sum(rate for labels, rate in self._found[name] if is_wanted(labels)) if self.is_known else None

    def by(self, name: str, label: str, **of: str) -> dict[str, float]:
        """Sums by the value of a label, over the series with the labels `of`."""
        sums: defaultdict[str, float] = defaultdict(float)
        for labels, rate in self._found[name]:
            if all(labels.get(key) == value for key, value in of.items()):
                sums[labels.get(label, "")] += rate
        return dict(sums)

    def quantile_s(self, name: str, q: float, **of: str) -> float | None:
        """Of a histogram; None: nothing was observed."""
        buckets = {_bound(le): rate for le, rate in self.by(f"{name}_bucket", "le", **of).items()}
        return quantile_s(buckets, q)


def _grown(before: MetricsScrape, after: MetricsScrape, seconds: float) -> Iterator[tuple[SeriesKey, float]]:
    known = before.replicas
    for key, value in after.values.items():
        if key[0] in known:
            yield key, max(0.0, value - before.values.get(key, 0.0)) / seconds


def _bound(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("inf")


def _model(name: str, grown: _Growth, gauges: _Gauges) -> ModelFigures:
    def of(**more: str) -> Callable[[dict[str, str]], bool]:
        wanted = {"model": name, **more}
        return lambda labels: all(labels.get(key) == value for key, value in wanted.items())

    loaded = {replica for replica, labels, _ in gauges.of(MODEL_INFO.name) if labels.get("model") == name}
    if not grown.is_known:
        return ModelFigures(len(loaded))
    rows, degraded = grown.where(ROWS.name, of()), grown.where(DEGRADED.name, of())
    total = {"model": name, "stage": "total"}
    p50, p99 = (grown.quantile_s(SECONDS.name, q, **total) for q in (0.5, 0.99))
    return ModelFigures(
        replicas=len(loaded),
        requests_per_s=grown.where(REQUESTS.name, of(outcome="ok")),
        rows_per_s=rows,
        p50_ms=None if p50 is None else p50 * 1000,
        p99_ms=None if p99 is None else p99 * 1000,
        failed_per_s=grown.where(REQUESTS.name, of(outcome="failed")),
        refused_per_s=grown.where(REQUESTS.name, of(outcome="refused")),
        alerts_per_s=grown.where(VERDICT.name, of(verdict="alert")),
        degraded_ratio=min(1.0, (degraded or 0.0) / rows) if rows else None,
        feature_age_p50_s=grown.quantile_s(FEATURE_AGE.name, 0.5, model=name),
        feature_age_p99_s=grown.quantile_s(FEATURE_AGE.name, 0.99, model=name),
        variants=dict(sorted(grown.by(REQUESTS.name, "variant", model=name, outcome="ok").items())),
    )


def _breakers(gauges: _Gauges) -> dict[str, str]:
    worst: dict[str, int] = {}
    for _, labels, value in gauges.of(BREAKER_STATE.name):
        dependency = labels.get("dependency", "")
        worst[dependency] = max(worst.get(dependency, 0), min(int(value), len(BREAKER_WORDS) - 1))
    return {dependency: BREAKER_WORDS[state] for dependency, state in sorted(worst.items())}


def _log(grown: _Growth, gauges: _Gauges) -> LogFigures:
    def values(name: str) -> list[float]:
        return [value for _, _, value in gauges.of(name)]

    signed, failing, lag = values(AUDIT_SIGNED.name), values(AUDIT_FAILING.name), values(AUDIT_LAG.name)
    by = grown.by(AUDIT.name, "outcome")
    return LogFigures(
        is_signed=min(signed) > 0 if signed else None,
        is_failing=max(failing) > 0 if failing else None,
        lag_s=max(lag) if lag else None,
        written_per_s=by.get("written", 0.0) if grown.is_known else None,
        lost_per_s=by.get("dropped", 0.0) + by.get("refused", 0.0) if grown.is_known else None,
    )


def _drift(gauges: _Gauges) -> dict[tuple[str, str], int]:
    found: defaultdict[tuple[str, str], int] = defaultdict(int)
    for _, labels, value in gauges.of(DRIFT_OPEN.name):
        found[labels.get("model", ""), labels.get("severity", "")] += int(value)
    return {key: count for key, count in sorted(found.items()) if count}


def plain_figures(figures: PlaneFigures) -> dict[str, Any]:
    """The figures as JSON has them, without the models (they stand beside their services) and the drift alarms."""
    log = figures.log
    return {
        "at": figures.at.isoformat(timespec="milliseconds"),
        "over_s": figures.over_s,
        "replicas": figures.replicas,
        "ongoing": figures.ongoing,
        "requests_per_s": figures.requests_per_s,
        "refusals_per_s": dict(figures.refusals_per_s),
        "breakers": dict(figures.breakers),
        "log": {
            "is_signed": log.is_signed, "is_failing": log.is_failing, "lag_s": log.lag_s,
            "written_per_s": log.written_per_s, "lost_per_s": log.lost_per_s,
        },
        "away": list(figures.away),
    }  # fmt: skip
