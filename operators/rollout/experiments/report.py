"""The report of an experiment: each variant's proportion by the experiment's metric, with intervals, and the winner if there is one.

Pure. People decide what follows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from operators.rollout.evidence import Tally
from operators.rollout.experiments.variants import revision_of, tally_key
from operators.rollout.judging import gates
from operators.rollout.spec import ExperimentSpec, Gate
from operators.rollout.status import ExperimentReport, RolloutStatus, VariantReport


@dataclass(frozen=True, slots=True)
class Intervals:
    """Functions that give anytime-valid intervals of rates and differences. proportion: (n, k, alpha). difference: (baseline's (n, k),
    variant's (n, k), alpha), of the variant's
    proportion less the baseline's."""

    proportion: Callable[[int, int, float], tuple[float, float]]
    difference: Callable[[tuple[int, int], tuple[int, int], float], tuple[float, float]]


def report(status: RolloutStatus, totals: Mapping[str, Tally], intervals: Intervals, now: datetime) -> ExperimentReport:
    """What the experiment shows so far. All pairwise differences hold together, at every look: each at alpha / number of pairs
    (union bound); so do all intervals of the single variants, for reading only.

    Raises ValueError if no experiment is under way."""
    spec, stable = status.experiment, status.stable
    if spec is None or stable is None:
        raise ValueError("no experiment is under way")
    gate = next((g for g in spec.analysis.gates if g.name is spec.metric), Gate(name=spec.metric))
    seen = {v.name: gates.live(totals.get(tally_key(spec, v, stable), Tally()), gate) for v in spec.variants}
    counts = {name: (count.n, count.k) for name, count in seen.items()}
    size, baseline = len(spec.variants), spec.variants[0].name
    alpha = spec.analysis.alpha / (size * (size - 1) / 2)

    def difference(one: str, other: str) -> tuple[float, float] | None:
        measured = counts[one][0] and counts[other][0]
        return intervals.difference(counts[other], counts[one], alpha) if measured else None

    found = tuple(
        VariantReport(
            name=v.name,
            revision=revision_of(v, stable).digest,
            n=n,
            k=k,
            rate=k / n if n else None,
            interval=intervals.proportion(n, k, spec.analysis.alpha / size) if n else None,
            difference=difference(v.name, baseline) if v.name != baseline else None,
            stopped=status.stopped.get(v.name),
        )
        for v in spec.variants
        for n, k in (counts[v.name],)
    )
    winner, reason = _winner(found, spec, difference)
    return ExperimentReport(
        metric=spec.metric,
        goal=spec.goal,
        started=status.split_since or status.started or now,
        at=now,
        variants=found,
        winner=winner,
        reason=reason,
    )


Difference = Callable[[str, str], tuple[float, float] | None]


def _winner(found: tuple[VariantReport, ...], spec: ExperimentSpec, difference: Difference) -> tuple[str | None, str]:
    """The variant that is better than every other by intervals that leave out 0, and that no guard stopped."""
    for one in found:
        others = [v.name for v in found if v is not one]
        if one.stopped is None and all(_is_better(difference(one.name, other), spec) for other in others):
            return one.name, f"{one.name} has the {spec.goal} {spec.metric}: {one.rate:.4g}, better than {', '.join(others)}"
    silent = [v.name for v in found if v.n == 0]
    if silent:
        return None, f"no winner yet: nothing was measured of {', '.join(silent)}"
    return None, f"no winner yet: the {spec.metric} of the variants may still be the same"


def _is_better(interval: tuple[float, float] | None, spec: ExperimentSpec) -> bool:
    """Whether the interval of a variant's difference to another lies wholly on the better side."""
    if interval is None:
        return False
    return interval[1] < 0 if spec.goal == "lower" else interval[0] > 0
