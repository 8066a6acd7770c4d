"""The page Service: what the replicas answer, how fast, on features of which age, what they refuse, and what is broken."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from starlette.responses import Response

from operators.console.drawing.lines import LineChart, line_chart
from operators.console.page import ConsolePage, LiveTopic, PageRoute, Visit
from operators.console.service.sampler import SPAN_S, ReplicaSampler, Sampled
from operators.console.site import Site
from operators.control.figures.rates import ModelFigures, PlaneFigures

MOST_ROWS: Final = 100
_KEPT: Final = "service.sampler"
_FIRST_LOOK_S: Final = 0.12
EVERY_S: Final = 5.0
"""Between two looks at the replicas, which make their pages of metrics beside the requests that they answer."""
Figure = Callable[[PlaneFigures], float | None]


def show(visit: Visit) -> Response:
    """The page. What takes longer than a moment to read comes with the first event."""
    wanted = visit.query.get("model", "")[:128]
    return visit.page("service/page.html.j2", wanted=wanted, **_values(sampler_of(visit.site).soon(_FIRST_LOOK_S), wanted))


def watched(site: Site, key: str) -> Mapping[str, str]:
    """The page's parts as they are now. key: a model; empty: all."""
    sampled = sampler_of(site).look()
    values = _values(sampled, key)
    parts = {
        f"service-{name}": site.fragment(f"service/{name}.html.j2", wanted=key, **values) for name in ("now", "lines", "models")
    }
    return parts | {"announce": _news(sampled)}


def sampler_of(site: Site) -> ReplicaSampler:
    """The console's one sampler."""
    found = site.kept.get(_KEPT)
    if not isinstance(found, ReplicaSampler):
        found = site.kept.setdefault(_KEPT, ReplicaSampler(lambda: _pages(site), site.clock))
    return found


def _pages(site: Site) -> Sequence[Any]:
    if site.store_dir is None and site.doors:
        from operators.control.figures.pages import named_pages

        return named_pages(site.doors)
    return site.control.replica_pages()


def _values(sampled: Sampled, wanted: str) -> dict[str, Any]:
    plane = sampled.newest
    models = {} if plane is None else {name: found for name, found in plane.models.items() if wanted in ("", name)}
    ordered = sorted(models.items(), key=lambda one: (-(one[1].requests_per_s or 0.0), one[0]))
    return {
        "plane": plane,
        "rows": ordered[:MOST_ROWS],
        "left_out": max(0, len(ordered) - MOST_ROWS),
        "chosen": models.get(wanted) if wanted else None,
        "charts": charts(sampled, wanted),
    }


def charts(sampled: Sampled, wanted: str) -> tuple[LineChart, ...]:
    """The last minutes of one model, or of all. Pure."""
    looks = sampled.looks
    if not looks:
        return ()
    ages = [(looks[-1].at - look.at).total_seconds() for look in looks]

    def series(name: str, figure: Figure) -> tuple[str, list[float | None]]:
        return name, [figure(look) if look.over_s is not None else None for look in looks]

    def of(field: str) -> Figure:
        return lambda look: _of_models(look, wanted, field)

    refused: Figure = (lambda look: sum(look.refusals_per_s.values())) if not wanted else of("refused_per_s")
    drawn = [
        ("Requests", "a second", [series("answered", of("requests_per_s"))]),
        ("Time in the service", "ms", [series("p50", of("p50_ms")), series("p99", of("p99_ms"))]),
        ("Refused and failed", "a second", [series("refused", refused), series("failed", of("failed_per_s"))]),
        ("Alerts", "rows a second", [series("alerts", of("alerts_per_s"))]),
        ("Age of features", "s", [series("p50", of("feature_age_p50_s")), series("p99", of("feature_age_p99_s"))]),
        ("Degraded rows", "%", [series("degraded", lambda look: _percent(_of_models(look, wanted, "degraded_ratio")))]),
    ]
    return tuple(line_chart(title, unit, ages, lines, SPAN_S) for title, unit, lines in drawn)


_SUMS: Final = frozenset({"requests_per_s", "failed_per_s", "refused_per_s", "alerts_per_s"})


def _of_models(look: PlaneFigures, wanted: str, field: str) -> float | None:
    """A figure of one model, or of all: rates add up, of the others the worst model's counts."""
    found = [_number(model, field) for name, model in look.models.items() if wanted in ("", name)]
    known = [value for value in found if value is not None]
    if field in _SUMS:
        return sum(known) if known else None
    return max(known, default=None)


def _number(model: ModelFigures, field: str) -> float | None:
    value: float | None = getattr(model, field)
    return value


def _percent(ratio: float | None) -> float | None:
    return None if ratio is None else 100 * ratio


def _news(sampled: Sampled) -> str:
    """What has become bad or good again since the look before; empty: nothing."""
    if len(sampled.looks) < 2 or sampled.newest is None:
        return ""
    before, now = sampled.looks[-2], sampled.newest
    said = [
        f"breaker {name} is {state}" for name, state in now.breakers.items() if before.breakers.get(name, "closed") != state
    ]
    if len(now.away) > len(before.away):
        said.append(f"no answer from {now.away[-1]}")
    return "; ".join(said)


PAGE: Final = ConsolePage(
    room="service",
    title="Service",
    path="/service",
    routes=(PageRoute("/service", show),),
    topics=(LiveTopic("service", watched, every_s=EVERY_S),),
)
