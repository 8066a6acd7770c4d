"""Memory of a replica over a day's swaps made quickly: with 5 bundles loaded, and with 10.

A day here: SWAPS changes (candidates with new thresholds, mirrored, weighed, promoted, taken back) and RELOADS of a model with its
probe, with requests between them. The replica is looked at after a warm-up and at the end, settled; sessions that are alive are
counted, not guessed."""

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import orjson

from loadtests.bench.load.results import output_of
from loadtests.bench.process import python
from loadtests.bench.report import Row, row
from loadtests.bench.targets import ratio, value
from loadtests.bench.vedette import decision
from loadtests.bench.workload import FEATURES, INPUT, tree_model

LOADED: Final = (5, 10)
SWAPS: Final = 1200
RELOADS: Final = 24
GROWTH: Final = 1.05
SECONDS_A_RELOAD: Final = 30.0
SECONDS_A_SWAP: Final = 0.5

Look = Mapping[str, float]


def run(*, quick: bool, rounds: int) -> list[Row]:
    """Play a day with each number of bundles. Raises BenchError if the replica fails."""
    swaps, reloads = (120, 4) if quick else (SWAPS, RELOADS)
    found: dict[int, list[tuple[Look, Look]]] = {}
    for _ in range(min(rounds, 2)):
        for loaded in LOADED[:1] if quick else LOADED:
            with tempfile.TemporaryDirectory(prefix="vedette-bench-") as folder:
                fill(Path(folder), loaded)
                looks = day(Path(folder), swaps, reloads)
            found.setdefault(loaded, []).append(looks)
            sys.stderr.write(f"memory, {loaded} bundles, {swaps} swaps, {reloads} reloads: {looks[0]} -> {looks[1]}\n")
    return list(rows(found))


def fill(folder: Path, bundles: int) -> None:
    """Fill a store with this many models, each with its own graph."""
    from serving.models.build import build_bundle
    from serving.models.store import BundleStore

    inputs = np.random.default_rng(3).standard_normal((4, FEATURES), dtype=np.float32)
    scores = np.linspace(0, 1, 100, dtype=np.float32)
    for number in range(bundles):
        bundle = build_bundle(
            folder / "drafts" / str(number),
            model=tree_model(number),
            golden_inputs={INPUT: inputs},
            name=f"model-{number}",
            version="1",
            **decision(scores),
        )
        BundleStore(folder).add(bundle)


def day(store: Path, swaps: int, reloads: int) -> tuple[Look, Look]:
    """Play a day in a process of its own; the looks after the warm-up and at the end."""
    command = python("loadtests.bench.servers.swapped", str(store), str(swaps), str(reloads))
    output = output_of(command, reloads * SECONDS_A_RELOAD + swaps * SECONDS_A_SWAP)
    first, last = (orjson.loads(line) for line in output.splitlines() if line.startswith("{"))
    return first, last


def rows(found: Mapping[int, Sequence[tuple[Look, Look]]]) -> Iterator[Row]:
    """Memory, sessions, and the size of the metrics page: before and after."""
    for loaded, looks in found.items():
        for figure, unit in (("memory_mib", "MiB"), ("metrics_bytes", "bytes")):
            name = f"memory/{{}}/{loaded} bundles/{figure.partition('_')[0]}"
            before = [first[figure] for first, _ in looks]
            after = [last[figure] for _, last in looks]
            target = ratio("<=", GROWTH) if figure == "memory_mib" else None
            yield row(name.format("before"), before, unit)
            yield row(name.format("after"), after, unit, against=(name.format("before"), before), target=target)
        sessions = [last["sessions"] for _, last in looks]
        yield row(f"memory/after/{loaded} bundles/sessions", sessions, "sessions", target=value("<=", loaded))
