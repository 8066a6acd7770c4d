"""Late and selected labels: how often 95 % intervals of precision, recall and F1 hold the truth, by replays whose truth is known.

`weighted` is the rule that is used: inverse probabilities, delays, draws of both strata. `naive` takes the labels that are in as they
are; `unlabelled as benign` takes every row without a label for benign. Each replay is a stream of fourteen days of its own; the day that is
judged is four days old. `alarm`: of streams that are watched for 90 days, how many raise an alarm, and the median day of those whose model
is worse from the first day on. 500 replays a world, 200 streams; nothing is timed."""

from typing import Final

import numpy as np

from loadtests.bench import targets
from loadtests.bench.report import Row, row, unmeasured
from loadtests.bench.worlds.late_labels import PLAIN, WORLDS, own_figures, replay, watch

IS_LONG: Final = True
REPLAYS: Final = 500
STREAMS: Final = 200
LEAST_PERCENT: Final = 93.0
MOST_PERCENT: Final = 5.0
_DAYS: Final = 90


def run(*, quick: bool, rounds: int) -> list[Row]:
    """Measure. quick: 40 replays and 5 streams of 20 days."""
    del rounds  # one round has all the replays
    return [*_coverage(40 if quick else REPLAYS), *_alarms(5 if quick else STREAMS, 20 if quick else _DAYS)]


def _coverage(replays: int) -> list[Row]:
    found = []
    for world in WORLDS:
        for rule, figures in replay(world, replays=replays, seed=100).items():
            for name, one in figures.items():
                path = f"late_labels/{rule}/{world.name}/{name}"
                target = targets.value(">=", LEAST_PERCENT) if rule == "weighted" else None
                if not one.given:  # what never gives an interval holds nothing
                    why = f"none of {replays} replays gave an interval"
                    found.append(unmeasured(f"{path}/held", why, unit="% of replays", target=target))
                else:
                    found.append(row(f"{path}/held", [100 * one.held / one.given], "% of replays", target=target))
                    found.append(row(f"{path}/width", [one.width], ""))
    return found


def _alarms(streams: int, days: int) -> list[Row]:
    found = []
    for subject in ("precision", "recall"):
        for name, factor in (
            ("unchanged", 1.0),
            ("at the bound", 1 / 0.95),
            ("a tenth lower", 1 / 0.9),
            ("a fifth lower", 1 / 0.8),
        ):
            own = own_figures(PLAIN, **{subject: factor})
            one = watch(PLAIN, PLAIN, own, subject=subject, changes_day=0, days=days, streams=streams, seed=3)
            path = f"late_labels/alarm/{subject}, {name}"
            target = targets.value("<=", MOST_PERCENT) if factor < 1 / 0.94 else None
            found.append(row(f"{path}/alarmed", [100 * one.alarmed / one.streams], "% of streams", target=target))
            if one.days:
                found.append(row(f"{path}/median", [float(np.median(one.days))], "days"))
    return found
