"""Operating points: how often a promised floor fails, by draws of validation data whose truth is known.

`with-confidence` is the rule that is used, at 95 %; `best-f1-before` the rule before it; `just-met` takes what a requirement is just met at
on the validation rows; `rows-as-independent` is the rule that is used, blind to hosts. `independent`: rows are draws of their own.
`clustered`: rows of one host have half of their variance in common. A draw counts as failed when a threshold was promised and its true
figure is below the bound. 500 draws a round; nothing is timed."""

from typing import Final

from loadtests.bench import targets
from loadtests.bench.report import Row, row
from loadtests.bench.worlds.known_truth import CLUSTERED, FLOORS, INDEPENDENT, RULES, failures

IS_LONG: Final = True
DRAWS: Final = 500
ALLOWED_PERCENT: Final = 8.0
"""delta, plus three points for chance."""


def run(*, quick: bool, rounds: int) -> list[Row]:
    """Measure. quick: 20 draws."""
    draws, found = 20 if quick else DRAWS, []
    for world in (INDEPENDENT, CLUSTERED):
        for name, rule in RULES.items():
            each = [failures(world, draws=draws, seed=100 + i, rule=rule) for i in range(1 if quick else min(rounds, 2))]
            for floor in FLOORS:
                figures = [one[floor.measure] for one in each]
                path = f"points/{name}/{world.name}/{floor.measure}"
                target = targets.value("<=", ALLOWED_PERCENT) if name == "with-confidence" else None
                found.append(row(f"{path}/failed", [100 * f.failed / draws for f in figures], "% of draws", target=target))
                found.append(row(f"{path}/promised", [100 * f.held / draws for f in figures], "% of draws"))
                found.append(row(f"{path}/false alarms", [100 * f.false_alarm_rate for f in figures], "% of benign rows"))
    return found
